package consent

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/consent/consenttest"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func newReader(t *testing.T, directory string, brand bool) *reader {
	t.Helper()
	pseudonyms, err := schemas.ParsePseudonymKeys(consenttest.Key)
	if err != nil {
		t.Fatal(err)
	}
	seals, err := newSealer(pseudonyms)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDirectory([]byte(directory))
	if err != nil {
		t.Fatal(err)
	}
	return &reader{directory: d, pseudonyms: pseudonyms, seals: seals, stopBrand: brand}
}

const directoryFile = `
brands:
  - id: acme
    agents: [{channel: rcs, id: acme_promo}, {id: "+15550100"}]
`

func TestScopesOfActs(t *testing.T) {
	type scope = schemas.ConsentScope
	text := func(s string) schemas.Data {
		return schemas.Data{Content: &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(s)}}
	}
	out := func(s schemas.Scope, value string) schemas.Data {
		return schemas.Data{Consent: &schemas.ConsentAct{Intent: schemas.OptOut, Scope: s, Value: value}}
	}
	for _, c := range []struct {
		name   string
		kind   schemas.Kind
		data   schemas.Data
		agent  string
		brand  string // of the event
		policy bool
		act    schemas.Act
		want   []scope
	}{
		{"STOP, agent in the directory", schemas.MessageReceived, text("STOP"), "acme_promo", "", false, schemas.ActStop, []scope{{Brand: "acme", Agent: "acme_promo"}}},
		{"STOP, number without plus", schemas.MessageReceived, text("STOP"), "15550100", "", false, schemas.ActStop, []scope{{Brand: "acme", Agent: "15550100"}}},
		{"STOP, brand of the event", schemas.MessageReceived, text("STOP"), "x", "b", false, schemas.ActStop, []scope{{Brand: "b", Agent: "x"}}},
		{"STOP, a brand of its own", schemas.MessageReceived, text("STOP"), "x", "", false, schemas.ActStop, []scope{{Brand: "x", Agent: "x"}}},
		{"STOP, policy brand", schemas.MessageReceived, text("STOP"), "x", "b", true, schemas.ActStop, []scope{{Brand: "b", Agent: "x"}, {Brand: "b"}}},
		{"STOP ALL", schemas.MessageReceived, text("STOP ALL"), "x", "b", false, schemas.ActStop, []scope{{Brand: "b"}, {Brand: "b", Agent: "x"}}},
		{"STOP, no agent", schemas.MessageReceived, text("STOP"), "", "b", false, schemas.ActStop, []scope{{Brand: "b"}}},
		{"STOP, neither", schemas.MessageReceived, text("STOP"), "", "", false, schemas.ActStop, []scope{{Channel: schemas.RCS}}},
		{"STOP MARKETING", schemas.MessageReceived, text("STOP MARKETING"), "x", "b", false, schemas.ActStop, []scope{{Brand: "b", Agent: "x", Category: "marketing"}}},
		{"START", schemas.MessageReceived, text("START"), "x", "b", false, schemas.ActStart, []scope{{Brand: "b"}, {Brand: "b", Agent: "x"}, {Brand: "b", Channel: schemas.RCS}}},
		{"opted out of an agent", schemas.UserOptedOut, out(schemas.ScopeAgent, "*"), "x", "b", false, schemas.ActStop, []scope{{Brand: "b", Agent: "x"}}},
		{"opted out of a named sender", schemas.UserOptedOut, out(schemas.ScopeAgent, "Demo12"), "", "", false, schemas.ActStop, []scope{{Brand: "Demo12", Agent: "Demo12"}}},
		{"opted out of a brand", schemas.UserOptedOut, out(schemas.ScopeBrand, "*"), "x", "b", false, schemas.ActStop, []scope{{Brand: "b"}, {Brand: "b", Agent: "x"}}},
		{"opted out of a channel", schemas.UserOptedOut, out(schemas.ScopeChannel, "sms"), "x", "", false, schemas.ActStop, []scope{{Channel: schemas.SMS}}},
		{"opted out of a category", schemas.UserOptedOut, out(schemas.ScopeCategory, "WUC"), "", "", false, schemas.ActStop, []scope{{Channel: schemas.RCS, Category: "wuc"}}},
		{"opted out of all", schemas.UserOptedOut, out(schemas.ScopeAll, "*"), "x", "", false, schemas.ActStop, []scope{{Channel: schemas.RCS}}},
		{"opted out of something new", schemas.UserOptedOut, out("planet", "*"), "x", "", false, schemas.ActStop, []scope{{Channel: schemas.RCS}}},
		{"an opt-in that says opt_out", schemas.UserOptedIn, out(schemas.ScopeAgent, "*"), "x", "", false, schemas.ActStop, []scope{{Brand: "x", Agent: "x"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReader(t, directoryFile, c.policy)
			c.data.User = &schemas.User{Address: "+14155550123", Kind: schemas.UserPhone}
			if c.agent != "" {
				c.data.Business = &schemas.Business{Address: c.agent}
			}
			e := event(t, c.kind, c.data)
			e.SetExtension(schemas.ExtBrand, c.brand)
			got, err := r.read(&e, time.Time{})
			if err != nil || got.fact == nil {
				t.Fatalf("no fact: %+v, %v", got, err)
			}
			if diff := cmp.Diff(c.want, got.fact.Scopes); diff != "" || got.fact.Act != c.act {
				t.Errorf("%s of\n%s", got.fact.Act, diff)
			}
			again, err := r.read(&e, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			a, _, abody, _ := messages(got.fact, 1)
			b, _, bbody, _ := messages(again.fact, 1)
			if !bytes.Equal(a.Key, b.Key) || !bytes.Equal(abody, bbody) {
				t.Error("the same event gave two different facts")
			}
			if bytes.Contains(abody, []byte("4155550123")) || bytes.Contains(a.Key, []byte("4155550123")) {
				t.Error("the address stands on the fact")
			}
		})
	}
}

func event(t *testing.T, kind schemas.Kind, data schemas.Data) stream.Event {
	t.Helper()
	data.TimeSource = schemas.TimeProvider
	body, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	e := stream.Event{ID: "1", Source: "heed/x", Type: kind.Type(), Time: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), ContentType: "application/json", Data: body}
	e.SetExtension(schemas.ExtChannel, "rcs")
	e.SetExtension(schemas.ExtRecordedTime, "2026-01-02T03:04:06Z")
	return e
}

