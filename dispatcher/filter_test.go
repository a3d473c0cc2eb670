package dispatcher

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func record(e stream.Event) *stream.Record {
	if e.ID == "" {
		e.ID = "1"
	}
	if e.Source == "" {
		e.Source = "heed/e1"
	}
	if e.Type == "" {
		e.Type = schemas.MessageReceived.Type()
	}
	m := e.Message(schemas.TopicInbound, []byte("key"))
	return &stream.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
}

func parse(t testing.TB, text string) *schemas.Subscription {
	t.Helper()
	all, err := schemas.ParseSubscriptions([]byte("subscriptions:\n- {id: a, sink: 'https://x/', "+text+"}"), schemas.SubscriptionContext{})
	if err != nil {
		t.Fatal(err)
	}
	return &all[0]
}

func TestFilters(t *testing.T) {
	r := record(stream.Event{
		ID: "id-7", Source: "heed/kaleyra-rcs", Type: "io.heed.message.received.v1", Subject: "p1", ContentType: "application/json",
		Time:       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Extensions: []stream.Extension{{Name: "channel", Value: "rcs"}, {Name: "provider", Value: "kaleyra"}, {Name: "number", Value: "42"}},
		Data:       []byte(`{"channel":"sms"}`),
	})
	for _, c := range []struct {
		text string
		want bool
	}{
		{"types: []", true},
		{"types: [io.heed.message.received.v1]", true},
		{"types: [io.heed.message.sent.v1, io.heed.message.received.v1]", true},
		{"types: [io.heed.message.sent.v1]", false},
		{"source: heed/kaleyra-rcs", true},
		{"source: heed/kaleyra", false},
		{"filters: [{exact: {channel: rcs}}]", true},
		{"filters: [{exact: {channel: RCS}}]", false}, // case-sensitive
		{"filters: [{exact: {channel: rcs, provider: telesign}}]", false},
		{"filters: [{exact: {missing: x}}]", false},
		{"filters: [{exact: {datacontenttype: application/json}}]", true},
		{"filters: [{exact: {time: '2026-01-02T03:04:05Z'}}]", true},
		{"filters: [{prefix: {type: io.heed.message.}}]", true},
		{"filters: [{prefix: {type: message}}]", false},
		{"filters: [{suffix: {source: -rcs, id: '7'}}]", true},
		{"filters: [{suffix: {source: -sms}}]", false},
		{"filters: [{exact: {channel: rcs}}, {exact: {provider: telesign}}]", false}, // the list is an and
		{"filters: [{all: [{exact: {channel: rcs}}, {prefix: {id: id-}}]}]", true},
		{"filters: [{any: [{exact: {channel: sms}}, {prefix: {id: id-}}]}]", true},
		{"filters: [{any: [{exact: {channel: sms}}, {prefix: {id: x}}]}]", false},
		{"filters: [{not: {exact: {channel: sms}}}]", true},
		{"filters: [{not: {exact: {missing: x}}}]", true},
		{"filters: [{not: {not: {exact: {channel: sms}}}}]", false},
		{`filters: [{sql: "channel = 'rcs' AND provider LIKE 'kal%'"}]`, true},
		{`filters: [{sql: "number > 41"}]`, true},
		{`filters: [{sql: "missing = 'x'"}]`, false}, // an error is false
		{`filters: [{sql: "EXISTS missing"}]`, false},
		{`filters: [{sql: "1 / 0 = 1"}]`, false},
		{`filters: [{not: {sql: "1 / 0 = 1"}}]`, true},
		{`filters: [{sql: "source IN ('heed/kaleyra-rcs')"}]`, true},
	} {
		sel, err := compile(parse(t, c.text))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := sel.matches(&view{record: r}); got != c.want {
			t.Errorf("%s: %v", c.text, got)
		}
		if found := newIndex([]*selection{sel}).candidates(r, nil); c.want && !slices.Equal(found, []int{0}) {
			t.Errorf("%s: the index gives %v", c.text, found)
		}
	}
	for _, bad := range []string{"SELECT *", "a = ", "((((", "'", "NOFUNC(a)"} {
		if _, err := compile(parse(t, fmt.Sprintf("filters: [{sql: %q}]", bad))); err == nil {
			t.Errorf("sql %q was accepted", bad)
		}
	}
}

// A thousand subscriptions to one endpoint's or one tenant's events cost one look-up, not a
// thousand evaluations.
func TestIndexNarrows(t *testing.T) {
	var all []*selection
	for i := range 1000 {
		text := fmt.Sprintf("types: [io.heed.message.received.v1], filters: [{exact: {tenant: t%d}}]", i)
		if i%2 == 1 {
			text = fmt.Sprintf("source: heed/e%d, filters: [{prefix: {id: x}}]", i)
		}
		sel, err := compile(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sel)
	}
	x := newIndex(all)
	r := record(stream.Event{Source: "heed/e7", Extensions: []stream.Extension{{Name: "tenant", Value: "t4"}}})
	if got := x.candidates(r, nil); !slices.Equal(got, []int{7, 4}) {
		t.Errorf("candidates %v", got)
	}
}

func BenchmarkThousandFilters(b *testing.B) {
	var all []*selection
	for i := range 1000 {
		sel, err := compile(parse(b, fmt.Sprintf("types: [io.heed.message.received.v1], filters: [{exact: {tenant: t%d}}]", i)))
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, sel)
	}
	x := newIndex(all)
	r := record(stream.Event{Extensions: []stream.Extension{{Name: "channel", Value: "rcs"}, {Name: "tenant", Value: "t4"}}})
	var found []int
	matched := 0
	for b.Loop() {
		v := view{record: r}
		for _, i := range x.candidates(r, found[:0]) {
			if all[i].matches(&v) {
				matched++
			}
		}
	}
	if matched == 0 {
		b.Fatal("nothing matched")
	}
}
