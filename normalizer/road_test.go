package normalizer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/normalizer"
	"github.com/heedhq/heed/schemas"
)

const partitions = 3

// road is a broker with the stage's topics, and what a test does with it.
type road struct {
	t       testing.TB
	cluster *kfake.Cluster
	client  *stream.Client
	writer  *stream.Writer
	logs    *safeBuffer
}

func newRoad(t testing.TB) *road {
	t.Helper()
	var topics []stream.TopicSpec
	for _, name := range []string{schemas.TopicCallbacks, schemas.TopicCallbacksBulk, schemas.TopicCallbacksDead, schemas.TopicInbound, schemas.TopicStatus, schemas.TopicCalls, schemas.TopicAccount} {
		topics = append(topics, stream.TopicSpec{Name: name, Partitions: partitions, Replication: 1})
	}
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: topics})
	client := streamtest.Open(t, cluster.ListenAddrs())
	writer := stream.NewWriter(client, stream.WriterOptions{})
	t.Cleanup(func() { _ = writer.Close(context.Background()) })
	return &road{t, cluster, client, writer, &safeBuffer{}}
}

// start runs the stage as a program would, until the test ends or it is stopped.
func (r *road) start() *service.Running {
	r.t.Helper()
	running, err := service.Start(context.Background(), normalizer.Stage(), []string{
		"HEED_KAFKA_BROKERS=" + strings.Join(r.cluster.ListenAddrs(), ","),
		"HEED_PSEUDONYM_KEY=" + strings.Repeat("7", 64),
		"HEED_ADMIN_LISTEN=127.0.0.1:0",
	}, r.logs)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { running.Stop(); <-running.Done() })
	return running
}

// post appends a callback of Mobtexting as ingest does.
func (r *road) post(topic, key, body string) stream.Message {
	r.t.Helper()
	request := schemas.Capture{Method: "POST", Target: "/v1/callbacks/mob-1", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}}, Body: []byte(body)}
	e := stream.Event{ID: "req-" + key, Source: "heed/mob-1", Type: schemas.CallbackReceived.Type(), Time: time.Now(), ContentType: schemas.CaptureType, Data: request.Append(nil)}
	for name, value := range (schemas.Origin{Endpoint: "mob-1", Provider: "mobtexting", Channel: schemas.SMS, DefaultCountry: "IN"}).Attributes {
		e.SetExtension(name, value)
	}
	m := e.Message(topic, []byte(key))
	if _, err := r.writer.Append(streamtest.Context(r.t, 20*time.Second), m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *road) mark(partition int32, at time.Time) {
	r.t.Helper()
	body, _ := json.Marshal(schemas.Mark{Replica: "ingest-1", Partition: partition, Partitions: partitions, Time: at})
	e := stream.Event{ID: fmt.Sprintf("mark-%d-%d", partition, at.Unix()), Source: "heed/ingest", Type: schemas.TimeMark.Type(), ContentType: "application/json", Data: body}
	m := e.Message(schemas.TopicCallbacks, nil)
	m.To = stream.At(partition)
	if _, err := r.writer.Append(streamtest.Context(r.t, 20*time.Second), m); err != nil {
		r.t.Fatal(err)
	}
}

// await reads the topic until it holds n records that want lets through.
func (r *road) await(topic string, n int, want func(*stream.Record) bool) []stream.Record {
	r.t.Helper()
	ctx := streamtest.Context(r.t, 40*time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		records := slices.DeleteFunc(streamtest.Read(r.t, r.client, topic), func(rec stream.Record) bool { return !want(&rec) })
		if len(records) >= n {
			return records
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("%s holds %d records, want %d; logs:\n%s", topic, len(records), n, r.logs)
		}
	}
}

func isEvent(rec *stream.Record) bool { return stream.EventType(rec) != schemas.TimeMark.Type() }

