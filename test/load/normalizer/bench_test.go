// Package normalizer measures the normalizer on Apache Kafka: events per second and core for
// each provider, over the floor of a program that fetches the same records and produces the same
// bytes and does nothing between.
package normalizer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/normalizer"
	"github.com/heedhq/heed/normalizer/providers"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// passes is how often each is measured: one swings by a twentieth.
const passes = 3

// records is how many callbacks a measurement takes: half a second or more on one core.
const records = 100_000

// The callbacks that are measured: what each provider sends most. %[1]d makes ids and persons differ.
var callbacks = []struct {
	name, provider string
	channel        schemas.Channel
	target         string
	body           string
}{
	{"kaleyra_rcs_message", "kaleyra", schemas.RCS, schemas.TopicInbound,
		`{"type":"USER_MESSAGE","eventId":"MxRyZhJhOhTcimpjo%[1]08d","from":"9199999%05[2]d","to":"mmx_traffic","sentAt":"2026-01-02T03:04:05.683Z","messageId":"47a6fd7c-163c-4024-ad8e-%012[1]d","userMessage":{"type":"TEXT","text":"When does the shop in the harbour open on Sunday?"}}`},
	{"kaleyra_rcs_receipt", "kaleyra", schemas.RCS, schemas.TopicStatus,
		`{"type":"DELIVERED","eventId":"MxRyZhJhOhTcimpjo%[1]08d","from":"9199999%05[2]d","to":"mmx_traffic","sentAt":"2026-01-02T03:04:05.683Z","messageId":"47a6fd7c-163c-4024-ad8e-%012[1]d"}`},
	{"telesign_sms_receipt", "telesign", schemas.SMS, schemas.TopicStatus,
		`{"status":{"code":200,"updated_on":"2026-01-02T03:04:05.287000Z","description":"Delivered to handset"},"submit_timestamp":"2026-01-02T03:04:03.134000Z","errors":[],"reference_id":"3557D6C8D8A80B2A9F8B7E76%012[1]d","sub_resource":"sms","additional_info":{"mcc":"404","mnc":"10","message_parts_count":1}}`},
	{"exotel_rcs_receipt", "exotel", schemas.RCS, schemas.TopicStatus,
		`{"rcs":{"messages":[{"callback_type":"dlr","sid":"b1946ac92492d2347c6235b4%08[1]d","to":"+9199999%05[2]d","exo_status_code":25002,"exo_detailed_status":"EX_MESSAGE_DELIVERED","description":"Message delivered","timestamp":"2026-01-02T08:34:05.000+05:30"}]}}`},
	{"mobtexting_sms_receipt", "mobtexting", schemas.SMS, schemas.TopicStatus,
		`{"id":"b34e35ad-fe34-4a8b-977c-%012[1]d:1","mobile":"9199999%05[2]d","status":"DELIVRD","credits":"2.0000","units":2,"deliv_time":"2026-01-02 08:27:51","sent_time":"2026-01-02 08:27:35","submit_time":"2026-01-02 08:27:39","cid":"1234444","custom":"9882"}`},
}

func BenchmarkNormalizer(b *testing.B) {
	stack.Require(b)
	cluster := stack.Kafka(b)
	client := streamtest.Open(b, cluster.Brokers())
	if _, err := topics.Apply(b.Context(), client, topics.Options{Partitions: 6}); err != nil {
		b.Fatal(err)
	}
	known := map[string]bool{}
	for _, a := range providers.All() {
		known[a.Provider()] = true
	}
	for _, c := range callbacks {
		if !known[c.provider] {
			continue
		}
		b.Run(c.name, func(b *testing.B) {
			var own, floor spent // of all passes
			for b.Loop() {
				events := warm(b, client, cluster.Brokers(), c.target, func() { post(b, client, c.provider, c.channel, c.body) })
				for range passes {
					from := offsets(b, client, schemas.TopicCallbacks)
					post(b, client, c.provider, c.channel, c.body)
					own.add(measure(b, client, c.target, func() func() { return run(b, cluster.Brokers()) }))
					floor.add(measure(b, client, schemas.TopicCalls, func() func() { return copyRecords(b, client, from, events) }))
				}
				runtime.KeepAlive(events)
			}
			b.ReportMetric(own.perCore(), "events/s/core")
			b.ReportMetric(floor.perCore(), "floor/s/core")
			b.ReportMetric(own.perCore()/floor.perCore(), "of_floor")
			b.ReportMetric(own.rate(), "events/s")
			b.ReportMetric(own.rate()/floor.rate(), "of_floor_with_Kafka")
		})
	}
}

