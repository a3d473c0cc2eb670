package dispatcher

import (
	"container/heap"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// ledger is where a subscriber writes what became of events. Each call returns when Kafka has
// acknowledged it; an error means that the event is not done.
type ledger interface {
	park(ctx context.Context, d *delivery, tier schemas.RetryTier) error
	bury(ctx context.Context, d *delivery, class schemas.DeadReason) error
	// attempted reports one ended attempt; it does not wait.
	attempted(d *delivery, a attempt)
	// gone notes that the endpoint wants nothing more; it does not wait.
	gone(subscription string)
}

// attempt is one ended attempt of one delivery.
type attempt struct {
	started  time.Time
	duration time.Duration
	outcome  outcome
	decision decision
	number   int
	probe    bool
}

// subscriber is a subscription at work in this process: what waits to be sent to it, what is
// being sent, and when the next may be. It is woken by what happens to it and by one timer, so a
// thousand idle subscribers cost no goroutine.
type subscriber struct {
	sub      *schemas.Subscription
	topics   []string // that can have events for it
	sel      *selection
	plan     plan
	endpoint *endpoint
	trip     http.RoundTripper
	ledger   ledger
	trace    tracer
	memory   *atomic.Int64 // bytes that all subscribers hold
	limits   limits
	ctx      context.Context // ends when the program must stop at once

	mu        sync.Mutex
	circuit   circuit
	bucket    bucket
	ready     []*delivery // by seq
	later     delayed
	chains    map[string]*chain
	admitted  int // deliveries in memory: ready, later, chained, in flight
	bytes     int64
	inFlight  int // deliveries
	requests  int // that carry them
	seq       uint64
	lastTaken time.Time
	paused    bool
	disabled  string // why; "" is not
	closed    bool
	timer     *time.Timer
	waiting   map[*lane]struct{} // lanes that left the tail and wait for room
}

// limits bound what subscribers hold in memory.
type limits struct {
	memory     int64 // of all subscribers
	subscriber int64 // of one
}

// A subscriber may have three times as many events waiting as it has in flight, so that a burst
// passes without its lanes leaving the shared tail. Held, it keeps a few to probe with.
const (
	waitingPerInFlight = 4 // admitted / in_flight
	probeCandidates    = 8
	alwaysAdmitted     = 64 << 10 // bytes that one may hold however full the memory is
	maxBatchEvents     = 100
	batchRequests      = 2 // batches under way; what comes meanwhile is the next one, without a timer
	maxBatchBytes      = 512 << 10
	maxAnswer          = 64 << 10 // of an answer's body is read, so that the connection can be used again
)

// concerns says whether a topic can have events for the subscription.
func (s *subscriber) concerns(topic string) bool { return slices.Contains(s.topics, topic) }

// topicsOf lists the topics that can have events of these types. A type that is not known may
// come on any: a newer neighbour may write it (design I10).
func topicsOf(types []string) []string {
	var topics []string
	for _, t := range types {
		k, _ := schemas.KindOf(t)
		topic := schemas.TopicOf(k)
		if topic == "" {
			return schemas.DeliveredTopics()
		}
		if !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	if len(types) == 0 {
		return schemas.DeliveredTopics()
	}
	return topics
}

func (s *subscriber) room() int { return s.sub.Config.InFlight * waitingPerInFlight }

// admit takes a delivery into memory, or says that there is no room for it.
func (s *subscriber) admit(d *delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hasRoom(d.item.size()) {
		return false
	}
	s.seq++
	d.seq = s.seq
	s.admitted++
	s.bytes += d.item.size()
	s.memory.Add(d.item.size())
	if d.chain != "" {
		if c := s.chains[d.chain]; c != nil {
			c.behind = append(c.behind, d)
			return true
		}
		s.chains[d.chain] = &chain{head: d}
	}
	s.ready = append(s.ready, d)
	s.pump(time.Now())
	return true
}

func (s *subscriber) hasRoom(size int64) bool {
	switch {
	case s.closed, s.paused, s.disabled != "":
		return false
	case s.circuit.open && s.admitted >= probeCandidates:
		return false
	case s.admitted >= s.room():
		return false
	case s.bytes+size <= alwaysAdmitted || s.admitted == 0:
		return true
	}
	return s.bytes+size <= s.limits.subscriber && s.memory.Load()+size <= s.limits.memory
}

// leave takes a delivery out of the books; s.mu is held.
func (s *subscriber) leave(d *delivery) {
	s.admitted--
	s.bytes -= d.item.size()
	s.memory.Add(-d.item.size())
}

// chain is the deliveries that go one after the other: the head is ready, later or in flight.
type chain struct {
	head   *delivery
	behind []*delivery
}

// unchain lets the next of the delivery's chain go; s.mu is held.
func (s *subscriber) unchain(d *delivery) {
	c := s.chains[d.chain]
	switch {
	case c == nil:
	case len(c.behind) > 0:
		c.head, c.behind = c.behind[0], c.behind[1:]
		s.enready(c.head)
	default:
		delete(s.chains, d.chain)
	}
}

// enready puts a delivery among the ready ones, by age; s.mu is held.
func (s *subscriber) enready(d *delivery) {
	i, _ := slices.BinarySearchFunc(s.ready, d.seq, func(e *delivery, seq uint64) int {
		if e.seq < seq {
			return -1
		}
		return 1
	})
	s.ready = slices.Insert(s.ready, i, d)
}

// pump starts as many attempts as may start now, and sets the timer for the next; s.mu is held.
func (s *subscriber) pump(now time.Time) {
	for {
		batch, probe := s.take(now)
		if batch == nil {
			return
		}
		go s.work(batch, probe)
	}
}

// take picks what is to be sent now, nil when nothing is; s.mu is held.
func (s *subscriber) take(now time.Time) (batch []*delivery, probe bool) {
	if s.closed || s.paused || s.disabled != "" {
		return nil, false
	}
	for len(s.later) > 0 && !s.later[0].due.After(now) {
		s.enready(heap.Pop(&s.later).(*delivery))
	}
	n, again := s.circuit.allows(now, s.inFlight)
	if len(s.later) > 0 && (again.IsZero() || s.later[0].due.Before(again)) {
		again = s.later[0].due
	}
	if n == 0 || len(s.ready) == 0 || s.endpoint.mode == schemas.ModeBatch && s.requests >= batchRequests {
		if len(s.ready)+len(s.later) > 0 {
			s.wake(now, again)
		}
		return nil, false
	}
	if at := s.bucket.take(now); !at.IsZero() {
		s.wake(now, at)
		return nil, false
	}
	// A probe takes turns among the oldest: if the head itself is what the endpoint can't bear,
	// another one will show it.
	i := 0
	if probe = s.circuit.open; probe {
		i = s.circuit.failures % min(len(s.ready), probeCandidates)
		n = 1
	}
	d := s.ready[i]
	s.ready = slices.Delete(s.ready, i, i+1)
	batch = append(batch, d)
	if s.endpoint.mode == schemas.ModeBatch && !d.alone {
		size := d.item.size()
		for len(batch) < min(n, maxBatchEvents) && len(s.ready) > 0 && !s.ready[0].alone && size+s.ready[0].item.size() <= maxBatchBytes {
			size += s.ready[0].item.size()
			batch = append(batch, s.ready[0])
			s.ready = s.ready[1:]
		}
	}
	s.inFlight += len(batch)
	s.requests++
	s.circuit.started()
	if len(s.later) > 0 {
		s.wake(now, s.later[0].due)
	}
	return batch, probe
}

// wake sets the timer; s.mu is held.
func (s *subscriber) wake(now, at time.Time) {
	if at.IsZero() {
		return
	}
	wait := max(at.Sub(now), 0)
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.tick)
		return
	}
	s.timer.Reset(wait)
}

