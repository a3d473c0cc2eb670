package consenttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/service/servicetest"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/schematest"
)

// Run runs the whole suite.
func Run(t *testing.T, s Servers) {
	t.Run("StopDeniesStartAllows", func(t *testing.T) { stopStart(t, s) })
	t.Run("TheTwinEventsAreOneIntent", func(t *testing.T) { twins(t, s) })
	t.Run("ProvidersOptOuts", func(t *testing.T) { providers(t, s) })
	t.Run("SideEffects", func(t *testing.T) { effects(t, s) })
	t.Run("Orders", func(t *testing.T) { orders(t, s) })
	t.Run("FlushAllowsNobody", func(t *testing.T) { flush(t, s) })
	t.Run("SecondOwner", func(t *testing.T) { second(t, s) })
	if s.RestartEmpty != nil {
		t.Run("RestartEmpty", func(t *testing.T) { restart(t, s) })
	}
	if s.Snapshot != nil {
		t.Run("OldSnapshot", func(t *testing.T) { snapshot(t, s) })
	}
}

const agent, brand = "acme_agent", "acme"

func ask(user string) schemas.Check {
	return schemas.Check{ID: "q", User: schemas.Address(user), Channel: schemas.RCS, Agent: agent, Brand: brand, Category: "marketing"}
}

