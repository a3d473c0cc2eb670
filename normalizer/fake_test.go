package normalizer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// toy is a provider whose callback is a list of items: {"items":[{"id","user","text"}…]}. An item
// without an id cannot be understood.
type toy struct{}

func (toy) Provider() string { return "toy" }

func (toy) Adapt(raw adapter.Raw) adapter.Result {
	var body struct {
		Ignore string
		Panic  bool
		Index  int
		Items  []struct{ ID, User, Text string }
	}
	if err := json.Unmarshal(raw.Request.Body, &body); err != nil {
		return adapter.Result{Failures: []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.Malformed, Message: "no JSON"}}}
	}
	if body.Panic {
		panic("secret text of +919999912345")
	}
	res := adapter.Result{Ignored: body.Ignore}
	_ = body.Items[body.Index:] // breaks with the runtime's own words when out of range
	for i, item := range body.Items {
		if item.ID == "" {
			res.Failures = append(res.Failures, adapter.Failure{Index: i, Class: adapter.MissingField, Message: "no id"})
			continue
		}
		data := schemas.Data{MessageID: item.ID, Content: &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(item.Text)}}
		if item.User != "" {
			data.User = &schemas.User{Address: schemas.Address(item.User), Kind: schemas.UserPhone}
		}
		res.Items = append(res.Items, adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.SMS, Index: i, Data: data})
	}
	return res
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// callback is a raw record as ingest writes it.
func callback(offset int64, provider, body string, extra ...stream.Header) stream.Record {
	request := schemas.Capture{Method: "POST", Target: "/v1/callbacks/toy-1", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}}, Body: []byte(body)}
	e := stream.Event{ID: fmt.Sprintf("req-%d", offset), Source: "heed/toy-1", Type: schemas.CallbackReceived.Type(), Time: start, ContentType: schemas.CaptureType, Data: request.Append(nil)}
	schemas.Origin{Endpoint: "toy-1", Provider: provider, Channel: schemas.SMS}.Attributes(func(name, value string) bool {
		e.SetExtension(name, value)
		return true
	})
	m := e.Message(schemas.TopicCallbacks, []byte("key-1"))
	return stream.Record{Topic: m.Topic, Partition: 3, Offset: offset, Time: start, Key: m.Key, Value: m.Value, Headers: append(m.Headers, extra...)}
}

func text(offset int64, id string) stream.Record {
	return callback(offset, "toy", fmt.Sprintf(`{"items":[{"id":%q,"user":"+919999912345","text":"hi"}]}`, id))
}

func timeMark(offset int64, replica string, second int) stream.Record {
	body, _ := json.Marshal(schemas.Mark{Replica: replica, Partition: 3, Partitions: 12, Time: start.Add(time.Duration(second) * time.Second)})
	e := stream.Event{ID: fmt.Sprintf("mark-%d", offset), Source: "heed/ingest", Type: schemas.TimeMark.Type(), ContentType: "application/json", Data: body}
	m := e.Message(schemas.TopicCallbacks, nil)
	return stream.Record{Topic: m.Topic, Partition: 3, Offset: offset, Value: m.Value, Headers: m.Headers}
}

// log is a writer that keeps what it is given; it acknowledges at once, or when told.
type log struct {
	mu       sync.Mutex
	messages []stream.Message
	held     []func(stream.Position, error)
	hold     bool
	full     int // how many times to say that it is full
	limit    int // size from which a dead letter is too large; 0: none
}