func receipt(id string) string {
	return fmt.Sprintf(`{"id":%q,"mobile":"919999912345","status":"DELIVRD","units":1,"deliv_time":"2026-01-02 10:00:00","submit_time":"2026-01-02 09:59:58"}`, id)
}

func inbound(id, user string) string {
	return fmt.Sprintf(`{"event":"whatsapp:message:in","payload":{"id":%q,"channels":[{"name":"whatsapp","to":"919019120000"}],"recipient":{"from":%q},"message":{"type":"text","payload":{"text":"STOP"}}}}`, id, user)
}

// The road from both raw topics to the family topics, dead letters and marks, in one process as
// the program runs.
func TestCallbacksBecomeEvents(t *testing.T) {
	r := newRoad(t)
	stage := r.start()
	r.post(schemas.TopicCallbacks, "a", inbound("in-1", "919999912345"))
	r.post(schemas.TopicCallbacksBulk, "b", receipt("out-1:1"))
	broken := r.post(schemas.TopicCallbacks, "c", `{"id": "x", `)
	for p := range int32(partitions) {
		r.mark(p, time.Now())
	}

	in := r.await(schemas.TopicInbound, 1, isEvent)[0]
	e, err := stream.ParseEvent(&in)
	if err != nil {
		t.Fatal(err)
	}
	pseudonyms, _ := schemas.ParsePseudonymKeys(strings.Repeat("7", 64))
	person := pseudonyms.Of(schemas.UserPhone, "+919999912345")
	if e.Type != schemas.MessageReceived.Type() || e.Subject != person || string(in.Key) != person || in.Partition != stream.PartitionOf([]byte(person), partitions) {
		t.Errorf("event %+v, key %s, partition %d", e, in.Key, in.Partition)
	}
	if got := r.await(schemas.TopicStatus, 1, isEvent)[0]; stream.EventType(&got) != schemas.MessageDelivered.Type() || string(got.Key) != person {
		t.Errorf("receipt: %s, key %s", stream.EventType(&got), got.Key)
	}
	dead := r.await(schemas.TopicCallbacksDead, 1, isEvent)[0]
	if string(dead.Header(schemas.HeaderDeadClass)) != "malformed" || !bytes.Equal(dead.Value, broken.Value) || !bytes.Equal(dead.Key, broken.Key) {
		t.Errorf("dead letter %s", dead.Headers)
	}
	if diff := cmp.Diff(broken.Headers, dead.Headers[:len(broken.Headers)]); diff != "" {
		t.Errorf("the dead letter's own headers (-want +got):\n%s", diff)
	}
	marks := r.await(schemas.TopicInbound, partitions*partitions, func(rec *stream.Record) bool { return !isEvent(rec) })
	from := map[[2]int32]bool{}
	for _, rec := range marks {
		var m schemas.Mark
		if err := json.Unmarshal(rec.Value, &m); err != nil {
			t.Fatal(err)
		}
		from[[2]int32{m.Partition, rec.Partition}] = true
	}
	if len(from) != partitions*partitions {
		t.Errorf("marks by raw and inbound partition: %v", from)
	}
	// The counters follow the acknowledgements, which the test cannot see.
	lines := []string{
		`heed_normalizer_events_total{kind="message.received",outcome="produced",provider="mobtexting"} 1`,
		`heed_normalizer_callbacks_total{outcome="dead",provider="mobtexting"} 1`,
		`heed_normalizer_dead_total{class="malformed",provider="mobtexting"} 1`,
		`heed_normalizer_age_seconds_count{provider="mobtexting"} 3`,
		`heed_normalizer_lag{partition="0",topic="heed.callbacks"}`,
	}
	page := ""
	for ctx, tick := streamtest.Context(t, 20*time.Second), time.NewTicker(20*time.Millisecond); ; {
		page = withoutScope(get(t, stage, "/metrics"))
		lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(page, line) })
		if len(lines) == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("/metrics lacks %q", lines)
		}
	}
	if strings.Contains(page, "9999912345") {
		t.Error("/metrics tells a number")
	}
}