func stopStart(t *testing.T, s Servers) {
	r := Begin(t, s)
	const user = "+919999912345"
	if got := r.Check(ask(user)); got.Decision != schemas.Allow || got.Reason != schemas.ReasonNoStop || got.ID != "q" {
		t.Fatalf("before anything: %+v", got)
	}
	r.Do(Event{User: user, Agent: agent, Brand: brand, Text: "STOP"})
	got, took := r.Decided(ask(user), schemas.Deny)
	t.Logf("STOP to deny: %s", took)
	if got.Reason != schemas.ReasonOptedOut || got.Scope == nil || *got.Scope != (schemas.ScopeName{Level: schemas.ScopeAgent, Value: agent}) || got.Since == nil {
		t.Errorf("after STOP: %+v %+v", got, got.Scope)
	}
	other := ask(user)
	other.Agent = "acme_other"
	if got := r.Check(other); got.Decision != schemas.Allow {
		t.Errorf("STOP is per agent, yet another agent of the brand was denied: %+v", got)
	}
	r.Do(Event{User: user, Agent: agent, Brand: brand, Text: "START"})
	if got, _ := r.Decided(ask(user), schemas.Allow); got.Reason != schemas.ReasonOptedIn {
		t.Errorf("after START: %+v", got)
	}
	// A START that says that it happened before the STOP loses, whenever it comes.
	r.Do(Event{User: user, Agent: agent, Brand: brand, Text: "stop"})
	r.Decided(ask(user), schemas.Deny)
	r.Do(Event{User: user, Agent: agent, Brand: brand, Text: "START", At: time.Now().Add(-time.Hour)}, Event{User: user, Agent: agent, Text: "STOP MARKETING"})
	r.Until("the category's register", func() bool { return len(r.registers(user)) >= 4 })
	if got := r.Check(ask(user)); got.Decision != schemas.Deny {
		t.Errorf("an old START opened what a later STOP closed: %+v", got)
	}
	for name, k := range map[string]schemas.Check{
		"invalid_user":  {User: "91767XXXXX", Agent: agent},
		"unknown_agent": {User: user},
	} {
		if got := r.Check(k); got.Decision != schemas.Deny || string(got.Reason) != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
	many := make([]schemas.Check, schemas.MaxChecks)
	for i := range many {
		many[i] = schemas.Check{ID: fmt.Sprint(i), User: schemas.Address(fmt.Sprintf("+1415556%04d", i)), Agent: agent}
	}
	many[500] = ask(user)
	many[500].ID = "500"
	for i, got := range r.Checks(many...).Results {
		if got.ID != fmt.Sprint(i) || (got.Decision == schemas.Deny) != (i == 500) {
			t.Fatalf("result %d of 1000: %+v", i, got)
		}
	}
	for body, want := range map[string]int{`{"checks":[]}`: 400, `{`: 400, `{"checks":[{"user":7}]}`: 400, `{"checks":[` + strings.Repeat(`{"user":"+14155550123"},`, 1000) + `{"user":"x"}]}`: 400, `{"checks":"` + strings.Repeat("x", 600<<10) + `"}`: 413} {
		if got := r.Call(http.MethodPost, "/v1/consent/check", body, nil); got != want {
			t.Errorf("%.30s: status %d, want %d", body, got, want)
		}
	}
	if got := r.Call(http.MethodGet, "/v1/consent/check", nil, nil); got != http.StatusMethodNotAllowed {
		t.Errorf("GET check: %d", got)
	}
}

func (r *Road) registers(user string) []schemas.RegisterStatus {
	var status schemas.ConsentStatus
	if code := r.Call(http.MethodGet, Path(user), nil, &status); code != http.StatusOK {
		return nil
	}
	return status.Registers
}

// The pair of the Kaleyra documents: a tap on Unsubscribe gives an event and a synthetic text,
// 52 ms apart, with different ids.
func twins(t *testing.T, s Servers) {
	r := Begin(t, s)
	const user = "+919999912346"
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	out := &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeAgent, Value: "*"}
	in := &schemas.ConsentAct{Intent: schemas.OptIn, Scope: schemas.ScopeBrand, Value: "*"}
	r.Do(
		Event{User: user, Agent: agent, Kind: schemas.UserOptedIn, Consent: in, At: at.Add(2367 * time.Millisecond)},
		Event{User: user, Agent: agent, Text: "START", At: at.Add(2385 * time.Millisecond)},
		Event{User: user, Agent: agent, Kind: schemas.UserOptedOut, Consent: out, At: at.Add(40631 * time.Millisecond)},
		Event{User: user, Agent: agent, Text: "STOP", At: at.Add(40683 * time.Millisecond)},
	)
	person := r.Person(user)
	r.Decided(ask(user), schemas.Deny)
	last := Event{User: user, Agent: "marker", Text: "STOP", At: at.Add(50 * time.Second)}
	r.Do(last)
	r.Until("the change of the last event", func() bool {
		events, _ := r.Published(schemas.ConsentChanged, person)
		return len(events) >= 3
	})
	judge := schematest.New(t)
	for _, kind := range []schemas.Kind{schemas.ConsentChanged, schemas.ConsentConfirmationDue} {
		events, ids := r.Published(kind, person)
		if len(events) != 3 || len(ids) != 3 {
			t.Errorf("%s: %d events, %d ids, want START, STOP and the marker's STOP once each", kind, len(events), len(ids))
		}
		for i := range events {
			if err := judge.Event(events[i].Structured()); err != nil {
				t.Errorf("%s is not what its schema says: %v\n%s", kind, err, events[i].Structured())
			}
		}
	}
	events, _ := r.Published(schemas.ConsentChanged, person)
	var change schemas.Change
	if err := json.Unmarshal(events[1].Data, &change); err != nil {
		t.Fatal(err)
	}
	if change.Act != schemas.ActStop || change.User == nil || change.User.Address != user || change.Scope.Value != agent || len(change.Changes) != 1 ||
		change.Changes[0].From != schemas.StateOptedIn || change.Changes[0].To != schemas.StateOptedOut {
		t.Errorf("the change of STOP: %s", events[1].Data)
	}
}

