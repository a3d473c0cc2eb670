package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// partition is a partition of a family topic while this process owns it. It fetches each record
// once and shows it to all lanes at the head.
type partition struct {
	topic  string
	number int32
	name   string // for chains
	ctx    context.Context
	d      *dispatcher
	turns  chan struct{}
	open   func(offset int64) cursor

	setup sync.Mutex // held while lanes are loaded: one change of the roster after the other
	gone  bool       // not ours any more; setup is held

	mu     sync.Mutex
	pos    int64 // the next record to be shown
	roster *roster
	lanes  []*lane // by the roster's places; nil where the subscription can't want this topic
}

// plumbing says whether a record is none that subscribers are shown: time marks and the like.
func plumbing(r *stream.Record) bool {
	switch k, ours := schemas.KindOf(stream.EventType(r)); {
	case !ours:
		return false
	default:
		return k == schemas.TimeMark || k == schemas.ConsentFact || k == schemas.CallbackReceived || k == schemas.DeliveryAttempted
	}
}

// own is the worker of a family topic's partition.
func (d *dispatcher) own(drain context.Context, part *stream.Assigned) error {
	ctx, cancel := context.WithCancel(drain)
	defer cancel()
	p := &partition{
		topic: part.Topic, number: part.Partition, name: fmt.Sprintf("%s/%d", part.Topic, part.Partition), ctx: ctx, d: d, turns: d.turns,
		open: func(offset int64) cursor { return d.client.OpenCursor(part.Topic, part.Partition, offset) },
	}
	serving := contextOf(ctx, part.Revoked())
	p.setup.Lock()
	err := p.begin(serving, d.register(p))
	p.gone = err != nil
	p.setup.Unlock()
	defer d.unregister(p)
	if err != nil {
		if serving.Err() != nil {
			return nil
		}
		return fmt.Errorf("%s: %w", p.name, err)
	}
	part.StartAt(p.pos)
	for {
		batch, err := part.Next(ctx)
		if err != nil {
			break // taken away, or the drain's time is over
		}
		if p.buryUndecodable(serving, batch.Records) {
			p.show(batch.Records)
			part.DoneUntil(p.pos)
		}
		batch.Release()
	}
	p.close(drain)
	return nil
}

// contextOf ends with ctx or when done is closed.
func contextOf(ctx context.Context, done <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-done:
		case <-ctx.Done():
		}
	}()
	return ctx
}

// nearby is how many records apart lanes may be for one shared tail to serve them: looking at
// this many again costs milliseconds, a cursor of its own costs a fetch.
const nearby = 16384

// begin loads the lanes and finds where the shared tail starts: at the place of the last lane
// that is not far behind the first.
func (p *partition) begin(ctx context.Context, r *roster) error {
	lanes, bounds, err := p.load(ctx, r, r.subs)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.roster, p.lanes = r, lanes
	first := int64(-1)
	for _, l := range lanes {
		if l != nil && l.progress.openCount() == 0 {
			first = max(first, l.read)
		}
	}
	p.pos = bounds.End
	if first >= 0 {
		p.pos = first
		for _, l := range lanes {
			if l != nil && l.progress.openCount() == 0 && l.read >= first-nearby {
				p.pos = min(p.pos, l.read)
			}
		}
	}
	for _, l := range lanes {
		if l != nil {
			p.place(l)
		}
	}
	return nil
}

// place puts a lane at the head, or lets it catch up; p.mu is held.
func (p *partition) place(l *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hasMoved() // where it begins is committed soon, or it would begin elsewhere after a crash
	if l.progress.openCount() == 0 && l.read >= p.pos {
		l.atHead = true
		return
	}
	if l.s.await(l) {
		l.startReading()
	}
}

// load makes the lanes of subs, in the roster's places.
func (p *partition) load(ctx context.Context, r *roster, subs []*subscriber) ([]*lane, stream.Bounds, error) {
	lanes := make([]*lane, len(r.subs))
	here := stream.TopicPartition{Topic: p.topic, Partition: p.number}
	var concerned []*subscriber
	for _, s := range subs {
		if s.concerns(p.topic) {
			concerned = append(concerned, s)
		}
	}
	var bounds stream.Bounds
	err := p.d.insist(ctx, "reading the lanes' offsets", func(ctx context.Context) error {
		all, err := p.d.client.OffsetBounds(ctx, p.topic)
		if err != nil {
			return err
		}
		bounds = all[p.number]
		from, err := p.d.book.load(ctx, concerned, here, bounds)
		if err != nil {
			return err
		}
		for _, s := range concerned {
			l := newLane(s, p, from[s.sub.ID])
			if l.read > bounds.End { // the topic was made anew: better twice than not at all
				p.d.host.Log.Warn("a lane stood after the end of its partition and begins again at the first record", "subscription", s.sub.ID, "topic", p.topic, "partition", p.number)
				l.progress = progress{next: bounds.First, started: l.progress.started}
				l.read = bounds.First
			}
			lanes[slices.Index(r.subs, s)] = l
		}
		return nil
	})
	return lanes, bounds, err
}