// get reads a page of the stage's admin port.
func get(t testing.TB, running *service.Running, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + running.Addr(t.Context(), "admin") + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withoutScope leaves out the labels that OpenTelemetry's exporter adds to every line.
func withoutScope(page string) string {
	return regexp.MustCompile(`,?otel_scope_[a-z_]+="[^"]*"`).ReplaceAllString(page, "")
}

// Two normalizers share the partitions; one is stopped in the middle, and nothing is lost.
func TestTwoNormalizersShareTheWork(t *testing.T) {
	r := newRoad(t)
	first, second := r.start(), r.start()
	ready(t, first)
	ready(t, second)
	const total = 600
	for i := range total {
		if i == total/2 {
			first.Stop()
		}
		r.post(schemas.TopicCallbacksBulk, fmt.Sprint(i), receipt(fmt.Sprintf("m-%d:1", i)))
	}
	<-first.Done()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	seen := map[string]string{}
	for len(seen) < total {
		for _, rec := range r.await(schemas.TopicStatus, total, isEvent) {
			seen[string(rec.Header("ce_correlationid"))] = string(rec.Header("ce_id"))
		}
	}
	if ids := len(slices.Compact(slices.Sorted(maps.Values(seen)))); ids != total {
		t.Errorf("%d ids for %d events", ids, total)
	}
	if extra := len(r.await(schemas.TopicStatus, total, isEvent)) - total; extra != 0 {
		t.Errorf("%d events stand twice after an orderly stop", extra)
	}
}

// While Kafka refuses to take events, nothing is committed, dead-lettered or lost; when it
// takes them again, everything arrives, once.
func TestKafkaThatRefusesIsNoPoison(t *testing.T) {
	r := newRoad(t)
	stage := r.start()
	ready(t, stage)
	refuse := make(chan struct{})
	refused := make(chan struct{}, 1)
	r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		select {
		case <-refuse:
			return nil, nil, false
		default:
		}
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		events := false
		for _, topic := range produce.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = p.Partition, 19 // NOT_ENOUGH_REPLICAS
				st.Partitions = append(st.Partitions, sp)
			}
			events = events || topic.Topic == schemas.TopicStatus
			resp.Topics = append(resp.Topics, st)
		}
		if !events { // the test's own appends
			return nil, nil, false
		}
		select {
		case refused <- struct{}{}:
		default:
		}
		return resp, nil, true
	})
	const total = 20
	for i := range total {
		r.post(schemas.TopicCallbacksBulk, fmt.Sprint(i), receipt(fmt.Sprintf("m-%d:1", i)))
	}
	for range 5 {
		<-refused
	}
	offsets, err := r.client.FetchOffsets(t.Context(), normalizer.Group, stream.TopicPartition{Topic: schemas.TopicCallbacksBulk, Partition: 0}, stream.TopicPartition{Topic: schemas.TopicCallbacksBulk, Partition: 1}, stream.TopicPartition{Topic: schemas.TopicCallbacksBulk, Partition: 2})
	if err != nil {
		t.Fatal(err)
	}
	for p, commit := range offsets {
		if commit.Offset > 0 {
			t.Errorf("%v is committed to %d though nothing was acknowledged", p, commit.Offset)
		}
	}
	close(refuse)
	if got := len(r.await(schemas.TopicStatus, total, isEvent)); got != total {
		t.Errorf("%d events, want %d", got, total)
	}
	if dead := streamtest.Read(t, r.client, schemas.TopicCallbacksDead); len(dead) > 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}

// ready waits until /readyz says so.
func ready(t testing.TB, running *service.Running) {
	t.Helper()
	ctx := streamtest.Context(t, 30*time.Second)
	addr := running.Addr(ctx, "admin")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	body := ""
	for {
		resp, err := http.Get("http://" + addr + "/readyz")
		if err == nil {
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if body = string(text); resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not ready: %s", body)
		}
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
