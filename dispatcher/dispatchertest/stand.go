// Package dispatchertest is the suite that the dispatcher passes on every cluster, kfake as well
// as Apache Kafka, and what it stands on: a dispatcher with its subscriptions file, sinks that
// answer as told, and events to deliver.
//
// It is for tests only.
package dispatchertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/dispatcher"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/service/servicetest"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Topics are the topics that the dispatcher needs, with few partitions.
func Topics(partitions int) []stream.TopicSpec {
	var specs []stream.TopicSpec
	for _, t := range schemas.Topics() {
		if !strings.HasPrefix(t.Name, "heed.callbacks") {
			specs = append(specs, stream.TopicSpec{Name: t.Name, Partitions: min(partitions, t.Partitions), Replication: 1, Config: map[string]string{"cleanup.policy": string(t.Cleanup)}})
		}
	}
	return specs
}

// Stand is a cluster with what tests do to it.
type Stand struct {
	t       testing.TB
	Brokers []string
	Client  *stream.Client
	writer  *stream.Writer
}

// NewStand opens a stand on a cluster that has the topics.
func NewStand(t testing.TB, brokers []string) *Stand {
	t.Helper()
	client, err := stream.Open(stream.Config{Brokers: brokers}, stream.Options{ClientID: "stand", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s := &Stand{t: t, Brokers: brokers, Client: client, writer: stream.NewWriter(client, stream.WriterOptions{})}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.writer.Close(ctx)
	})
	return s
}

// Event is one to deliver; source keeps the events of one test apart from another's.
func Event(source string, n int) stream.Event {
	return stream.Event{
		ID: fmt.Sprintf("%s-%05d", source, n), Source: source, Type: schemas.MessageReceived.Type(), Time: time.Now(),
		ContentType: "application/json", Data: fmt.Appendf(nil, `{"n":%d}`, n),
	}
}

// Append appends messages and waits for their acknowledgement.
func (s *Stand) Append(messages ...stream.Message) []stream.Position {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at, err := s.writer.Append(ctx, messages...)
	if err != nil {
		s.t.Fatal(err)
	}
	return at
}

// Send appends events from..to-1 of a source, over all partitions of heed.inbound.
func (s *Stand) Send(source string, from, to int) {
	s.t.Helper()
	var messages []stream.Message
	for n := from; n < to; n++ {
		e := Event(source, n)
		messages = append(messages, e.Message(schemas.TopicInbound, fmt.Appendf(nil, "key-%d", n%17)))
	}
	s.Append(messages...)
}

// Delivery is one request that a sink got.
type Delivery struct {
	ID     string
	At     time.Time
	Header http.Header
	Body   []byte
}

// Sink is a subscriber's endpoint.
type Sink struct {
	URL string

	mu      sync.Mutex
	got     []Delivery
	arrived chan struct{}
}

// NewSink opens an endpoint that answers as the handler says; nil says 204. The handler is given
// the event's id and how many requests for it came before.
func NewSink(t testing.TB, answer func(w http.ResponseWriter, id string, before int)) *Sink {
	t.Helper()
	k := &Sink{arrived: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id := r.Header.Get("ce-id")
		k.mu.Lock()
		before := 0
		for _, d := range k.got {
			if d.ID == id {
				before++
			}
		}
		k.got = append(k.got, Delivery{id, time.Now(), r.Header, body})
		close(k.arrived)
		k.arrived = make(chan struct{})
		k.mu.Unlock()
		if answer == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, id, before)
	}))
	t.Cleanup(server.Close)
	k.URL = server.URL
	return k
}

// NewSinkFunc opens an endpoint that answers as a function does, and gives its URL.
func NewSinkFunc(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, body []byte)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, r, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// Got lists the requests so far.
func (k *Sink) Got() []Delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.got)
}

// Count is how often each event came.
func (k *Sink) Count() map[string]int {
	count := map[string]int{}
	for _, d := range k.Got() {
		count[d.ID]++
	}
	return count
}

// Await waits until enough says yes of the requests so far.
func (k *Sink) Await(t testing.TB, within time.Duration, what string, enough func([]Delivery) bool) {
	t.Helper()
	deadline := time.After(within)
	for {
		k.mu.Lock()
		arrived := k.arrived
		k.mu.Unlock()
		got := k.Got()
		if enough(got) {
			return
		}
		select {
		case <-arrived:
		case <-deadline:
			t.Fatalf("waited %s for %s; the sink got %d requests", within, what, len(got))
		}
	}
}

// AwaitAll waits until every event from..to-1 of a source came at least once.
func (k *Sink) AwaitAll(t testing.TB, within time.Duration, source string, from, to int) {
	t.Helper()
	k.Await(t, within, fmt.Sprintf("events %d to %d", from, to-1), func([]Delivery) bool {
		count := k.Count()
		for n := from; n < to; n++ {
			if count[fmt.Sprintf("%s-%05d", source, n)] == 0 {
				return false
			}
		}
		return true
	})
}