func TestWhatGoesToReview(t *testing.T) {
	user := &schemas.User{Address: "+14155550123", Kind: schemas.UserPhone}
	text := func(s string, u *schemas.User, b *schemas.Business) schemas.Data {
		return schemas.Data{User: u, Business: b, Content: &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(s)}}
	}
	for _, c := range []struct {
		name string
		data schemas.Data
		want schemas.ReviewReason
	}{
		{"masked person", text("STOP", nil, &schemas.Business{Address: "a"}), schemas.ReviewNoUser},
		{"START to nobody", text("START", user, nil), schemas.ReviewNoAgent},
		{"a word that was not acted on", text("We have got to STOP this terrible bill", user, nil), schemas.ReviewWords},
		{"masked person, ordinary words", text("hello", nil, nil), ""},
	} {
		e := event(t, schemas.MessageReceived, c.data)
		got, err := newReader(t, "", false).read(&e, time.Time{})
		if err != nil || got.fact != nil || (got.review == nil) != (c.want == "") || got.review != nil && got.review.Reason != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	for _, kind := range []schemas.Kind{schemas.UserTyping, "something.new"} {
		e := event(t, kind, schemas.Data{})
		if got, err := newReader(t, "", false).read(&e, time.Time{}); err != nil || got != (reading{}) {
			t.Errorf("%s was not passed by: %+v, %v", kind, got, err)
		}
	}
}

