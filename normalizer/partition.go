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
	memory     adapter.Memory
	arrivals   []arrival // the events of the callback
	rooms      [][]byte  // memory for messages

	mu      sync.Mutex
	pending []*entry // what was read and is not yet done, oldest first
	spare   []*entry // done, to be used again: every callback takes one
	freed   [][]byte // memory of acknowledged messages, for rooms
	window  *window
	ready   []*mark       // marks with everything before them acknowledged, at most one a replica
	marks   int           // marks that are not done, wherever they are
	wake    chan struct{} // capacity 1: marks are ready
	empty   chan struct{} // capacity 1: nothing is left to be acknowledged
}

// record is what a partition keeps of a raw record until everything of it is acknowledged.
type record struct {
	offset   int64
	read     time.Time
	received time.Time
	provider string
	mark     *mark      // set on a time mark: nothing of it is open
	span     trace.Span // nil when the callback is not sampled
}

// entry is a raw record on its way.
type entry struct {
	record
	open int // appends not yet acknowledged

	seen  []seenKey // of its events, for the window once all are acknowledged
	rooms [][]byte  // memory of its events' messages
	// Most callbacks have one event: its two stand here, where the cache has them already.
	seen1  [1]seenKey
	rooms1 [1][]byte

	acked func(stream.Position, error) // what the writer calls for each of its events
}

// Bounds of what is kept for use again: entries, of which more are on their way only while Kafka is
// slow, with places for so many events, and memory of messages, 1 to 4 KiB each.
const (
	spareEntries = 4096
	spareEvents  = 16
	keptRooms    = 1024
	keptRoom     = 4 << 10
)

// arrival is an event that a callback gave.
type arrival struct {
	key       seenKey
	duplicate bool // the window knows it
}

// take puts a record in line of which the events, but those that the window knows, and as many
// dead letters are to be appended; a replayed record's events are wanted again. nil: there is
// nothing to append, and the record is done.
func (p *partition) take(rec record, events []arrival, letters int, replayed bool) *entry {
	p.mu.Lock()
	var e *entry
	if last := len(p.spare) - 1; last >= 0 {
		e, p.spare = p.spare[last], p.spare[:last]
	} else {
		e = new(entry)
		e.seen, e.rooms = e.seen1[:], e.rooms1[:]
		e.acked = func(_ stream.Position, err error) {
			if err != nil {
				p.fail(fmt.Errorf("appending an event: %w", err))
				return
			}
			p.acknowledged(e)
		}
	}
	e.record, e.open, e.seen, e.rooms = rec, letters, e.seen[:0], e.rooms[:0]
	for i := range events {
		event := &events[i]
		if event.duplicate = !replayed && p.window.has(event.key); !event.duplicate {
			e.open++
			e.seen = append(e.seen, event.key)
		}
	}
	if len(p.rooms) == 0 {
		p.rooms, p.freed = p.freed, p.rooms
	}
	p.pending = append(p.pending, e)
	if e.open > 0 {
		p.mu.Unlock()
		return e
	}
	p.done(e)
	p.mu.Unlock()
	p.ended(rec)
	return nil
}

// room is memory for a message, nil when there is none.
func (p *partition) room() []byte {
	last := len(p.rooms) - 1
	if last < 0 {
		return nil
	}
	room := p.rooms[last]
	p.rooms = p.rooms[:last]
	return room
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
	at := record{offset: rec.Offset, read: now, received: rec.Time, provider: unknownProvider}
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
		at.received, at.provider = raw.ReceivedAt, raw.Origin.Provider
		at.span, traceHeader = p.n.span(ctx, rec, env, at.provider)
		env.Recorded, env.Pseudonyms = now, p.n.pseudonyms
		raw.Memory = &p.memory
		var res adapter.Result
		outs, failures, res = p.understand(a, raw, env)
		ignored = res.Ignored
	}

	p.arrivals = p.arrivals[:0]
	for i := range outs {
		p.arrivals = append(p.arrivals, arrival{key: p.window.key(&outs[i].Event)})
	}
	letters := deadLetters(rec, failures, p.n.version, now)
	e := p.take(at, p.arrivals, len(letters), rec.Header(schemas.HeaderReplayedFrom) != nil)
	for i := range outs {
		if p.arrivals[i].duplicate {
			tally.event(at.provider, outs[i].Kind, duplicate)
			continue
		}
		tally.event(at.provider, outs[i].Kind, produced)
		if err := p.enqueue(ctx, e, &outs[i], now, traceHeader); err != nil {
			return err
		}
	}
	for i := range letters {
		tally.dead(at.provider, letters[i].class, rec.Offset)
		if err := p.enqueueDead(ctx, letters[i], e); err != nil {
			return err
		}
	}
	tally.callback(at.provider, outcome(outs, failures, ignored))
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

// enqueue enqueues one event of e.
func (p *partition) enqueue(ctx context.Context, e *entry, out *translate.Out, now time.Time, traceHeader string) error {
	var more []stream.Header
	if traceHeader != "" {
		more = []stream.Header{{Key: headerTraceparent, Value: []byte(traceHeader)}}
	}
	m := p.messages.Of(p.room(), &out.Event, out.Topic, out.Key, more...)
	m.Time = now // spares the writer a look at the clock
	e.rooms = append(e.rooms, m.Memory())
	return p.enqueueWaiting(ctx, m, e.acked)
}

// enqueueDead enqueues a dead letter. One that is too large for its topic, which the broker may
// find only later, is shortened to its class and place: the callback matters more than our words
// about it.
func (p *partition) enqueueDead(ctx context.Context, letter deadLetter, e *entry) error {
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
	rec := e.record
	p.done(e)
	p.mu.Unlock()
	p.ended(rec)
}

// done remembers the events of e, which stand now; from here on e may be another callback's.
// Callers hold p.mu.
func (p *partition) done(e *entry) {
	for _, key := range e.seen {
		p.window.add(key)
	}
	for _, room := range e.rooms {
		if len(p.freed) < keptRooms && cap(room) <= keptRoom {
			p.freed = append(p.freed, room)
		}
	}
	if clear(e.rooms); cap(e.rooms) > spareEvents {
		e.seen, e.rooms = e.seen1[:0], e.rooms1[:0]
	}
	p.in.Done(e.offset)
	p.advance()
}

// ended tells of a record that is done.
func (p *partition) ended(rec record) {
	p.n.metrics.acknowledged(rec.provider, p.n.now().Sub(rec.received))
	if rec.span != nil {
		rec.span.End()
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
