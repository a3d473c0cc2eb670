package translate_test

import (
	"encoding/json"
	"testing"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

func BenchmarkRead(b *testing.B) {
	raw := rawOf(`{"type":"USER_MESSAGE","eventId":"MxRyZhJhOhTcimpjoAVrYiWQ","from":"919999912345","to":"mmx_traffic","sentAt":"2025-06-18T13:37:40.683Z","messageId":"47a6fd7c-163c-4024-ad8e-e274bed208f4","userMessage":{"type":"TEXT","text":"STOP"}}`)
	e := stream.Event{ID: "req-1", Source: raw.Origin.Source(), Type: schemas.CallbackReceived.Type(), Time: received, ContentType: schemas.CaptureType, Data: raw.Request.Append(nil)}
	for name, value := range raw.Origin.Attributes {
		e.SetExtension(name, value)
	}
	m := e.Message(schemas.TopicCallbacks, []byte("k"))
	rec := stream.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
	b.ReportAllocs()
	var reader translate.Reader
	for b.Loop() {
		if _, _, err := reader.Read(&rec); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvents(b *testing.B) {
	item := stop()
	item.Data.ProviderData = json.RawMessage(`{"sentAt":"2025-06-18T13:37:40.683Z","type":"USER_MESSAGE"}`)
	raw, res := rawOf("{}"), adapter.Result{Items: []adapter.Item{item}}
	env := translate.Envelope{Recorded: received, CallbackID: "req-1", Pseudonyms: translate.DemoPseudonyms()}
	b.ReportAllocs()
	for b.Loop() {
		if outs, _ := translate.Events(raw, res, env); len(outs) != 1 {
			b.Fatal(outs)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	out := one(b, rawOf("{}"), stop())
	b.ReportAllocs()
	for b.Loop() {
		_ = out.Event.Message(out.Topic, out.Key)
	}
}