func providers(t *testing.T, s Servers) {
	r := Begin(t, s)
	for i, c := range []struct {
		name  string
		act   schemas.ConsentAct
		agent string
		deny  []schemas.Check
		allow []schemas.Check
	}{
		{"agent by value", schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeAgent, Value: "Demo12"}, "", []schemas.Check{{Agent: "demo12", Channel: schemas.RCS}}, []schemas.Check{{Agent: "other", Channel: schemas.RCS}}},
		{"brand", schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeBrand, Value: "acme"}, "", []schemas.Check{{Agent: "a1", Brand: "acme"}, {Brand: "ACME"}}, []schemas.Check{{Agent: "a1", Brand: "other"}}},
		{"channel", schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeChannel, Value: "rcs"}, "", []schemas.Check{{Agent: "a1", Channel: schemas.RCS}, {Agent: "a1"}}, []schemas.Check{{Agent: "a1", Channel: schemas.SMS}}},
		{"category", schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeCategory, Value: "WUC"}, "a1", []schemas.Check{{Agent: "a1", Category: "wuc"}, {Agent: "a1"}}, []schemas.Check{{Agent: "a1", Category: "other"}}},
		{"all", schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeAll, Value: "*"}, "", []schemas.Check{{Agent: "a1", Channel: schemas.RCS}, {Agent: "a2", Channel: schemas.RCS}}, []schemas.Check{{Agent: "a1", Channel: schemas.SMS}}},
	} {
		user := fmt.Sprintf("+1415557%04d", i)
		r.Do(Event{User: user, Agent: c.agent, Kind: schemas.UserOptedOut, Consent: &c.act})
		for _, k := range c.deny {
			k.User = schemas.Address(user)
			r.Decided(k, schemas.Deny)
		}
		for _, k := range c.allow {
			k.User = schemas.Address(user)
			if got := r.Check(k); got.Decision != schemas.Allow {
				t.Errorf("%s: %s/%s/%s was denied: %+v", c.name, k.Agent, k.Brand, k.Channel, got)
			}
		}
	}
	// "all" of a channel is lifted for the brand that the person starts again, and for no other.
	user := "+14155570004"
	r.Do(Event{User: user, Agent: "a1", Brand: "b", Text: "START"})
	r.Decided(schemas.Check{User: schemas.Address(user), Agent: "a1", Brand: "b", Channel: schemas.RCS}, schemas.Allow)
	r.Decided(schemas.Check{User: schemas.Address(user), Agent: "a2", Brand: "b", Channel: schemas.RCS}, schemas.Allow)
	r.Decided(schemas.Check{User: schemas.Address(user), Agent: "x1", Brand: "x", Channel: schemas.RCS}, schemas.Deny)
	// WhatsApp's form of a Brazilian number and the E.164 form are one person.
	r.Do(Event{User: "+551187654321", Agent: "a1", Text: "PARAR"})
	r.Decided(schemas.Check{User: "+5511987654321", Agent: "a1"}, schemas.Deny)
	// The provider's "generic" does not end the reading of the text; its stop needs no text.
	r.Do(Event{User: "+14155570100", Agent: "a1", Text: "revoke", Says: schemas.ActionGeneric}, Event{User: "+14155570101", Agent: "a1", Text: "hm", Says: schemas.ActionStop})
	r.Decided(schemas.Check{User: "+14155570100", Agent: "a1"}, schemas.Deny)
	r.Decided(schemas.Check{User: "+14155570101", Agent: "a1"}, schemas.Deny)
}

func effects(t *testing.T, s Servers) {
	r := Begin(t, s)
	const user = "+14155558001"
	r.Do(
		Event{User: user, Agent: agent, Text: "HELP"},
		Event{User: user, Agent: agent, Text: "We have got to STOP this terrible bill"},
		Event{Agent: agent, Text: "STOP"},
		Event{User: user, Text: "START"},
		Event{User: user, Agent: agent, Text: "hello"},
		Event{User: user, Agent: agent, Kind: "future.kind"},
	)
	r.Until("help and three reviews", func() bool {
		help, _ := r.Published(schemas.HelpRequested, "")
		reviews, _ := r.Published(schemas.ConsentReviewNeeded, "")
		return len(help) == 1 && len(reviews) == 3
	})
	judge := schematest.New(t)
	for _, kind := range []schemas.Kind{schemas.HelpRequested, schemas.ConsentReviewNeeded} {
		events, _ := r.Published(kind, "")
		for i := range events {
			if err := judge.Event(events[i].Structured()); err != nil {
				t.Errorf("%s: %v\n%s", kind, err, events[i].Structured())
			}
		}
	}
	if got := r.Check(ask(user)); got.Decision != schemas.Allow || got.Reason != schemas.ReasonNoStop {
		t.Errorf("HELP or a review changed the state: %+v", got)
	}
}

