// Package fault kills the four programs, one after the other, under load on real Kafka and Redis,
// and keeps a ledger: what was answered 200 reaches the subscriber, and who said STOP is never
// allowed again. HEED_FAULT_FOR (default 30s) is how long the load lasts.
package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/road"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

const (
	perSecond = 200
	people    = 50
	agent     = "mmx_traffic"
)

const endpoints = "endpoints:\n  - {id: open, provider: kaleyra, channel: rcs, default_country: IN, verify: [{scheme: none}]}\n"

const subscriptions = `subscriptions:
  - {id: all, sink: "$SINK", types: [io.heed.message.received.v1], config: {mode: binary, start: earliest, in_flight: 64}}
`

// loadFor is how long the load lasts.
func loadFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("HEED_FAULT_FOR")
	if text == "" {
		return 30 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("HEED_FAULT_FOR: %v", err)
	}
	return d
}

// ledger is what the provider knows: which messages were answered 200, and what else came.
type ledger struct {
	mu       sync.Mutex
	accepted map[string]bool
	refused  map[int]int // by status; 0: no answer
	slowest  time.Duration
}

// load is a provider that pushes perSecond callbacks a second, each once, open loop: a slow answer
// doesn't slow the next. It returns when every callback has its answer.
func load(ctx context.Context, r *road.Road, until time.Duration) *ledger {
	l := &ledger{accepted: map[string]bool{}, refused: map[int]int{}}
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	over := time.After(until)
	var answers sync.WaitGroup
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-over:
			answers.Wait()
			return l
		}
		answers.Go(func() {
			id := fmt.Sprintf("m-%d", n)
			began := time.Now()
			status, _, err := r.Post(ctx, "open", message(person(n%people), id, "hello"))
			l.mu.Lock()
			defer l.mu.Unlock()
			l.slowest = max(l.slowest, time.Since(began))
			if err != nil {
				status = 0
			}
			if status == http.StatusOK {
				l.accepted[id] = true
			} else {
				l.refused[status]++
			}
		})
	}
}

// person is somebody's number of a range that nobody has.
func person(n int) string { return fmt.Sprintf("9199999%05d", n) }

func message(from, id, text string) schemas.Capture {
	return schemas.Capture{
		Method: http.MethodPost, Target: "/",
		Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}},
		Body: fmt.Appendf(nil, `{"type":"USER_MESSAGE","eventId":"e-%s","from":%q,"to":%q,"sentAt":%q,"messageId":%q,"userMessage":{"type":"TEXT","text":%q}}`,
			id, from, agent, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), id, text),
	}
}

// TestEveryStageIsKilled: kill -9 of each stage in turn, started again at once, while callbacks
// come. Nothing that was accepted is missing at the subscriber; people who had stopped are never
// allowed meanwhile.
func TestEveryStageIsKilled(t *testing.T) {
	r := road.Processes(t, road.Options{Endpoints: endpoints, Subscriptions: subscriptions, Partitions: 6})
	stopped := stopPeople(t, r, 10)

	lasts := loadFor(t)
	done := make(chan *ledger, 1)
	go func() { done <- load(t.Context(), r, lasts) }()
	checks, endChecks := watch(t, r, stopped)

	turn := time.NewTicker(lasts / 5)
	defer turn.Stop()
	for _, name := range []string{"ingest", "normalizer", "consent", "dispatcher"} {
		<-turn.C
		r.Stages[name].Kill()
		r.Stages[name].Start()
		t.Logf("killed %s", name)
	}
	l := <-done
	delivered, twice, err := arrived(t.Context(), r, l)
	endChecks()
	t.Logf("accepted %d, refused or unanswered %v, slowest answer %s; delivered %d, missing %d, duplicates %d; checks of stopped people %d, allowed %d, by reason %v",
		len(l.accepted), l.refused, l.slowest.Round(time.Millisecond), delivered, len(l.accepted)-delivered, twice, checks.asked, checks.allowed, checks.reasons)
	if err != nil {
		t.Errorf("missing: %v", err)
	}
	if checks.allowed > 0 {
		t.Errorf("%d checks allowed a message to somebody who had stopped", checks.allowed)
	}
	if len(l.accepted) < int(lasts.Seconds())*perSecond/2 {
		t.Errorf("only %d callbacks were accepted", len(l.accepted))
	}
}

// stopPeople lets people say STOP and waits until each is denied for it.
func stopPeople(t *testing.T, r *road.Road, n int) []string {
	t.Helper()
	var stopped []string
	for i := range n {
		who := person(90_000 + i)
		if status, body, err := r.Post(t.Context(), "open", message(who, fmt.Sprintf("stop-%d", i), "STOP")); err != nil || status != http.StatusOK {
			t.Fatalf("STOP answered %d %s: %v", status, body, err)
		}
		stopped = append(stopped, who)
	}
	for _, who := range stopped {
		if err := road.Until(t.Context(), func() (bool, string) {
			result, err := r.Check(t.Context(), question(who))
			if err != nil {
				return false, err.Error()
			}
			return result.Reason == schemas.ReasonOptedOut, string(result.Decision) + " " + string(result.Reason)
		}); err != nil {
			t.Fatal(err)
		}
	}
	return stopped
}

func question(who string) schemas.Check {
	return schemas.Check{ID: "a", User: schemas.Address("+" + who), Channel: schemas.RCS, Agent: agent, Category: "marketing"}
}

// asked is what came of the checks.
type asked struct {
	asked, allowed int
	reasons        map[string]int // "no answer" where there was none
}

// watch asks about the stopped people, perSecond times a second, until end is called.
func watch(t *testing.T, r *road.Road, stopped []string) (found *asked, end func()) {
	t.Helper()
	found = &asked{reasons: map[string]int{}}
	var mu sync.Mutex
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second / perSecond)
		defer tick.Stop()
		var answers sync.WaitGroup
		defer answers.Wait()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			answers.Go(func() {
				result, err := r.Check(t.Context(), question(stopped[n%len(stopped)]))
				mu.Lock()
				defer mu.Unlock()
				found.asked++
				switch {
				case err != nil:
					found.reasons["no answer"]++
				default:
					found.reasons[string(result.Reason)]++
					if result.Decision != schemas.Deny {
						found.allowed++
					}
				}
			})
		}
	}()
	return found, sync.OnceFunc(func() { close(stop); <-ended })
}

// arrived waits until every accepted message has been delivered, and counts them and their
// duplicates.
func arrived(ctx context.Context, r *road.Road, l *ledger) (delivered, twice int, err error) {
	seen, looked := map[string]int{}, 0
	err = road.Until(ctx, func() (bool, string) {
		all := r.Sink.All()
		for i := range all[looked:] {
			if id, ok := all[looked+i].Value("message_id"); ok {
				seen[id]++
			}
		}
		looked = len(all)
		gone := missing(l, seen)
		return len(gone) == 0, fmt.Sprint(gone)
	})
	for id := range l.accepted {
		if seen[id] > 0 {
			delivered++
			twice += seen[id] - 1
		}
	}
	return delivered, twice, err
}

// missing lists the accepted messages that are not among the deliveries.
func missing(l *ledger, seen map[string]int) []string {
	var ids []string
	for id := range l.accepted {
		if seen[id] == 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), 20)]
}
