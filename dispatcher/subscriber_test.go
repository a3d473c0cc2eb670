package dispatcher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// notes is a ledger and an origin that only remember, and an endpoint that answers as told.
type notes struct {
	mu       sync.Mutex
	started  time.Time
	answer   func(id string, n int) (status int, header http.Header, took time.Duration)
	sent     []string                 // "id@seconds"
	times    map[string]int           // attempts by id
	counted  map[int64]int            // by offset
	finished map[int64]bool           //
	shedded  map[int64]bool           //
	parked   map[string]time.Duration // tier by id
	buried   map[string]schemas.DeadReason
	disabled bool
	running  int
	most     int // attempts at once
}

func newNotes(answer func(id string, n int) (int, http.Header, time.Duration)) *notes {
	return &notes{
		started: time.Now(), answer: answer, times: map[string]int{}, counted: map[int64]int{}, finished: map[int64]bool{},
		shedded: map[int64]bool{}, parked: map[string]time.Duration{}, buried: map[string]schemas.DeadReason{},
	}
}

func (n *notes) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	id := r.Header.Get("ce-id")
	status, header, took := n.answer(id, n.times[id])
	n.times[id]++
	n.sent = append(n.sent, fmt.Sprintf("%s@%.1f", id, time.Since(n.started).Seconds()))
	n.running++
	n.most = max(n.most, n.running)
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.running--
		n.mu.Unlock()
	}()
	select {
	case <-time.After(took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(""))}, nil
}

func (n *notes) requests() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.sent)
}

func (n *notes) park(_ context.Context, d *delivery, tier schemas.RetryTier) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.parked[d.item.event.ID] = tier.Delay
	return nil
}

func (n *notes) bury(_ context.Context, d *delivery, class schemas.DeadReason) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buried[d.item.event.ID] = class
	return nil
}

func (n *notes) attempted(*delivery, attempt) {}
func (n *notes) gone(string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.disabled = true
}

func (n *notes) begin() bool { return true }
func (n *notes) end()        {}

func (n *notes) finish(offset int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.finished[offset] = true
}

func (n *notes) count(offset int64, attempts int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counted[offset] = attempts
}

func (n *notes) shed(d *delivery) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shedded[d.offset] = true
}

func (n *notes) subscriber(t *testing.T, config string) *subscriber {
	t.Helper()
	sub := parse(t, "config: {"+config+"}")
	e, err := newEndpoint(sub, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &subscriber{
		sub: sub, endpoint: e, plan: plan{retry: sub.Config.Retry, ordered: sub.Config.Ordering != schemas.OrderNone}, trip: n, ledger: n,
		memory: new(atomic.Int64), limits: limits{memory: 1 << 30, subscriber: 1 << 30}, ctx: t.Context(),
		circuit: newCircuit(sub.Config.InFlight), bucket: bucket{rate: float64(sub.Config.Rate)}, chains: map[string]*chain{}, waiting: map[*lane]struct{}{},
	}
}

func (n *notes) give(s *subscriber, offset int64, chain string) bool {
	e := stream.Event{ID: fmt.Sprint(offset), Source: "heed/x", Type: "t", Data: []byte("{}")}
	return s.admit(&delivery{item: &item{event: e, time: time.Now()}, from: n, subscription: "a", offset: offset, chain: chain})
}

// pass lets time pass, in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func always(status int) func(string, int) (int, http.Header, time.Duration) {
	return func(string, int) (int, http.Header, time.Duration) { return status, nil, 10 * time.Millisecond }
}

func TestSubscriberHoldsAndSlowStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		n := newNotes(func(string, int) (int, http.Header, time.Duration) {
			if up.Load() {
				return 200, nil, 100 * time.Millisecond
			}
			return 503, http.Header{"Retry-After": {"30"}}, 100 * time.Millisecond
		})
		s := n.subscriber(t, "in_flight: 8")
		for o := range int64(32) {
			if !n.give(s, o, "") {
				t.Fatalf("no room for %d", o)
			}
		}
		if n.give(s, 99, "") {
			t.Error("more than four times in_flight was admitted")
		}
		pass(time.Second)
		synctest.Wait()
		if n.requests() != 8 {
			t.Errorf("%d requests before it was held", n.requests())
		}
		if state, reason := s.state(); state != "held" || reason != "status_503" {
			t.Errorf("%s %s", state, reason)
		}
		if len(n.shedded) != 32-probeCandidates || s.admitted != probeCandidates {
			t.Errorf("%d were shed, %d kept", len(n.shedded), s.admitted)
		}
		pass(28 * time.Second)
		synctest.Wait()
		if n.requests() != 8 {
			t.Error("a request came before Retry-After")
		}
		pass(2 * time.Second)
		synctest.Wait()
		if n.requests() != 9 {
			t.Errorf("%d requests where one probe was due", n.requests()-8)
		}
		up.Store(true)
		n.mu.Lock()
		n.most = 0
		n.mu.Unlock()
		pass(29 * time.Second)
		synctest.Wait()
		before := n.requests()
		pass(1050 * time.Millisecond) // the probe takes 100 ms, then one, then two, …
		synctest.Wait()
		if got := n.requests() - before; got < 4 || n.most > 4 {
			t.Errorf("after the probe %d requests, %d at once", got, n.most)
		}
		if len(n.finished) != probeCandidates || len(n.counted) != probeCandidates || n.counted[0] != 1 {
			t.Errorf("%d finished; attempts %v", len(n.finished), n.counted)
		}
	})
}

// An event that makes the endpoint answer 503 is at fault once the endpoint has taken others.
func TestSubscriberFindsPoisonByOthersSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(func(id string, _ int) (int, http.Header, time.Duration) {
			if id == "0" {
				return 503, nil, time.Millisecond
			}
			return 200, nil, time.Millisecond
		})
		s := n.subscriber(t, "in_flight: 4, retry: {tries: 2, tiers: [30s]}")
		for o := range int64(8) {
			n.give(s, o, "")
		}
		for o := int64(8); o < 200; o++ {
			pass(time.Second)
			n.give(s, o, "")
		}
		pass(3 * time.Minute)
		synctest.Wait()
		if n.parked["0"] != 30*time.Second || len(n.parked) != 1 {
			t.Errorf("parked: %v after %d attempts", n.parked, n.times["0"])
		}
		for o := int64(1); o < 200; o++ {
			if !n.finished[o] && !n.shedded[o] {
				t.Errorf("event %d is stuck", o)
			}
			if n.times[fmt.Sprint(o)] > 1 {
				t.Errorf("event %d was sent %d times", o, n.times[fmt.Sprint(o)])
			}
		}
	})
}

// An outage burns no event's budget, however long it is and whatever it looks like.
func TestSubscriberOutageCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		n := newNotes(func(string, int) (int, http.Header, time.Duration) {
			if up.Load() {
				return 200, nil, time.Millisecond
			}
			return 502, nil, time.Millisecond
		})
		s := n.subscriber(t, "in_flight: 4")
		for o := range int64(8) {
			n.give(s, o, "")
		}
		pass(12 * time.Hour)
		synctest.Wait()
		probes := n.requests()
		up.Store(true)
		pass(2 * time.Minute)
		synctest.Wait()
		if len(n.finished) != 8 || len(n.parked)+len(n.buried) != 0 {
			t.Errorf("%d finished, parked %v, buried %v", len(n.finished), n.parked, n.buried)
		}
		if probes > 12*3600/20 {
			t.Errorf("%d probes in 12 h", probes)
		}
	})
}

func TestSubscriberKeepsChains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(func(id string, before int) (int, http.Header, time.Duration) {
			if id == "0" && before < 2 {
				return 500, nil, time.Millisecond
			}
			return 200, nil, time.Millisecond
		})
		s := n.subscriber(t, "ordering: key, in_flight: 8")
		for o := range int64(12) {
			n.give(s, o, fmt.Sprint("chain-", o%3))
		}
		pass(time.Minute)
		synctest.Wait()
		var zero []string
		for _, one := range n.sent {
			id, _, _ := strings.Cut(one, "@")
			if id == "0" || id == "3" || id == "6" || id == "9" {
				zero = append(zero, id)
			}
		}
		if want := []string{"0", "0", "0", "3", "6", "9"}; !slices.Equal(zero, want) {
			t.Errorf("the chain went %v, want %v", zero, want)
		}
		if len(n.finished) != 12 || len(s.chains) != 0 || s.admitted != 0 {
			t.Errorf("%d finished, %d chains left, %d admitted", len(n.finished), len(s.chains), s.admitted)
		}
	})
}