func orders(t *testing.T, s Servers) {
	r := Begin(t, s)
	const user = "+14155558101"
	var receipt schemas.ConsentReceipt
	order := schemas.ConsentOrder{User: user, Act: schemas.ActStop, Agent: agent, Brand: brand, Evidence: "asked by phone"}
	if code := r.Call(http.MethodPost, "/v1/consent", order, &receipt); code != http.StatusOK || !receipt.Applied {
		t.Fatalf("order: %d %+v", code, receipt)
	}
	if got := r.Check(ask(user)); got.Decision != schemas.Deny {
		t.Errorf("an applied order was not heeded by the next check: %+v", got)
	}
	r.Until("the change", func() bool {
		events, _ := r.Published(schemas.ConsentChanged, r.Person(user))
		return len(events) == 1
	})
	if due, _ := r.Published(schemas.ConsentConfirmationDue, r.Person(user)); len(due) != 0 {
		t.Errorf("an operator's act asks the person for no confirmation: %d", len(due))
	}
	for name, bad := range map[string]schemas.ConsentOrder{
		"start without evidence": {User: user, Act: schemas.ActStart, Agent: agent},
		"masked user":            {User: "+9199XXXX", Act: schemas.ActStop},
		"no act":                 {User: user},
	} {
		if code := r.Call(http.MethodPost, "/v1/consent", bad, nil); code != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, code)
		}
	}
	r.Do(Event{User: user, Agent: agent, Brand: brand, Text: "START"})
	r.Decided(ask(user), schemas.Allow)
	var history schemas.ConsentHistory
	if code := r.Call(http.MethodGet, Path(user, "history"), nil, &history); code != http.StatusOK || len(history.Facts) != 2 ||
		history.Facts[0].Cause.By != "operator" || history.Facts[0].Cause.Note != "asked by phone" || history.Facts[1].Cause.Rule != "R1" {
		t.Errorf("history: %d %+v", code, history)
	}
	for _, reg := range r.registers(user) {
		if reg.Scope == (schemas.ConsentScope{Brand: brand, Agent: agent}) && (reg.State != schemas.StateOptedIn || reg.Stop == nil || reg.Start == nil) {
			t.Errorf("register: %+v", reg)
		}
	}
	var lines string
	if code := r.Call(http.MethodGet, "/v1/consent/export", nil, &lines); code != http.StatusOK || strings.Count(lines, user) != 2 || !strings.HasSuffix(lines, "\n{}\n") {
		t.Errorf("export: %d\n%s", code, lines)
	}
}

// Latency stops n people at rate a second, and gives how long each STOP took from Kafka's
// acknowledgement on heed.inbound to the first deny, shortest first.
func (r *Road) Latency(n, rate int) []time.Duration {
	r.t.Helper()
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := range took {
		<-tick.C
		wg.Go(func() {
			user := fmt.Sprintf("+1415%07d", 7000000+r.number.Add(1))
			r.Do(Event{User: user, Agent: agent, Text: "STOP"})
			began := time.Now()
			pause := time.NewTicker(3 * time.Millisecond) // two hundred busy askers would measure themselves
			defer pause.Stop()
			for r.Check(ask(user)).Decision != schemas.Deny && time.Since(began) < 20*time.Second {
				<-pause.C
			}
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took
}

// stopped stops n people and gives their checks.
func (r *Road) stopped(n int, series string) []schemas.Check {
	r.t.Helper()
	checks := make([]schemas.Check, n)
	events := make([]Event, n)
	for i := range checks {
		user := fmt.Sprintf("+1415%s%04d", series, i)
		checks[i] = ask(user)
		events[i] = Event{User: user, Agent: agent, Brand: brand, Text: "STOP"}
	}
	r.Do(events...)
	r.Until("everybody stopped", func() bool {
		for _, got := range r.Checks(checks...).Results {
			if got.Reason != schemas.ReasonOptedOut {
				return false
			}
		}
		return true
	})
	return checks
}

// Watch asks without pause about people who have stopped; the end tells how many allows there
// were.
func (r *Road) Watch(checks []schemas.Check) (end func() (asked, allows int)) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	asked, allows := 0, 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, got := range r.Checks(checks...).Results {
				asked++
				if got.Decision == schemas.Allow {
					allows++
				}
			}
		}
	})
	return func() (int, int) { close(stop); wg.Wait(); return asked, allows }
}