// Subscription is an entry of the subscriptions file for events of one source.
func Subscription(id, source, sink, config string) string {
	return fmt.Sprintf("- {id: %s, source: %s, sink: %q, config: {%s}}\n", id, source, sink, config)
}

// Dispatcher is one that runs in this process.
type Dispatcher struct {
	*service.Running
	API  string // base URL of its API
	file string
	t    testing.TB
}

// Start starts a dispatcher with these entries and waits until it owns its partitions.
func (s *Stand) Start(entries ...string) *Dispatcher {
	s.t.Helper()
	d := &Dispatcher{t: s.t, file: filepath.Join(s.t.TempDir(), "subscriptions.yaml")}
	d.Write(entries...)
	ctx, cancel := context.WithCancel(context.Background())
	level := "info"
	if _, ok := s.t.(*testing.B); ok {
		level = "error" // figures are to be read, not a log
	}
	running, err := service.Start(ctx, dispatcher.Stage(), []string{
		"HEED_KAFKA_BROKERS=" + strings.Join(s.Brokers, ","), "HEED_SUBSCRIPTIONS_FILE=" + d.file, "HEED_DISPATCH_ALLOW_NETS=127.0.0.0/8",
		"HEED_LISTEN=127.0.0.1:0", "HEED_ADMIN_LISTEN=127.0.0.1:0", "HEED_LOG_LEVEL=" + level,
	}, s.t.Output())
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	d.Running = running
	s.t.Cleanup(func() { cancel(); _ = running.Wait() })
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	d.API = "http://" + running.Addr(wait, "data")
	return d
}

// Write writes the subscriptions file.
func (d *Dispatcher) Write(entries ...string) {
	d.t.Helper()
	text := "subscriptions:\n" + strings.Join(entries, "")
	if len(entries) == 0 {
		text = "subscriptions: []\n"
	}
	writeFile(d.t, d.file, text)
}

// Get asks the API.
func (d *Dispatcher) Get(t testing.TB, path string, into any) {
	t.Helper()
	response, err := http.Get(d.API + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}

// Post tells the API to do something.
func (d *Dispatcher) Post(t testing.TB, path string) {
	t.Helper()
	if status := d.Status(t, http.MethodPost, path); status != http.StatusOK {
		t.Fatalf("POST %s: %d", path, status)
	}
}

// Status is how the API answers.
func (d *Dispatcher) Status(t testing.TB, method, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, d.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// Ready is the body of /readyz.
func (d *Dispatcher) Ready(t testing.TB) string {
	t.Helper()
	_, body := servicetest.Page(t.Context(), t, d.Running, "/readyz")
	return body
}

// Halt stops the dispatcher in order.
func (d *Dispatcher) Halt() {
	d.t.Helper()
	d.Stop()
	if err := d.Wait(); err != nil {
		d.t.Error(err)
	}
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// beDispatcher is set in the environment of a copy of the test's program that is to be a
// dispatcher: a process that a test can kill.
const beDispatcher = "BE_DISPATCHER"

// Become makes this process a dispatcher if a test started it as one; then it does not return.
// Call it first in TestMain.
func Become() {
	if os.Getenv(beDispatcher) != "" {
		service.Main(dispatcher.Stage())
	}
}

// Process starts a dispatcher as a process of its own.
func (s *Stand) Process(file string) *exec.Cmd {
	s.t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = []string{
		beDispatcher + "=1", "HEED_KAFKA_BROKERS=" + strings.Join(s.Brokers, ","), "HEED_SUBSCRIPTIONS_FILE=" + file, "HEED_DISPATCH_ALLOW_NETS=127.0.0.0/8",
		"HEED_LISTEN=127.0.0.1:0", "HEED_ADMIN_LISTEN=127.0.0.1:0",
	}
	command.Stdout, command.Stderr = s.t.Output(), s.t.Output()
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return command
}

// Eventually polls until ok says yes.
func Eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", within, what)
		}
		<-tick.C
	}
}

// Read reads all records of a topic.
func (s *Stand) Read(topic string) []stream.Record {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n, err := s.Client.Partitions(ctx, topic)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []stream.Record
	for p := range n {
		_, err := s.Client.Replay(ctx, topic, p, stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				all = append(all, records[i].Clone())
			}
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return all
}

// Dead lists the dead letters of a subscription.
func (s *Stand) Dead(subscription string) []stream.Record {
	return slices.DeleteFunc(s.Read(schemas.TopicDispatchDead), func(r stream.Record) bool {
		return string(r.Header(schemas.HeaderSubscription)) != subscription
	})
}
