package normalizer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// partition is one raw partition for as long as this process owns it. One goroutine reads,
// translates and enqueues, so events keep the order of their callbacks; acknowledgements come on
// the writer's goroutine, in any order over several target partitions.
type partition struct {
	n      *normalizer
	topic  string
	number int32
	in     source
	out    writer
	fail   context.CancelCauseFunc // ends the worker, with the append that failed

	// What the records of a partition have in common; of the reading goroutine.
	reader     translate.Reader
	translator translate.Translator
	messages   stream.Messages

	mu      sync.Mutex
	pending []*entry // what was read and is not yet done, oldest first
	spare   []*entry // done, to be used again: every callback takes one
	window  *window
	ready   []*mark       // marks with everything before them acknowledged, at most one a replica
	marks   int           // marks that are not done, wherever they are
	wake    chan struct{} // capacity 1: marks are ready
	empty   chan struct{} // capacity 1: nothing is left to be acknowledged
}

// entry is a raw record on its way.
type entry struct {
	offset   int64
	open     int // appends not yet acknowledged, and one while they are being enqueued
	read     time.Time
	received time.Time
	provider string
	mark     *mark      // set on a time mark: nothing of it is open
	span     trace.Span // nil when the callback is not sampled
	seen     []seenKey  // of its events, for the window once all are acknowledged

	acked func(stream.Position, error) // what the writer calls for each of its events
}

// spareEntries bounds what is kept for use again; more are on their way only while Kafka is slow.
const spareEntries = 4096

// take puts a record in line.
func (p *partition) take(offset int64, read, received time.Time) *entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var e *entry
	if last := len(p.spare) - 1; last >= 0 {
		e, p.spare = p.spare[last], p.spare[:last]
	} else {
		e = new(entry)
		e.acked = func(_ stream.Position, err error) {
			if err != nil {
				p.fail(fmt.Errorf("appending an event: %w", err))
				return
			}
			p.acknowledged(e)
		}
	}
	*e = entry{offset: offset, open: 1, read: read, received: received, provider: unknownProvider, seen: e.seen[:0], acked: e.acked}
	p.pending = append(p.pending, e)
	return e
}

func newPartition(n *normalizer, topic string, number int32, in source, fail context.CancelCauseFunc) *partition {
	out := n.fast
	if topic == schemas.TopicCallbacksBulk {
		out = n.bulk
	}
	return &partition{
		n: n, topic: topic, number: number, in: in, out: out, fail: fail,
		window: newWindow(n.windowSize),
		wake:   make(chan struct{}, 1),
		empty:  make(chan struct{}, 1),
	}
}

// batch translates and enqueues the records of one fetch.
func (p *partition) batch(ctx context.Context, records []stream.Record) error {
	tally := newTally()
	defer p.report(tally)
	now := p.n.now()
	for i := range records {
		rec := &records[i]
		if isMark(rec) {
			p.mark(rec, now)
			continue
		}
		if err := p.callback(ctx, rec, now, tally); err != nil {
			return err
		}
	}
	return nil
}

// callback translates one raw record and enqueues everything that it gives.
func (p *partition) callback(ctx context.Context, rec *stream.Record, now time.Time, tally *tally) error {
	e := p.take(rec.Offset, now, rec.Time)
	var outs []translate.Out
	ignored := ""
	raw, env, err := p.reader.Read(rec)
	var failures []adapter.Failure
	traceHeader := ""
	switch a := p.n.adapters[raw.Origin.Provider]; {
	case err != nil:
		failures = []adapter.Failure{asFailure(err)}
	case a == nil:
		failures = []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.UnknownProvider, Message: fmt.Sprintf("no adapter is called %.64q", raw.Origin.Provider)}}
	default:
		e.received, e.provider = raw.ReceivedAt, raw.Origin.Provider
		e.span, traceHeader = p.n.span(ctx, rec, env, e.provider)
		env.Recorded, env.Pseudonyms = now, p.n.pseudonyms
		var res adapter.Result
		outs, failures, res = p.understand(a, raw, env)
		ignored = res.Ignored
	}

	replayed := rec.Header(schemas.HeaderReplayedFrom) != nil
	for i := range outs {
		if err := p.event(ctx, e, &outs[i], replayed, traceHeader, tally); err != nil {
			return err
		}
	}
	letters := deadLetters(rec, failures, p.n.version, now)
	for i := range letters {
		tally.dead(e.provider, letters[i].class, rec.Offset)
		if err := p.enqueueDead(ctx, letters[i], e); err != nil {
			return err
		}
	}
	tally.callback(e.provider, outcome(outs, failures, ignored))
	p.acknowledged(e)
	return nil
}

