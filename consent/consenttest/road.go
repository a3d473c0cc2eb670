// Package consenttest is the suite that the consent stage must pass on every Kafka and Redis:
// the in-process ones in the stage's own tests, Apache Kafka and real Redis in module test.
// Only tests import it; it talks to the stage by topics and by HTTP alone, as everybody does.
package consenttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/redisconn"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/service/servicetest"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/address"
)

// Servers are what the suite runs on. Each test needs topics and a Redis of its own: Open is
// called once per test.
type Servers struct {
	// Open gives Kafka's brokers and Redis's URL for one test.
	Open func(t testing.TB) (brokers []string, redisURL string)
	// Stage makes the stage under test.
	Stage func() service.Stage
	// Redis steers the server that Open gave last; nil functions leave their tests out.
	RestartEmpty func(t testing.TB) // another process with no data
	Snapshot     func(t testing.TB) (restore func(t testing.TB))
}

// Key is the pseudonym key of the suite.
const Key = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

// Partitions is how many partitions the suite's topics have.
const Partitions = 4

// Road is one running stage with the way into it and out of it.
type Road struct {
	t          testing.TB
	ctx        context.Context
	client     *stream.Client
	writer     *stream.Writer
	redis      *redisconn.Conn
	pseudonyms *schemas.Pseudonymizer
	environ    []string
	stage      func() service.Stage
	stages     []*service.Running
	base       string
	logs       servicetest.Logs
	number     atomic.Int64
	personal   sync.Map
	silent     atomic.Bool
}