// heals checks that whatever is done to the view, nobody who stopped is allowed, everything is
// as before afterwards, and nothing is published again.
func (r *Road) heals(what string, checks []schemas.Check, do func()) {
	r.t.Helper()
	_, before := r.Published(schemas.ConsentChanged, "")
	end := r.Watch(checks)
	do()
	began := time.Now()
	r.Until("the view being whole again", func() bool {
		for _, got := range r.Checks(checks...).Results {
			if got.Reason != schemas.ReasonOptedOut {
				return false
			}
		}
		return true
	})
	took := time.Since(began)
	r.Whole()
	asked, allows := end()
	r.t.Logf("%s: %d checks of stopped people, %d allows, whole after %s", what, asked, allows, took.Round(time.Millisecond))
	if allows > 0 {
		r.t.Errorf("%s: %d allows of people who have stopped", what, allows)
	}
	// A new act is published after all that could have been published again.
	mark := fmt.Sprintf("+1415999%04d", r.number.Add(1))
	r.Do(Event{User: mark, Agent: agent, Text: "STOP"})
	r.Until("the change of an act after it", func() bool {
		events, _ := r.Published(schemas.ConsentChanged, r.Person(mark))
		return len(events) > 0
	})
	after, ids := r.Published(schemas.ConsentChanged, "")
	if len(ids) != len(before)+1 {
		r.t.Errorf("%s: %d changes before, %d different ones after, want one more", what, len(before), len(ids))
	}
	if repeats := len(after) - len(ids); repeats > 0 {
		r.t.Logf("%s: %d changes stand twice, with the same ids", what, repeats)
	}
}

func flush(t *testing.T, s Servers) {
	r := Begin(t, s)
	checks := r.stopped(100, "600")
	r.settlePublished(100)
	for i := range 3 {
		r.heals(fmt.Sprintf("FLUSHALL %d", i+1), checks, r.Flush)
	}
}

// settlePublished waits until the changes stand on heed.consent.
func (r *Road) settlePublished(n int) {
	r.t.Helper()
	r.Until("the changes being published", func() bool {
		_, ids := r.Published(schemas.ConsentChanged, "")
		return len(ids) >= n
	})
}

func second(t *testing.T, s Servers) {
	r := Begin(t, s)
	checks := r.stopped(100, "610")
	r.settlePublished(100)
	first := r.stages[0]
	r.heals("a second replica joins", checks, func() {
		running := r.Another()
		r.Until("the second replica owning partitions", func() bool {
			status, _ := servicetest.Page(r.ctx, t, running, "/readyz")
			return status == http.StatusOK
		})
	})
	r.heals("the first leaves", checks, func() {
		first.Stop()
		<-first.Done()
	})
}

func restart(t *testing.T, s Servers) {
	r := Begin(t, s)
	checks := r.stopped(100, "620")
	r.settlePublished(100)
	r.heals("Redis restarted empty", checks, func() { s.RestartEmpty(t) })
}

func snapshot(t *testing.T, s Servers) {
	r := Begin(t, s)
	r.stopped(50, "630")
	restore := s.Snapshot(t)
	checks := r.stopped(100, "631")
	r.settlePublished(150)
	r.heals("an old snapshot restored", checks, func() { restore(t) })
}
