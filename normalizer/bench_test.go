package normalizer

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/providers/kaleyra"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// What Kaleyra sends most, as test/load/normalizer measures it on Kafka; %[1]d makes ids and
// persons differ.
var benchCallbacks = []struct{ name, body string }{
	{"rcs_message", `{"type":"USER_MESSAGE","eventId":"MxRyZhJhOhTcimpjo%[1]08d","from":"9199999%05[1]d","to":"mmx_traffic","sentAt":"2026-01-02T03:04:05.683Z","messageId":"47a6fd7c-163c-4024-ad8e-%012[1]d","userMessage":{"type":"TEXT","text":"When does the shop in the harbour open on Sunday?"}}`},
	{"rcs_receipt", `{"type":"DELIVERED","eventId":"MxRyZhJhOhTcimpjo%[1]08d","from":"9199999%05[1]d","to":"mmx_traffic","sentAt":"2026-01-02T03:04:05.683Z","messageId":"47a6fd7c-163c-4024-ad8e-%012[1]d"}`},
}

// BenchmarkCallback is a callback's way from its raw record to the events' messages, stage by
// stage, without Kafka.
func BenchmarkCallback(b *testing.B) {
	for _, c := range benchCallbacks {
		records := benchRecords(c.body)
		kaleyra, pseudonyms := kaleyra.New(), translate.DemoPseudonyms()
		var reader translate.Reader
		var translator translate.Translator
		var messages stream.Messages
		raws, envs := make([]adapter.Raw, len(records)), make([]translate.Envelope, len(records))
		memories, rooms := make([]adapter.Memory, len(records)), make([][]byte, len(records)) // as a partition has them
		results := make([]adapter.Result, len(records))
		var out translate.Out // of the last call of events
		read := func(i int) {
			var err error
			if raws[i], envs[i], err = reader.Read(&records[i]); err != nil {
				b.Fatal(err)
			}
			envs[i].Pseudonyms, envs[i].Recorded = pseudonyms, raws[i].ReceivedAt
			raws[i].Memory = &memories[i]
		}
		adapt := func(i int) { results[i] = kaleyra.Adapt(raws[i]) }
		events := func(i int) {
			made, failures := translator.Events(raws[i], results[i], envs[i])
			if len(made) != 1 || len(failures) > 0 {
				b.Fatal(made, failures)
			}
			out = made[0]
		}
		message := func(i int) {
			m := messages.Of(rooms[i], &out.Event, out.Topic, out.Key)
			rooms[i] = m.Memory()
		}
		for i := range records { // so that any one stage can be measured alone
			read(i)
			adapt(i)
			events(i)
		}
		for _, stage := range []struct {
			name string
			do   func(i int)
		}{{"read", read}, {"adapt", adapt}, {"events", events}, {"message", message}, {"all", func(i int) { read(i); adapt(i); events(i); message(i) }}} {
			b.Run(c.name+"/"+stage.name, func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					stage.do(i % len(records))
				}
			})
		}
	}
}

// BenchmarkBatch is what a partition does with the records of a fetch, with a writer that
// acknowledges at once.
func BenchmarkBatch(b *testing.B) {
	for _, c := range benchCallbacks {
		records := benchRecords(c.body)
		b.Run(c.name, func(b *testing.B) {
			n := newRig(b).normalizer
			n.adapters["kaleyra"], n.fast, n.windowSize = kaleyra.New(), acknowledging{}, 4 // less than comes between two passes
			p := newPartition(n, schemas.TopicCallbacks, 0, idle{}, func(error) {})
			b.ReportAllocs()
			before := processor(b)
			for b.Loop() {
				if err := p.batch(b.Context(), records); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N*len(records)), "cpu-ns/callback")
		})
	}
}

// processor is the processor time of this process, garbage collection included: other load on
// the machine changes it less than it changes the clock.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type acknowledging struct{}

func (acknowledging) Enqueue(_ context.Context, _ stream.Message, done func(stream.Position, error)) error {
	done(stream.Position{}, nil)
	return nil
}

type idle struct{}

func (idle) Next(context.Context) (*stream.Batch, error) { return nil, stream.ErrRevoked }
func (idle) Done(int64)                                  {}
func (idle) Lag() (int64, time.Duration)                 { return 0, 0 }

func benchRecords(body string) []stream.Record {
	origin := schemas.Origin{Endpoint: "bench-7f3a9c", Provider: "kaleyra", Channel: schemas.RCS, Tenant: "acme", Agent: "mmx_traffic", DefaultCountry: "IN"}
	records := make([]stream.Record, 512)
	for i := range records {
		request := schemas.Capture{Method: "POST", Target: "/v1/callbacks/bench-7f3a9c", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "bench"}}, Body: fmt.Appendf(nil, body, i)}
		e := stream.Event{ID: fmt.Sprintf("req-%d", i), Source: origin.Source(), Type: schemas.CallbackReceived.Type(), Time: time.Date(2026, 1, 2, 3, 4, 6, 1e6, time.UTC), ContentType: schemas.CaptureType, Data: request.Append(nil)}
		for name, value := range origin.Attributes {
			e.SetExtension(name, value)
		}
		e.SetExtension(schemas.ExtTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
		m := e.Message(schemas.TopicCallbacks, fmt.Appendf(nil, "key-%d", i))
		records[i] = stream.Record{Topic: m.Topic, Offset: int64(i), Key: m.Key, Value: m.Value, Headers: m.Headers, Time: e.Time}
	}
	return records
}