// understand lets the adapter read the callback and translates what it gives. An adapter that
// breaks costs its callback a dead letter, never the stage.
func (p *partition) understand(a adapter.Adapter, raw adapter.Raw, env translate.Envelope) (outs []translate.Out, failures []adapter.Failure, res adapter.Result) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		// Only the runtime's own words are safe to show; a panic's value may quote the callback.
		what := fmt.Sprintf("a %T", v)
		if err, ok := v.(runtime.Error); ok {
			what = err.Error()
		}
		p.n.log.Error("an adapter broke: please report this", "provider", raw.Origin.Provider, "panic", what, "topic", p.topic, "partition", p.number, "stack", string(debug.Stack()))
		outs, res = nil, adapter.Result{}
		failures = []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.Panic, Message: "the adapter broke: " + what}}
	}()
	res = a.Adapt(raw)
	outs, failures = p.translator.Events(raw, res, env)
	return outs, failures, res
}

// event enqueues one event, unless it is known to stand already.
func (p *partition) event(ctx context.Context, e *entry, out *translate.Out, replayed bool, traceHeader string, tally *tally) error {
	if !p.open(e, &out.Event, replayed) {
		tally.event(e.provider, out.Kind, duplicate)
		return nil
	}
	var more []stream.Header
	if traceHeader != "" {
		more = []stream.Header{{Key: headerTraceparent, Value: []byte(traceHeader)}}
	}
	m := p.messages.Of(&out.Event, out.Topic, out.Key, more...)
	m.Time = e.read // spares the writer a look at the clock
	tally.event(e.provider, out.Kind, produced)
	return p.enqueueWaiting(ctx, m, e.acked)
}

// open counts one append more of e, for an event that the window does not know; a replayed one
// is wanted again.
func (p *partition) open(e *entry, event *stream.Event, replayed bool) bool {
	if p.n.windowSize == 0 {
		p.count(e)
		return true
	}
	key := p.window.key(event)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !replayed && p.window.has(key) {
		return false
	}
	e.open++
	e.seen = append(e.seen, key)
	return true
}

// count counts one append more of e.
func (p *partition) count(e *entry) {
	p.mu.Lock()
	e.open++
	p.mu.Unlock()
}

// enqueueDead enqueues a dead letter. One that is too large for its topic, which the broker may
// find only later, is shortened to its class and place: the callback matters more than our words
// about it.
func (p *partition) enqueueDead(ctx context.Context, letter deadLetter, e *entry) error {
	p.count(e)
	shorter := func() error { return p.enqueueWaiting(ctx, letter.short(), e.acked) }
	err := p.enqueueWaiting(ctx, letter.message, func(_ stream.Position, err error) {
		switch {
		case errors.Is(err, stream.ErrTooLarge):
			go func() { // a callback of the writer must not wait for the writer
				if err := shorter(); err != nil {
					p.fail(err)
				}
			}()
		case err != nil:
			p.fail(fmt.Errorf("appending to %s: %w", schemas.TopicCallbacksDead, err))
		default:
			p.acknowledged(e)
		}
	})
	if errors.Is(err, stream.ErrTooLarge) {
		return shorter()
	}
	return err
}

// acknowledged takes one off e's open appends; e is done when none is left, and its events are
// known to stand.
func (p *partition) acknowledged(e *entry) {
	p.mu.Lock()
	if e.open--; e.open > 0 {
		p.mu.Unlock()
		return
	}
	for _, key := range e.seen {
		p.window.add(key)
	}
	p.in.Done(e.offset)
	provider, received, span := e.provider, e.received, e.span
	p.advance() // from here on e may be another callback's
	p.mu.Unlock()

	p.n.metrics.acknowledged(provider, p.n.now().Sub(received))
	if span != nil {
		span.End()
	}
}

// advance takes what is done off the head of pending; a mark that comes to the head has
// everything before it acknowledged. Callers hold p.mu.
func (p *partition) advance() {
	for len(p.pending) > 0 && p.pending[0].open == 0 {
		e := p.pending[0]
		p.pending[0] = nil
		p.pending = p.pending[1:]
		if e.mark != nil {
			p.arrived(e.mark)
		} else if len(p.spare) < spareEntries {
			p.spare = append(p.spare, e)
		}
	}
	p.checkEmpty()
}

// checkEmpty wakes drain when nothing is left. Callers hold p.mu.
func (p *partition) checkEmpty() {
	if len(p.pending) == 0 && p.marks == 0 {
		signal(p.empty)
	}
}

// drain waits until everything that was read is done.
func (p *partition) drain(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := len(p.pending) + p.marks
		p.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-p.empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// waiting is how long the oldest record that is not done has been in hand.
func (p *partition) waiting(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) == 0 {
		return 0
	}
	return now.Sub(p.pending[0].read)
}

// signal wakes the one who waits on c, now or at its next look.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func asFailure(err error) adapter.Failure {
	var f adapter.Failure
	if errors.As(err, &f) {
		return f
	}
	return adapter.Failure{Index: adapter.WholeCallback, Class: adapter.NotRaw, Message: "the record is not a captured request"}
}