func (s *subscriber) tick() {
	s.mu.Lock()
	s.pump(time.Now())
	s.mu.Unlock()
	s.callLanes()
}

// work makes attempts until there is nothing to send.
func (s *subscriber) work(batch []*delivery, probe bool) {
	for batch != nil {
		ours := batch[:0:0]
		for _, d := range batch {
			if d.from.begin() {
				ours = append(ours, d)
			}
		}
		if len(ours) > 0 {
			started := time.Now()
			o := s.post(ours, started)
			s.settle(ours, attempt{started: started, duration: time.Since(started), outcome: o, probe: probe})
		}
		s.mu.Lock()
		s.requests--
		if probe && len(ours) == 0 {
			s.circuit.probing = false
		}
		if len(ours) < len(batch) { // their partition is not ours any more
			for _, d := range batch {
				if !slices.Contains(ours, d) {
					s.inFlight--
					s.leave(d)
					s.unchain(d)
				}
			}
		}
		batch, probe = s.take(time.Now())
		s.pump(time.Now())
		s.mu.Unlock()
		s.callLanes()
	}
}

// post makes one request and judges what came of it.
func (s *subscriber) post(batch []*delivery, now time.Time) outcome {
	ctx, cancel := context.WithTimeout(s.ctx, time.Duration(s.sub.Config.Timeout))
	defer cancel()
	var one [1]*stream.Event
	events := one[:0]
	for _, d := range batch {
		events = append(events, &d.item.event)
	}
	ctx, traceparent, endSpan := s.trace.start(ctx, s.sub, events[0])
	response, err := s.trip.RoundTrip(s.endpoint.request(ctx, now, traceparent, events...))
	var o outcome
	if err != nil {
		o = judgeError(err)
	} else {
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
		_ = response.Body.Close()
		o = judgeStatus(response.StatusCode, response.Header, time.Now())
	}
	endSpan(o)
	return o
}