func TestSealedAddresses(t *testing.T) {
	old, err := schemas.ParsePseudonymKeys(consenttest.Key)
	if err != nil {
		t.Fatal(err)
	}
	both, err := schemas.ParsePseudonymKeys(strings.Repeat("ab", 32) + "," + consenttest.Key)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := newSealer(old)
	rotating, _ := newSealer(both)
	user := &schemas.User{Address: "+14155550123", Kind: schemas.UserPhone}
	text, err := first.seal("p", user)
	if err != nil || strings.Contains(text, "4155550123") {
		t.Fatalf("%q, %v", text, err)
	}
	if again, _ := first.seal("p", user); again != text {
		t.Error("the same address gave two texts")
	}
	if other, _ := first.seal("q", user); other == text {
		t.Error("two persons gave one text")
	}
	if got, err := rotating.open("p", text); err != nil || *got != *user {
		t.Errorf("while the key is changed: %v, %v", got, err)
	}
	newest, _ := rotating.seal("p", user)
	if _, err := first.open("p", newest); err == nil {
		t.Error("opened without the key")
	}
	if _, err := first.open("q", text); err == nil {
		t.Error("opened as somebody else's")
	}
}

func TestDirectory(t *testing.T) {
	d, err := parseDirectory([]byte(directoryFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		channel            schemas.Channel
		agent, named, want string
	}{
		{schemas.RCS, "ACME_promo", "", "acme"}, {schemas.SMS, "acme_promo", "", "acme_promo"}, {schemas.SMS, "15550100", "x", "acme"}, {schemas.SMS, "z", "x", "x"},
	} {
		if got := d.brand(c.channel, c.agent, c.named); got != c.want {
			t.Errorf("%s %s (%s): %q, want %q", c.channel, c.agent, c.named, got, c.want)
		}
	}
	for name, text := range map[string]string{
		"two brands":      "brands: [{id: a, agents: [{id: x}]}, {id: b, agents: [{id: X}]}]",
		"no id":           "brands: [{agents: [{id: x}]}]",
		"unknown channel": "brands: [{id: a, agents: [{id: x, channel: pigeon}]}]",
		"unknown key":     "brands: [{id: a, agent: x}]",
	} {
		if _, err := parseDirectory([]byte(text)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestMarks(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return base.Add(time.Duration(s * float64(time.Second))) }
	m := newMarks(20 * time.Second)
	say := func(replica string, p int32, mark, written float64) {
		m.add(schemas.Mark{Replica: replica, Partition: p, Partitions: 2, Time: at(mark)}, at(written))
	}
	want := func(what string, s float64) {
		t.Helper()
		got := m.time()
		if s < 0 && !got.IsZero() || s >= 0 && !got.Equal(at(s)) {
			t.Errorf("%s: %s, want %g s", what, got, s)
		}
	}
	say("a", 0, 1, 1.1)
	say("a", 1, 1, 1.1)
	want("too early to believe", -1)
	say("a", 0, 3, 3.1)
	want("one partition behind", 1)
	say("a", 1, 3, 3.1)
	want("both", 3)
	say("b", 0, 4, 4.1)
	want("a new replica half heard", -1)
	say("b", 1, 2, 4.1)
	want("the minimum over replicas", 2)
	say("b", 1, 4, 5)
	want("caught up", 3)
	for s := 5.0; s < 30; s++ { // b vanishes
		say("a", 0, s, s+.1)
		say("a", 1, s, s+.1)
	}
	want("a replica that vanished", 29)
	if m.dropped != 1 {
		t.Errorf("%d dropped", m.dropped)
	}
	for s := 30.0; s < 60; s++ { // partition 1 is stuck
		say("a", 0, s, s+.1)
	}
	want("a stuck partition holds the time back for ever", 29)
	m.add(schemas.Mark{Replica: "a", Partition: 0, Partitions: 2, Time: at(60), Leaving: true}, at(60))
	m.add(schemas.Mark{Replica: "a", Partition: 1, Partitions: 2, Time: at(60), Leaving: true}, at(60))
	want("everybody left", -1)
}