// A held chain loses its end, never its middle, and what is left goes on in order.
func TestSubscriberShedsChainsFromTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		n := newNotes(func(string, int) (int, http.Header, time.Duration) {
			if up.Load() {
				return 200, nil, time.Millisecond
			}
			return 503, nil, time.Millisecond
		})
		s := n.subscriber(t, "ordering: partition, in_flight: 8")
		for o := range int64(30) {
			n.give(s, o, fmt.Sprint("partition-", o%2))
		}
		pass(time.Minute)
		synctest.Wait()
		for o := range int64(30) {
			if n.shedded[o] != (o >= probeCandidates) {
				t.Errorf("event %d shed: %v", o, n.shedded[o])
			}
		}
		up.Store(true)
		pass(2 * time.Minute)
		synctest.Wait()
		if len(n.finished) != probeCandidates || len(s.chains) != 0 || s.admitted != 0 {
			t.Errorf("%d finished, chains %v, %d admitted", len(n.finished), s.chains, s.admitted)
		}
	})
}

func TestSubscriberRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(always(200))
		s := n.subscriber(t, "rate: 5, in_flight: 64")
		for o := range int64(100) {
			n.give(s, o, "")
		}
		pass(9 * time.Second)
		synctest.Wait()
		if got := n.requests(); got < 48 || got > 51 { // five at once, then five a second
			t.Errorf("%d requests in 9 s at 5/s", got)
		}
	})
}

func TestSubscriberTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(func(_ string, before int) (int, http.Header, time.Duration) {
			if before == 0 {
				return 200, nil, time.Hour
			}
			return 200, nil, 0
		})
		s := n.subscriber(t, "timeout: 3s")
		n.give(s, 1, "")
		pass(time.Minute)
		synctest.Wait()
		if n.requests() != 2 || !n.finished[1] || n.counted[1] != 2 {
			t.Errorf("sent %v, attempts %d", n.sent, n.counted[1])
		}
	})
}

func TestSubscriberMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(func(string, int) (int, http.Header, time.Duration) { return 200, nil, time.Minute })
		s := n.subscriber(t, "in_flight: 100, timeout: 60s")
		s.limits = limits{memory: 200 << 10, subscriber: 1 << 20}
		big := func(o int64) bool {
			e := stream.Event{ID: fmt.Sprint(o), Source: "heed/x", Type: "t", Data: make([]byte, 60<<10)}
			return s.admit(&delivery{item: &item{event: e}, from: n, offset: o})
		}
		admitted := 0
		for o := range int64(10) {
			if big(o) {
				admitted++
			}
		}
		if admitted != 3 { // 3 × 61 KiB
			t.Errorf("%d of 61 KiB within 200 KiB", admitted)
		}
		other := n.subscriber(t, "in_flight: 1, timeout: 60s")
		other.memory, other.limits = s.memory, s.limits
		if !n.give(other, 50, "") {
			t.Error("another subscriber got nothing at all")
		}
		pass(2 * time.Minute)
		synctest.Wait()
		if s.memory.Load() != 0 {
			t.Errorf("%d bytes are still counted", s.memory.Load())
		}
	})
}

func TestSubscriberDisabledByGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNotes(always(410))
		s := n.subscriber(t, "in_flight: 1")
		for o := range int64(4) {
			n.give(s, o, "")
		}
		pass(time.Minute)
		synctest.Wait()
		if state, reason := s.state(); state != "disabled" || reason != "gone" || !n.disabled || n.requests() != 1 || len(n.shedded) != 4 || n.give(s, 9, "") {
			t.Errorf("%s %s, sent %v, shed %v", state, reason, n.sent, n.shedded)
		}
	})
}

// The guard is where connections are made: a sink inside is refused whatever its name is.
func TestTransportRefusesInside(t *testing.T) {
	s := newNotes(nil).subscriber(t, "timeout: 5s")
	s.endpoint.url.Scheme, s.endpoint.url.Host = "http", "localhost:1"
	for _, c := range []struct {
		guard  guard
		reason string
	}{
		{guard{}, "address_not_allowed"},
		{guard{allowed: prefixes("127.0.0.0/8", "::1/128")}, "connection_refused"},
	} {
		s.trip = c.guard.transport(1, time.Second)
		o := s.post([]*delivery{{item: &item{event: *sample()}}}, time.Now())
		if o.reason != c.reason || o.verdict != down {
			t.Errorf("%v %s, want %s", o.verdict, o.reason, c.reason)
		}
	}
}