// warm lets the stage translate a first load, and gives the events that it made: the bytes that
// the floor produces. They stay in memory through both measurements, packed without pointers, so
// that both pay the same for garbage collection.
func warm(b *testing.B, client *stream.Client, brokers []string, target string, load func()) packed {
	b.Helper()
	before := offsets(b, client, target)
	load()
	measure(b, client, target, func() func() { return run(b, brokers) })
	return eventsSince(b, client, target, before)
}

// run runs the stage until the returned function is called.
func run(b *testing.B, brokers []string) (end func()) {
	running := start(b, brokers)
	return func() { running.Stop(); _ = running.Wait() }
}

// post appends the callbacks as ingest does.
func post(b *testing.B, client *stream.Client, provider string, channel schemas.Channel, body string) {
	b.Helper()
	writer := stream.NewWriter(client, stream.WriterOptions{MaxRecords: 2 * records, MaxBytes: 1 << 30})
	origin := schemas.Origin{Endpoint: "bench-7f3a9c", Provider: provider, Channel: channel, Tenant: "acme", Agent: "mmx_traffic", DefaultCountry: "IN"}
	batch := make([]stream.Message, 0, 1000)
	salt := int(time.Now().UnixMilli() % 1e6)
	for i := range records {
		request := schemas.Capture{Method: "POST", Target: "/v1/callbacks/bench-7f3a9c", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "bench"}}, Body: fmt.Appendf(nil, body, salt*100_000+i, i%100_000)}
		e := stream.Event{ID: fmt.Sprintf("req-%d-%d", salt, i), Source: origin.Source(), Type: schemas.CallbackReceived.Type(), Time: time.Now(), ContentType: schemas.CaptureType, Data: request.Append(nil)}
		for name, value := range origin.Attributes {
			e.SetExtension(name, value)
		}
		e.SetExtension(schemas.ExtTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
		if batch = append(batch, e.Message(schemas.TopicCallbacks, fmt.Appendf(nil, "key-%d", i))); len(batch) == cap(batch) {
			if _, err := writer.Append(streamtest.Context(b, time.Minute), batch...); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	if err := writer.Close(streamtest.Context(b, time.Minute)); err != nil {
		b.Fatal(err)
	}
}

func start(b *testing.B, brokers []string) *service.Running {
	b.Helper()
	running, err := service.Start(context.Background(), normalizer.Stage(), []string{
		"HEED_KAFKA_BROKERS=" + strings.Join(brokers, ","),
		"HEED_PSEUDONYM_KEY=" + strings.Repeat("7", 64),
		"HEED_ADMIN_LISTEN=127.0.0.1:0",
		"HEED_LOG_LEVEL=warn",
	}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	return running
}

// spent is what a load cost: the processor time of this process, which is what an operator pays
// per replica, and the time between the first event and the last, with Kafka taking its share of
// the same cores.
type spent struct {
	loads     int
	processor time.Duration
	events    int64 // between the first that was seen and the last
	took      time.Duration
}

func (s *spent) add(one spent) {
	s.loads, s.processor, s.events, s.took = s.loads+1, s.processor+one.processor, s.events+one.events, s.took+one.took
}

func (s *spent) perCore() float64 { return float64(s.loads*records) / s.processor.Seconds() }
func (s *spent) rate() float64    { return float64(s.events) / s.took.Seconds() }

// measure runs begin until topic holds all the events.
func measure(b *testing.B, client *stream.Client, topic string, begin func() func()) spent {
	b.Helper()
	empty := sum(offsets(b, client, topic))
	runtime.GC()
	before := processor(b)
	end := begin()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx := streamtest.Context(b, 2*time.Minute)
	var first, now int64
	var since time.Time
	for {
		if now = sum(offsets(b, client, topic)) - empty; now > 0 && since.IsZero() {
			first, since = now, time.Now()
		}
		if now >= records {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("%s has %d records, want %d", topic, now, records)
		}
	}
	took := time.Since(since)
	s := spent{processor: processor(b) - before, events: now - first, took: took}
	end()
	return s
}

func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func offsets(b *testing.B, client *stream.Client, topic string) map[int32]int64 {
	bounds, err := client.OffsetBounds(b.Context(), topic)
	if err != nil {
		b.Fatal(err)
	}
	ends := map[int32]int64{}
	for p, bound := range bounds {
		ends[p] = bound.End
	}
	return ends
}

func sum(ends map[int32]int64) (total int64) {
	for _, end := range ends {
		total += end
	}
	return total
}

// packed are events in one piece of memory.
type packed struct {
	names  []string // of the headers, the same for all
	bytes  []byte   // key, value and header values of one event after the other
	lens   []uint32 // their lengths
	stride int      // lengths per event
}

func (p *packed) add(rec *stream.Record) {
	if p.names == nil {
		for _, h := range rec.Headers {
			p.names = append(p.names, h.Key)
		}
		p.stride = 2 + len(p.names)
	}
	if len(rec.Headers) != len(p.names) {
		return // an event with other headers: rare, left out
	}
	put := func(b []byte) {
		p.bytes = append(p.bytes, b...)
		p.lens = append(p.lens, uint32(len(b)))
	}
	put(rec.Key)
	put(rec.Value)
	for _, h := range rec.Headers {
		put(h.Value)
	}
}

// reader gives the events one by one, again from the first after the last.
type reader struct {
	mu      sync.Mutex
	p       *packed
	at, len int
}

// message builds the next event as every producer has to: one piece of memory for its bytes, one
// for its headers.
func (r *reader) message() stream.Message {
	r.mu.Lock()
	if r.len == len(r.p.lens) {
		r.at, r.len = 0, 0
	}
	lens := r.p.lens[r.len : r.len+r.p.stride]
	size := 0
	for _, n := range lens {
		size += int(n)
	}
	from := r.at
	r.at, r.len = r.at+size, r.len+r.p.stride
	r.mu.Unlock()

	own := append(make([]byte, 0, size), r.p.bytes[from:from+size]...)
	take := func(n uint32) (b []byte) { b, own = own[:n:n], own[n:]; return b }
	m := stream.Message{Topic: schemas.TopicCalls, Key: take(lens[0]), Value: take(lens[1]), Headers: make([]stream.Header, len(r.p.names))}
	for i, name := range r.p.names {
		m.Headers[i] = stream.Header{Key: name, Value: take(lens[2+i])}
	}
	return m
}

// eventsSince are the topic's events from the given ends on.
func eventsSince(b *testing.B, client *stream.Client, topic string, since map[int32]int64) packed {
	b.Helper()
	var all packed
	for p, from := range since {
		_, err := client.Replay(b.Context(), topic, p, from, -1, func(records []stream.Record) error {
			for i := range records {
				all.add(&records[i])
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if len(all.lens) < records*all.stride*9/10 {
		b.Fatalf("%s has only %d events", topic, len(all.lens)/max(all.stride, 1))
	}
	return all
}

// copyRecords is the floor: for each raw record the bytes of one event.
func copyRecords(b *testing.B, client *stream.Client, from map[int32]int64, events packed) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	writer := stream.NewWriter(client, stream.WriterOptions{})
	done := make(chan struct{})
	var failed atomic.Int64
	next := &reader{p: &events}
	go func() {
		defer close(done)
		_ = stream.Consume(ctx, client, stream.GroupOptions{Group: fmt.Sprintf("floor-%d", time.Now().UnixNano()), Topics: []string{schemas.TopicCallbacks}, ManualOffsets: true}, func(ctx context.Context, part *stream.Assigned) error {
			part.StartAt(from[part.Partition])
			for {
				batch, err := part.Next(ctx)
				if errors.Is(err, stream.ErrRevoked) {
					return nil
				}
				if err != nil {
					return err
				}
				for i := range batch.Records {
					rec := &batch.Records[i]
					m, offset := next.message(), rec.Offset
					for writer.Enqueue(ctx, m, func(_ stream.Position, err error) {
						if err != nil {
							failed.Add(1)
						}
						part.Done(offset)
					}) != nil {
						<-time.After(time.Millisecond)
					}
				}
				batch.Release()
			}
		})
	}()
	return func() {
		cancel()
		<-done
		_ = writer.Close(context.Background())
		if n := failed.Load(); n > 0 {
			b.Errorf("%d appends failed", n)
		}
	}
}