func (l *log) Enqueue(_ context.Context, m stream.Message, done func(stream.Position, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full > 0 {
		l.full--
		return stream.ErrFull
	}
	if l.limit > 0 && sizeOf(m.Plain()) > l.limit {
		return stream.ErrTooLarge
	}
	l.messages = append(l.messages, copied(m.Plain())) // its memory is another's once it is acknowledged
	if l.hold {
		l.held = append(l.held, done)
		return nil
	}
	go done(stream.Position{}, nil)
	return nil
}

// keeping is a writer that holds the messages themselves until they are acknowledged.
type keeping struct {
	messages []stream.Message
	done     []func(stream.Position, error)
}

func (k *keeping) Enqueue(_ context.Context, m stream.Message, done func(stream.Position, error)) error {
	k.messages, k.done = append(k.messages, m), append(k.done, done)
	return nil
}

func (k *keeping) acknowledge() {
	for _, done := range k.done {
		done(stream.Position{}, nil)
	}
	k.messages, k.done = nil, nil
}

func copied(m stream.Message) stream.Message {
	m.Key, m.Value, m.Headers = bytes.Clone(m.Key), bytes.Clone(m.Value), copyHeaders(m.Headers)
	return m
}

// release acknowledges (or fails) the held messages of the given numbers.
func (l *log) release(err error, numbers ...int) {
	for _, i := range numbers {
		l.mu.Lock()
		done := l.held[i]
		l.mu.Unlock()
		done(stream.Position{}, err)
	}
}

func (l *log) on(topic string) []stream.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	var on []stream.Message
	for _, m := range l.messages {
		if m.Topic == topic {
			on = append(on, m)
		}
	}
	return on
}

// ids lists the message ids of the events on heed.inbound.
func (l *log) ids() []string {
	var ids []string
	for _, m := range l.on(schemas.TopicInbound) {
		ids = append(ids, header(m, "ce_correlationid"))
	}
	return ids
}

func header(m stream.Message, name string) string {
	for _, h := range m.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// feed is a source that gives the batches put into it.
type feed struct {
	batches chan []stream.Record
	mu      sync.Mutex
	done    []int64
}

func newFeed(batches ...[]stream.Record) *feed {
	f := &feed{batches: make(chan []stream.Record, 100)}
	for _, b := range batches {
		f.batches <- b
	}
	return f
}

func (f *feed) Next(ctx context.Context) (*stream.Batch, error) {
	select {
	case records, ok := <-f.batches:
		if !ok {
			return nil, stream.ErrRevoked
		}
		return &stream.Batch{Records: records}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *feed) Done(offset int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done = append(f.done, offset)
}

func (f *feed) Lag() (int64, time.Duration) { return 0, 0 }

func (f *feed) doneSorted() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.done))
}

type rig struct {
	*normalizer
	out  *log
	logs *bytes.Buffer
}

func newRig(t testing.TB) *rig {
	t.Helper()
	logs := new(bytes.Buffer)
	host := &service.Host{
		Name: "normalizer", Version: "v9", Log: slog.New(slog.NewJSONHandler(logs, nil)),
		Meter: metricnoop.NewMeterProvider().Meter(""), Tracer: tracenoop.NewTracerProvider().Tracer(""), Propagator: propagation.TraceContext{},
	}
	pseudonyms, err := schemas.ParsePseudonymKeys(strings.Repeat("7", 64))
	if err != nil {
		t.Fatal(err)
	}
	out := &log{}
	n, err := newNormalizer(host, &config{pseudonyms: pseudonyms, window: 100}, []adapter.Adapter{toy{}}, out, out)
	if err != nil {
		t.Fatal(err)
	}
	n.inbound = func(context.Context) (int32, error) { return 4, nil }
	return &rig{n, out, logs}
}

// run works through the batches and returns what the worker said.
func (r *rig) run(t *testing.T, batches ...[]stream.Record) (*feed, error) {
	t.Helper()
	in := newFeed(batches...)
	close(in.batches)
	err := r.work(t.Context(), schemas.TopicCallbacks, 3, in)
	if err != nil && !errors.Is(err, io.EOF) {
		return in, err
	}
	return in, nil
}

func (r *rig) understandFailures(rec stream.Record) []adapter.Failure {
	raw, _, err := new(translate.Reader).Read(&rec)
	if err != nil {
		return []adapter.Failure{asFailure(err)}
	}
	return toy{}.Adapt(raw).Failures
}

func sizeOf(m stream.Message) int {
	size := len(m.Value)
	for _, h := range m.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

func contextWithCause(t *testing.T) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}

// marksOn lists the marks on heed.inbound, id@place: stream.At(0) prints as 1.
func marksOn(l *log) []string {
	var got []string
	for _, m := range l.on(schemas.TopicInbound) {
		if header(m, "ce_type") == string(markType) {
			got = append(got, header(m, "ce_id")+"@"+strings.Trim(fmt.Sprint(m.To), "{}"))
		}
	}
	return got
}