// settle draws the consequences of an attempt, and frees its place.
func (s *subscriber) settle(batch []*delivery, a attempt) {
	now := time.Now()
	o := a.outcome
	s.mu.Lock()
	interrupted := o.status == 0 && s.ctx.Err() != nil // we cut it ourselves: it says nothing
	split := o.verdict == refused && len(batch) > 1    // which one is at fault? each goes alone
	decisions := make([]decision, len(batch))
	opened := false
	if !interrupted {
		opened = s.circuit.ended(now, o, a.probe, rand.Float64())
		for i, d := range batch {
			healthy := !d.firstFailed.IsZero() && s.lastTaken.After(d.firstFailed)
			decisions[i] = s.plan.next(o, d.attempts, counts(o, a.probe, d.lastFailed, s.lastTaken), healthy, rand.Float64())
		}
		if o.verdict == taken || o.verdict == refused {
			s.lastTaken = now
		}
		if o.verdict == gone {
			s.disabled = "gone"
		}
	} else {
		for i, d := range batch {
			decisions[i] = decision{step: stepStop, attempts: d.attempts}
		}
	}
	s.mu.Unlock()
	if o.verdict == gone {
		s.ledger.gone(s.sub.ID)
	}

	done := make([]bool, len(batch))
	for i, d := range batch {
		a.decision, a.number = decisions[i], d.attempts+1
		if split {
			d.alone, a.decision = true, decision{step: stepAgain, attempts: d.attempts}
		}
		if !interrupted {
			s.ledger.attempted(d, a)
		}
		done[i] = s.carryOut(d, a, now)
		decisions[i] = a.decision
	}

	s.mu.Lock()
	var shed []*delivery
	for i, d := range batch {
		s.inFlight--
		switch {
		case done[i]:
			s.leave(d)
			s.unchain(d)
		case decisions[i].step == stepAgain && decisions[i].wait > 0:
			d.due = now.Add(decisions[i].wait)
			heap.Push(&s.later, d)
		default:
			s.enready(d)
		}
	}
	if opened || s.circuit.open || s.disabled != "" {
		shed = s.shedding()
	}
	s.mu.Unlock()
	for _, d := range shed {
		d.from.shed(d)
	}
	for _, d := range batch {
		d.from.end()
	}
}

// carryOut does what was decided, and says whether the event is done with.
func (s *subscriber) carryOut(d *delivery, a attempt, now time.Time) bool {
	if a.outcome.verdict != taken {
		d.lastFailed, d.lastReason = now, a.outcome.reason
		if d.firstFailed.IsZero() {
			d.firstFailed = now
		}
	}
	if d.attempts != a.decision.attempts {
		d.attempts = a.decision.attempts
		d.from.count(d.offset, d.attempts)
	}
	var err error
	switch a.decision.step {
	case stepDone:
	case stepPark:
		err = s.ledger.park(s.ctx, d, a.decision.tier)
	case stepDead:
		err = s.ledger.bury(s.ctx, d, a.decision.class)
	default:
		return false
	}
	if err != nil {
		return false // the program is stopping; the record stays open and is read again
	}
	d.from.finish(d.offset)
	return true
}

// set pauses or disables the subscriber, or lets it go on; what is in flight ends either way.
func (s *subscriber) set(paused bool, disabled string) {
	s.mu.Lock()
	if s.paused == paused && s.disabled == disabled {
		s.mu.Unlock()
		return
	}
	s.paused, s.disabled = paused, disabled
	var shed []*delivery
	if paused || disabled != "" {
		shed = s.shedding()
	} else {
		s.circuit = newCircuit(s.sub.Config.InFlight)
		s.pump(time.Now())
	}
	s.mu.Unlock()
	for _, d := range shed {
		d.from.shed(d)
	}
	s.callLanes()
}

// close ends the subscriber: nothing is admitted or sent any more, and what waited goes back to
// where it came from.
func (s *subscriber) close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	clear(s.waiting)
	shed := s.shedding()
	s.mu.Unlock()
	for _, d := range shed {
		d.from.shed(d)
	}
	if t, ok := s.trip.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// state says how the subscriber is, and why.
func (s *subscriber) state() (state, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.disabled != "":
		return "disabled", s.disabled
	case s.paused:
		return "paused", "by_operator"
	case s.circuit.open:
		return "held", s.circuit.reason
	}
	return "live", ""
}
