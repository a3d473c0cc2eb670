package state

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/heedhq/heed/schemas"
)

type scope = schemas.ConsentScope

type act struct {
	scope scope
	act   schemas.Act
	at    int64
}

// The writers of §2.2: what acts of a person to agent A of brand B become.
func stopAgent(a string, at int64) []act {
	return []act{{scope{Agent: a, Brand: "B"}, schemas.ActStop, at}}
}

func stopBrand(a string, at int64) []act {
	return append(stopAgent(a, at), act{scope{Brand: "B"}, schemas.ActStop, at})
}

func start(a string, at int64) []act {
	return []act{
		{scope{Agent: a, Brand: "B"}, schemas.ActStart, at}, {scope{Brand: "B"}, schemas.ActStart, at},
		{scope{Brand: "B", Channel: schemas.RCS}, schemas.ActStart, at},
	}
}

func stopMarketing(a string, at int64) []act {
	return []act{{scope{Agent: a, Brand: "B", Category: "marketing"}, schemas.ActStop, at}}
}

func fold(acts ...[]act) Person {
	p := Person{}
	for _, list := range acts {
		for _, a := range list {
			p.Apply(KeyOf(a.scope), a.act, a.at)
		}
	}
	return p
}

// facts §2.2, row by row.
func TestDecisionTable(t *testing.T) {
	a := Send{Brand: "B", Agent: "A", Channel: schemas.RCS, Category: "marketing"}
	sms := a
	sms.Channel = schemas.SMS
	notify := a
	notify.Category = "notification"
	unsaid := a
	unsaid.Category = ""
	a2 := Send{Brand: "B", Agent: "A2", Channel: schemas.RCS, Category: "marketing"}
	other := Send{Brand: "X", Agent: "AX", Channel: schemas.RCS, Category: "marketing"}
	rcsAll := []act{{scope{Channel: schemas.RCS}, schemas.ActStop, 100}}
	for _, c := range []struct {
		name  string
		acts  []([]act)
		allow []Send
		deny  []Send
	}{
		{"nothing", nil, []Send{a, a2, other, unsaid}, nil},
		{"STOP to A, policy agent", [][]act{stopAgent("A", 100)}, []Send{a2, other}, []Send{a, sms, notify, unsaid}},
		{"STOP to A, policy brand", [][]act{stopBrand("A", 100)}, []Send{other}, []Send{a, a2}},
		{"then START to A", [][]act{stopBrand("A", 100), start("A", 200)}, []Send{a, a2, other}, nil},
		{"STOP to A, STOP to A2, START to A", [][]act{stopAgent("A", 100), stopAgent("A2", 110), start("A", 200)}, []Send{a, other}, []Send{a2}},
		{"STOP to A, STOP to A2, START to A, policy brand", [][]act{stopBrand("A", 100), stopBrand("A2", 110), start("A", 200)}, []Send{a, other}, []Send{a2}},
		{"all of a channel, later START to A", [][]act{rcsAll, start("A", 200)}, []Send{a, a2}, []Send{other}},
		{"all of a channel", [][]act{rcsAll}, []Send{sms}, []Send{a, a2, other}},
		{"STOP MARKETING to A", [][]act{stopMarketing("A", 100)}, []Send{notify, a2, other}, []Send{a, unsaid}},
		{"STOP MARKETING, later plain START", [][]act{stopMarketing("A", 100), start("A", 200)}, []Send{notify}, []Send{a}},
		{"STOP, later START MARKETING", [][]act{stopAgent("A", 100), {{scope{Agent: "A", Category: "marketing"}, schemas.ActStart, 200}}}, []Send{a}, []Send{notify, unsaid}},
		{"STOP and START at the same time", [][]act{stopAgent("A", 100), start("A", 100)}, []Send{a2}, []Send{a}},
		{"START before STOP", [][]act{start("A", 99), stopAgent("A", 100)}, []Send{a2}, []Send{a}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := fold(c.acts...)
			for _, s := range c.allow {
				if o := p.Decide(s); o.Decision != schemas.Allow {
					t.Errorf("%+v: denied by %x", s, o.Key)
				}
			}
			for _, s := range c.deny {
				if o := p.Decide(s); o.Decision != schemas.Deny {
					t.Errorf("%+v: allowed (%s)", s, o.Reason)
				}
			}
		})
	}
}

func drawActs(t *rapid.T) []act {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		s := scope{Channel: rapid.SampledFrom([]schemas.Channel{"", schemas.RCS, schemas.SMS}).Draw(t, "channel"), Category: rapid.SampledFrom([]string{"", "marketing"}).Draw(t, "category")}
		switch rapid.IntRange(0, 2).Draw(t, "level") {
		case 1:
			s.Brand = rapid.SampledFrom([]string{"B", "X"}).Draw(t, "brand")
		case 2:
			s.Agent = rapid.SampledFrom([]string{"A", "A2"}).Draw(t, "agent")
		}
		return act{s, rapid.SampledFrom([]schemas.Act{schemas.ActStop, schemas.ActStart}).Draw(t, "act"), rapid.Int64Range(1, 6).Draw(t, "at")}
	}), 0, 8).Draw(t, "acts")
}