// show shows records to all lanes at the head.
func (p *partition) show(records []stream.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []int
	for i := range records {
		r := &records[i]
		if r.Offset < p.pos {
			continue
		}
		if !plumbing(r) {
			found = p.roster.index.candidates(r, found[:0])
			if len(found) > 0 {
				p.offer(r, found)
			}
		}
		p.pos = r.Offset + 1
	}
}

func (p *partition) offer(r *stream.Record, found []int) {
	v := &view{record: r}
	var it *item
	loaded := false
	load := func() *item {
		if !loaded {
			it, _ = newItem(r)
			loaded = true
		}
		return it
	}
	for _, i := range found {
		if l := p.lanes[i]; l != nil {
			l.offer(r, v, load)
		}
	}
}

// buryUndecodable writes records that are no CloudEvents to the dead-letter topic, before any
// lane passes them. It says false when the partition went away meanwhile.
func (p *partition) buryUndecodable(ctx context.Context, records []stream.Record) bool {
	for i := range records {
		r := &records[i]
		why := isEvent(r)
		if why == nil {
			continue
		}
		if err := p.d.buryRecord(ctx, r, why); err != nil {
			return false
		}
	}
	return true
}

// isEvent says why a record is no CloudEvent in binary mode, or nil; it copies nothing.
func isEvent(r *stream.Record) error {
	if len(r.Header("ce_id")) > 0 && len(r.Header("ce_source")) > 0 && len(r.Header("ce_type")) > 0 && string(r.Header("ce_specversion")) == "1.0" {
		if at := r.Header("ce_time"); at == nil {
			return nil
		} else if _, err := time.Parse(time.RFC3339Nano, string(at)); err == nil {
			return nil
		}
	}
	_, err := stream.ParseEvent(r)
	return err
}

// rejoin puts a lane that has caught up back to the shared tail.
func (p *partition) rejoin(l *lane) reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return readEnd
	case l.rewound:
		return readAgain
	case l.read < p.pos || l.read < l.progress.next:
		return readNext
	}
	l.atHead, l.reading, l.readTime = true, false, time.Time{}
	return readEnd
}

// reconcile brings the partition to a new roster: lanes of subscriptions that stayed the same
// stay, those that changed or are gone end in order, new ones begin where they should.
func (p *partition) reconcile(r *roster) {
	p.setup.Lock()
	defer p.setup.Unlock()
	p.mu.Lock()
	if p.gone || p.roster == r {
		p.mu.Unlock()
		return
	}
	lanes := make([]*lane, len(r.subs))
	var ended []*lane
	var fresh []*subscriber
	for _, l := range p.lanes {
		if l == nil {
			continue
		}
		if i := slices.Index(r.subs, l.s); i >= 0 {
			lanes[i] = l
		} else {
			ended = append(ended, l)
		}
	}
	for i, s := range r.subs {
		if lanes[i] == nil {
			fresh = append(fresh, s)
		}
	}
	p.roster, p.lanes = r, lanes
	p.mu.Unlock()

	p.end(p.ctx, ended)
	more, _, err := p.load(p.ctx, r, fresh)
	if err != nil {
		return // the partition went away
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, l := range more {
		if l != nil {
			p.lanes[i] = l
			p.place(l)
		}
	}
}

// end ends lanes: what is in flight may finish until ctx ends, then their progress is committed.
func (p *partition) end(ctx context.Context, lanes []*lane) {
	for _, l := range lanes {
		l.close()
		l.s.forget(l)
	}
	for _, l := range lanes {
		select {
		case <-l.quiet:
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	p.d.book.save(ctx, lanes, true)
}

// close ends the partition's lanes within the drain's time.
func (p *partition) close(drain context.Context) {
	p.setup.Lock()
	defer p.setup.Unlock()
	p.gone = true
	p.mu.Lock()
	lanes := slices.DeleteFunc(p.lanes, func(l *lane) bool { return l == nil })
	p.lanes = make([]*lane, len(p.roster.subs))
	p.mu.Unlock()
	p.end(drain, lanes)
}

// live lists the partition's lanes.
func (p *partition) live() []*lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lanes []*lane
	for _, l := range p.lanes {
		if l != nil {
			lanes = append(lanes, l)
		}
	}
	return lanes
}