// Begin opens topics, starts the stage and a beat of time marks, and waits until it answers.
func Begin(t testing.TB, s Servers, environ ...string) *Road {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	t.Cleanup(cancel)
	brokers, redisURL := s.Open(t)
	r := &Road{t: t, ctx: ctx, stage: s.Stage}
	var err error
	if r.pseudonyms, err = schemas.ParsePseudonymKeys(Key); err != nil {
		t.Fatal(err)
	}
	if r.client, err = stream.Open(stream.Config{Brokers: brokers}, stream.Options{ClientID: "consenttest"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	topics := []stream.TopicSpec{
		{Name: schemas.TopicInbound, Partitions: Partitions, Replication: 1},
		{Name: schemas.TopicConsentFacts, Partitions: Partitions, Replication: 1, Config: map[string]string{"cleanup.policy": "compact"}},
		{Name: schemas.TopicConsent, Partitions: Partitions, Replication: 1},
		{Name: schemas.TopicConsentEvidence, Partitions: Partitions, Replication: 1},
	}
	if err := r.client.CreateTopics(ctx, topics...); err != nil {
		t.Fatal(err)
	}
	r.writer = stream.NewWriter(r.client, stream.WriterOptions{})
	if r.redis, err = redisconn.Open(redisconn.Config{URL: redisURL}, redisconn.Options{Name: "consenttest"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.redis.Close() })
	r.environ = append([]string{
		"HEED_KAFKA_BROKERS=" + brokers[0], "HEED_REDIS_URL=" + redisURL, "HEED_PSEUDONYM_KEY=" + Key,
		"HEED_LISTEN=127.0.0.1:0", "HEED_ADMIN_LISTEN=127.0.0.1:0", "HEED_LOG_LEVEL=debug",
	}, environ...)
	r.Another()
	beat, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() { r.beat(beat) })
	t.Cleanup(func() {
		stop()
		beating.Wait()
		for _, running := range r.stages {
			running.Stop()
		}
		for _, running := range r.stages {
			if err := running.Wait(); err != nil {
				t.Errorf("the stage ended with: %v", err)
			}
		}
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = r.writer.Close(closing)
		var personal []string
		r.personal.Range(func(k, _ any) bool { personal = append(personal, k.(string)); return true })
		servicetest.NothingPersonal(t, "the stage's log", r.logs.String(), personal...)
		if t.Failed() {
			t.Logf("the stage's log:\n%s", r.logs.String())
		}
	})
	r.Whole()
	return r
}

// Another starts one more replica.
func (r *Road) Another() *service.Running {
	r.t.Helper()
	running, err := service.Start(r.ctx, r.stage(), r.environ, &r.logs)
	if err != nil {
		r.t.Fatal(err)
	}
	r.stages = append(r.stages, running)
	r.base = "http://" + running.Addr(r.ctx, "data")
	return running
}

// beat writes time marks as ingest and the normalizer do, a little faster.
func (r *Road) beat(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if r.silent.Load() {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				return
			}
		}
		body, _ := json.Marshal(schemas.Mark{Replica: "one", Partition: 0, Partitions: 1, Time: time.Now().UTC()})
		for p := range int32(Partitions) {
			e := stream.Event{ID: fmt.Sprint(time.Now().UnixNano()), Source: "heed/ingest", Type: schemas.TimeMark.Type(), ContentType: "application/json", Data: body}
			m := e.Message(schemas.TopicInbound, nil)
			m.To = stream.At(p)
			_ = r.writer.Enqueue(ctx, m, func(stream.Position, error) {})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Silence stops the time marks, Speak lets them go on.
func (r *Road) Silence() { r.silent.Store(true) }

// Speak lets the time marks go on.
func (r *Road) Speak() { r.silent.Store(false) }

// Event is something that a person did.
type Event struct {
	ID       string // "" gives it a new one
	User     string // E.164; "" when the provider masked it
	Agent    string
	Brand    string
	Channel  schemas.Channel // rcs
	Kind     schemas.Kind    // message.received
	Text     string
	Says     schemas.ProviderAction
	Consent  *schemas.ConsentAct
	At       time.Time // now
	Received time.Time // now
}

// Do appends events to heed.inbound and waits for Kafka's acknowledgement.
func (r *Road) Do(events ...Event) {
	r.t.Helper()
	messages := make([]stream.Message, len(events))
	for i, e := range events {
		messages[i] = r.message(e)
	}
	if _, err := r.writer.Append(r.ctx, messages...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *Road) message(e Event) stream.Message {
	now := time.Now()
	if e.At.IsZero() {
		e.At = now
	}
	if e.Received.IsZero() {
		e.Received = now
	}
	if e.Kind == "" {
		e.Kind = schemas.MessageReceived
	}
	if e.Channel == "" {
		e.Channel = schemas.RCS
	}
	if e.ID == "" {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", r.t.Name(), now.UnixNano(), r.number.Add(1)))
		e.ID = hex.EncodeToString(sum[:12])
	}
	data := schemas.Data{MessageID: "m-" + e.ID, TimeSource: schemas.TimeProvider, ProviderAction: e.Says, Consent: e.Consent}
	if e.Agent != "" {
		data.Business = &schemas.Business{Address: e.Agent}
	}
	if e.Text != "" {
		data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(e.Text)}
	}
	subject, key := "", e.ID
	if e.User != "" {
		r.personal.Store(e.User, true)
		user, ok := address.Parse(e.User)
		if !ok {
			r.t.Fatalf("not a user: %q", e.User)
		}
		data.User = &user
		subject = r.pseudonyms.Of(user.Kind, user.Address)
		key = subject
	}
	body, err := json.Marshal(data)
	if err != nil {
		r.t.Fatal(err)
	}
	ev := stream.Event{ID: e.ID, Source: "heed/kaleyra-rcs", Type: e.Kind.Type(), Subject: subject, Time: e.At, ContentType: "application/json", Data: body}
	ev.SetExtension(schemas.ExtPartitionKey, key)
	ev.SetExtension(schemas.ExtRecordedTime, stream.FormatTime(e.Received))
	ev.SetExtension(schemas.ExtProvider, "kaleyra")
	ev.SetExtension(schemas.ExtChannel, string(e.Channel))
	ev.SetExtension(schemas.ExtBrand, e.Brand)
	return ev.Message(schemas.TopicInbound, []byte(key))
}

// Check asks about one send.
func (r *Road) Check(k schemas.Check) schemas.CheckResult {
	r.t.Helper()
	return r.Checks(k).Results[0]
}

// Checks asks about several.
func (r *Road) Checks(checks ...schemas.Check) schemas.CheckResponse {
	r.t.Helper()
	var response schemas.CheckResponse
	if status := r.Call(http.MethodPost, "/v1/consent/check", schemas.CheckRequest{Checks: checks}, &response); status != http.StatusOK {
		r.t.Fatalf("check: status %d", status)
	}
	if len(response.Results) != len(checks) {
		r.t.Fatalf("check: %d results for %d checks", len(response.Results), len(checks))
	}
	return response
}

// Call calls the API.
func (r *Road) Call(method, path string, body, into any) int {
	r.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = bytes.NewReader([]byte(b))
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(r.ctx, method, r.base+path, reader)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	switch into := into.(type) {
	case nil:
	case *string:
		*into = string(text)
	default:
		if err := json.Unmarshal(text, into); err != nil {
			r.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return res.StatusCode
}

// Path is the API's path of a person.
func Path(user string, more ...string) string {
	p := "/v1/consent/" + url.PathEscape(user)
	for _, m := range more {
		p += "/" + m
	}
	return p
}

// Until asks again until the answer is as wanted.
func (r *Road) Until(what string, done func() bool) time.Duration {
	r.t.Helper()
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatalf("waited in vain for: %s", what)
		}
		if time.Since(began) > 40*time.Second {
			r.t.Fatalf("waited 40 s for: %s", what)
		}
	}
	return time.Since(began)
}

// Whole waits until every partition answers from a whole and fresh view.
func (r *Road) Whole() time.Duration {
	r.t.Helper()
	var checks []schemas.Check
	found := map[int32]bool{}
	for i := 0; len(found) < Partitions; i++ {
		number := fmt.Sprintf("+1415555%04d", i)
		user, _ := address.Parse(number)
		p := stream.PartitionOf([]byte(r.pseudonyms.Of(user.Kind, user.Address)), Partitions)
		if !found[p] {
			found[p] = true
			checks = append(checks, schemas.Check{User: schemas.Address(number), Agent: "whole-agent"})
		}
	}
	return r.Until("a whole view", func() bool {
		return !slices.ContainsFunc(r.Checks(checks...).Results, func(x schemas.CheckResult) bool { return x.Retryable })
	})
}

// Decided waits until the check is answered with a decision that isn't about the view.
func (r *Road) Decided(k schemas.Check, want schemas.Decision) (schemas.CheckResult, time.Duration) {
	r.t.Helper()
	var last schemas.CheckResult
	took := r.Until(fmt.Sprintf("%s for agent %s", want, k.Agent), func() bool {
		last = r.Check(k)
		return last.Decision == want && !last.Retryable
	})
	return last, took
}

// Flush empties Redis.
func (r *Road) Flush() {
	r.t.Helper()
	if err := r.redis.FlushAll(r.ctx).Err(); err != nil {
		r.t.Fatal(err)
	}
}

// Published reads heed.consent: the events of a kind, by id.
func (r *Road) Published(kind schemas.Kind, subject string) (events []stream.Event, ids map[string]int) {
	r.t.Helper()
	ids = map[string]int{}
	bounds, err := r.client.OffsetBounds(r.ctx, schemas.TopicConsent)
	if err != nil {
		r.t.Fatal(err)
	}
	for p := range bounds {
		_, err := r.client.Replay(r.ctx, schemas.TopicConsent, p, stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				rec := records[i]
				rec.Value = slices.Clone(rec.Value)
				e, err := stream.ParseEvent(&rec)
				if err != nil {
					return err
				}
				if e.Type == kind.Type() && (subject == "" || e.Subject == subject) {
					events = append(events, e)
					ids[e.ID]++
				}
			}
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return events, ids
}

// Person is the pseudonym of a number.
func (r *Road) Person(number string) string {
	user, _ := address.Parse(number)
	return r.pseudonyms.Of(user.Kind, user.Address)
}