func TestAnyOrderAndDuplicatesGiveOneState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acts := drawActs(t)
		want := fold(acts)
		shuffled := rapid.Permutation(acts).Draw(t, "order")
		if len(acts) > 0 {
			shuffled = append(shuffled, rapid.SampledFrom(acts).Draw(t, "again"))
		}
		if diff := cmp.Diff(want, fold(shuffled)); diff != "" {
			t.Fatalf("order or a duplicate changed the state:\n%s", diff)
		}
		back, err := Decode(want.Encode())
		if err != nil || !cmp.Equal(want, back) {
			t.Fatalf("stored and read back: %v, %v", back, err)
		}
	})
}

func TestMergeIsAJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := fold(drawActs(t)), fold(drawActs(t)), fold(drawActs(t))
		equal := func(what string, x, y Person) {
			if !cmp.Equal(x, y) {
				t.Fatalf("%s: %v and %v", what, x, y)
			}
		}
		equal("commutative", Merge(a, b), Merge(b, a))
		equal("associative", Merge(Merge(a, b), c), Merge(a, Merge(b, c)))
		equal("idempotent", Merge(a, a), a)
	})
}

// A stop that nothing later answers denies what it covers; adding a stop never allows anything.
func TestAStopNeverAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acts := drawActs(t)
		stop := act{act: schemas.ActStop, at: rapid.Int64Range(1, 7).Draw(t, "at"), scope: rapid.SampledFrom([]scope{{}, {Brand: "B"}, {Agent: "A"}, {Channel: schemas.RCS}, {Agent: "A", Category: "marketing"}}).Draw(t, "scope")}
		send := Send{Brand: "B", Agent: "A", Channel: rapid.SampledFrom([]schemas.Channel{"", schemas.RCS, schemas.SMS}).Draw(t, "channel"), Category: rapid.SampledFrom([]string{"", "marketing", "notification"}).Draw(t, "category")}
		before, after := fold(acts).Decide(send), fold(append(slices.Clone(acts), stop)).Decide(send)
		if before.Decision == schemas.Deny && after.Decision == schemas.Allow {
			t.Fatalf("another stop allowed %+v", send)
		}
		if send.Channel == schemas.RCS && send.Category == "marketing" && stop.at == 7 && after.Decision != schemas.Deny {
			t.Fatalf("the latest stop was not heeded: %+v", after)
		}
	})
}

func TestEffectiveTime(t *testing.T) {
	received := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	at := func(d time.Duration) time.Time { return received.Add(d) }
	for _, c := range []struct {
		name  string
		in    When
		want  time.Time
		flags []string
	}{
		{"STOP as said", When{schemas.ActStop, at(-time.Second), schemas.TimeProvider, "", received}, at(-time.Second), nil},
		{"START as said", When{schemas.ActStart, at(-time.Second), schemas.TimeProvider, "", received}, at(-time.Second), nil},
		{"STOP a little ahead", When{schemas.ActStop, at(4 * time.Second), schemas.TimeProvider, "", received}, at(4 * time.Second), nil},
		{"STOP far ahead", When{schemas.ActStop, at(5 * time.Hour), schemas.TimeProvider, schemas.TimeFuture, received}, at(5 * time.Second), []string{"future"}},
		{"START ahead", When{schemas.ActStart, at(time.Millisecond), schemas.TimeProvider, schemas.TimeFuture, received}, at(-time.Minute), []string{"future"}},
		{"START hours ahead", When{schemas.ActStart, at(5 * time.Hour), schemas.TimeProvider, schemas.TimeFuture, received}, at(-time.Minute), []string{"future"}},
		{"no time", When{schemas.ActStop, time.Time{}, schemas.TimeReceived, "", received}, received, nil},
		{"unreadable", When{schemas.ActStart, at(0), schemas.TimeReceived, schemas.TimeUnreadable, received}, received, nil},
		{"STOP without zone", When{schemas.ActStop, at(-5 * time.Hour), schemas.TimeProvider, schemas.TimeNaive, received}, received, []string{"naive"}},
		{"START without zone", When{schemas.ActStart, at(-5 * time.Hour), schemas.TimeProvider, schemas.TimeNaive, received}, at(-5 * time.Hour), []string{"naive"}},
		{"whole second STOP", When{schemas.ActStop, received.Truncate(time.Second), schemas.TimeProvider, "", received}, received.Truncate(time.Second).Add(999 * time.Millisecond), nil},
		{"whole second START", When{schemas.ActStart, received.Truncate(time.Second), schemas.TimeProvider, "", received}, received.Truncate(time.Second), nil},
		{"old STOP", When{schemas.ActStop, at(-31 * 24 * time.Hour), schemas.TimeProvider, schemas.TimeOld, received}, at(-31 * 24 * time.Hour), []string{"old"}},
		{"receipt unknown", When{schemas.ActStop, at(0), schemas.TimeProvider, "", time.Time{}}, at(0), nil},
	} {
		got, flags := c.in.Effective()
		if !got.Equal(c.want) || !slices.Equal(flags, c.flags) {
			t.Errorf("%s: %s %v, want %s %v", c.name, got, flags, c.want, c.flags)
		}
	}
}
