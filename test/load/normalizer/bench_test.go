// Package normalizer measures the normalizer on Apache Kafka: events per second and core for
// each provider, over the floor of a program that fetches the same records and produces the same
// bytes and does nothing between.
package normalizer

import (
	"context"
	"fmt"
	"io"
	"strings"
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

// records is how many callbacks a measurement takes: half a second or more on one core.
const records = 60_000

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
			for b.Loop() {
				from := offsets(b, client, schemas.TopicCallbacks)
				before := offsets(b, client, c.target)
				post(b, client, c.provider, c.channel, c.body)
				own := measure(b, client, c.target, func() func() {
					running := start(b, cluster.Brokers())
					return func() { running.Stop(); _ = running.Wait() }
				})
				events := eventsSince(b, client, c.target, before)
				floor := measure(b, client, schemas.TopicCalls, func() func() { return copyRecords(b, client, from, events) })
				b.ReportMetric(float64(records)/own.Seconds(), "events/s/core")
				b.ReportMetric(float64(records)/floor.Seconds(), "floor/s/core")
				b.ReportMetric(floor.Seconds()/own.Seconds(), "of_floor")
			}
		})
	}
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

// measure is the processor time that this process takes from begin until topic holds all the
// events.
func measure(b *testing.B, client *stream.Client, topic string, begin func() func()) time.Duration {
	b.Helper()
	goal := sum(offsets(b, client, topic)) + records
	before := processor(b)
	end := begin()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx := streamtest.Context(b, 2*time.Minute)
	for sum(offsets(b, client, topic)) < goal {
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("%s has %d records, want %d", topic, sum(offsets(b, client, topic)), goal)
		}
	}
	spent := processor(b) - before
	end()
	return spent
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

// eventsSince are the topic's records from the given ends on: the bytes that the floor produces.
func eventsSince(b *testing.B, client *stream.Client, topic string, since map[int32]int64) []stream.Message {
	b.Helper()
	var all []stream.Message
	for p, from := range since {
		_, err := client.Replay(b.Context(), topic, p, from, -1, func(records []stream.Record) error {
			for i := range records {
				if rec := records[i].Clone(); stream.EventType(&rec) != schemas.TimeMark.Type() {
					all = append(all, stream.Message{Topic: schemas.TopicCalls, Key: rec.Key, Value: rec.Value, Headers: rec.Headers})
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if len(all) < records {
		b.Fatalf("%s has only %d events", topic, len(all))
	}
	return all
}

// copyRecords is the floor: for each raw record the bytes of one event.
func copyRecords(b *testing.B, client *stream.Client, from map[int32]int64, events []stream.Message) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	writer := stream.NewWriter(client, stream.WriterOptions{})
	done := make(chan struct{})
	var failed, next atomic.Int64
	go func() {
		defer close(done)
		_ = stream.Consume(ctx, client, stream.GroupOptions{Group: fmt.Sprintf("floor-%d", time.Now().UnixNano()), Topics: []string{schemas.TopicCallbacks}, ManualOffsets: true}, func(ctx context.Context, part *stream.Assigned) error {
			part.StartAt(from[part.Partition])
			for {
				batch, err := part.Next(ctx)
				if err != nil {
					return nil
				}
				for i := range batch.Records {
					rec := &batch.Records[i]
					m, offset := events[next.Add(1)-1], rec.Offset
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
