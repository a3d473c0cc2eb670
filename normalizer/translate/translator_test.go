package translate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// A Translator gives what Events gives whatever it translated before, and the messages made of
// its events stay as they are whatever it translates after.
func TestTranslatorKeepsCallbacksApart(t *testing.T) {
	raw := rawOf("{}")
	other := raw
	other.Origin = schemas.Origin{Endpoint: "kal-2", Provider: "kaleyra", Channel: schemas.SMS}
	nobody := adapter.Item{Kind: schemas.MessageDelivered, Data: schemas.Data{MessageID: "m-2", Status: &schemas.Status{Code: "1"}}}
	large := stop()
	large.Data.ProviderData = []byte(`"` + strings.Repeat("x", translate.MaxData) + `"`)
	hopeless := stop()
	hopeless.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(strings.Repeat("x", translate.MaxData))}
	var many []adapter.Item
	for i := range 40 {
		item := stop()
		item.Index, item.Data.EventID = i, fmt.Sprint("e-", i/2)
		item.Data.ProviderData = fmt.Appendf(nil, `{"i":%d}`, i)
		many = append(many, item)
	}
	callbacks := []struct {
		raw   adapter.Raw
		items []adapter.Item
	}{
		{raw, []adapter.Item{stop()}}, {other, []adapter.Item{nobody}}, {raw, []adapter.Item{large, stop()}}, {raw, []adapter.Item{hopeless, nobody}},
		{raw, nil}, {raw, many}, {other, []adapter.Item{stop(), nobody}}, {raw, []adapter.Item{{Kind: "no.such", Index: 3}}},
	}
	var translator translate.Translator
	var messages stream.Messages
	var got, want []stream.Message
	for round := range 3 {
		for i, c := range callbacks {
			env := translate.Envelope{Recorded: received.AddDate(0, 0, round), CallbackID: fmt.Sprint("req-", i), Pseudonyms: translate.DemoPseudonyms()}
			outs, failures := translator.Events(c.raw, adapter.Result{Items: c.items}, env)
			expected, failed := translate.Events(c.raw, adapter.Result{Items: c.items}, env)
			if diff := cmp.Diff(failed, failures); diff != "" {
				t.Fatalf("callback %d, failures (-Events +Translator):\n%s", i, diff)
			}
			if diff := cmp.Diff(expected, outs); diff != "" && len(expected)+len(outs) > 0 {
				t.Fatalf("callback %d (-Events +Translator):\n%s", i, diff)
			}
			for j := range outs {
				made := messages.Of(nil, &outs[j].Event, outs[j].Topic, outs[j].Key)
				got = append(got, made.Plain())
				want = append(want, expected[j].Event.Message(expected[j].Topic, expected[j].Key))
			}
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(stream.Message{}, stream.Place{})); diff != "" {
		t.Errorf("(-Event.Message +Messages.Of):\n%s", diff)
	}
}
