package normalizer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Time marks. Ingest writes one a second to every raw partition; once everything before it is
// acknowledged, the mark goes to every partition of heed.inbound, so that a reader of any of
// them knows how far the raw partition has come. A mark holds back nobody: callbacks after it
// are translated and written while it waits for those before it.

var markType = []byte(schemas.TimeMark.Type())

// mark is a raw mark on its way.
type mark struct {
	offset  int64
	replica string
	headers []stream.Header
	value   []byte
}

func isMark(rec *stream.Record) bool { return bytes.Equal(rec.Header("ce_type"), markType) }

// mark puts a mark in line. One that cannot be read is passed by: the next comes in a second.
func (p *partition) mark(rec *stream.Record, now time.Time) {
	var body schemas.Mark
	if err := json.Unmarshal(rec.Value, &body); err != nil || body.Replica == "" {
		p.n.metrics.mark(unreadable)
		p.in.Done(rec.Offset)
		return
	}
	m := &mark{offset: rec.Offset, replica: body.Replica, headers: copyHeaders(rec.Headers), value: slices.Clone(rec.Value)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks++
	p.pending = append(p.pending, &entry{record: record{offset: rec.Offset, read: now, mark: m}})
	p.advance()
}

// arrived takes a mark that has everything before it acknowledged. A mark of the same replica
// that still waits to be forwarded is passed by: the newer one says all that it says. Callers
// hold p.mu.
func (p *partition) arrived(m *mark) {
	for i, waiting := range p.ready {
		if waiting.replica == m.replica {
			p.ready = slices.Delete(p.ready, i, i+1)
			p.markDone(waiting.offset)
			p.n.metrics.mark(coalesced)
			break
		}
	}
	p.ready = append(p.ready, m)
	signal(p.wake)
}

// markDone declares a mark done. Callers hold p.mu.
func (p *partition) markDone(offset int64) {
	p.in.Done(offset)
	p.marks--
	p.checkEmpty()
}

// forwardMarks forwards marks as they become ready, until ctx ends.
func (p *partition) forwardMarks(ctx context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for m := p.takeMark(); m != nil; m = p.takeMark() {
			if err := p.forward(ctx, m); err != nil {
				p.fail(fmt.Errorf("forwarding a time mark to %s: %w", schemas.TopicInbound, err))
				return
			}
		}
	}
}

func (p *partition) takeMark() *mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return nil
	}
	m := p.ready[0]
	p.ready = slices.Delete(p.ready, 0, 1)
	return m
}

// forward enqueues m for every partition of heed.inbound; it is done when all have it.
func (p *partition) forward(ctx context.Context, m *mark) error {
	count, err := p.n.inboundPartitions(ctx)
	if err != nil {
		return err
	}
	open := int(count) // guarded by p.mu
	for to := range count {
		message := stream.Message{Topic: schemas.TopicInbound, To: stream.At(to), Value: m.value, Headers: m.headers}
		err := p.enqueueWaiting(ctx, message, func(_ stream.Position, err error) {
			if err != nil {
				p.fail(fmt.Errorf("appending a time mark to %s: %w", schemas.TopicInbound, err))
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if open--; open == 0 {
				p.markDone(m.offset)
				p.n.metrics.mark(forwarded)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// inboundPartitions is how many partitions heed.inbound has. While Kafka does not say, it is what
// it said last: a mark then waits in the writer like every event.
func (n *normalizer) inboundPartitions(ctx context.Context) (int32, error) {
	for {
		count, err := n.inbound(ctx)
		if err == nil {
			n.marksTo.Store(count)
			return count, nil
		}
		if last := n.marksTo.Load(); last > 0 {
			return last, nil
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return 0, context.Cause(ctx)
		}
	}
}

// fullPause is how long to wait when the writer is full: it drains within a request or two.
const fullPause = 2 * time.Millisecond

// enqueueWaiting hands a message to the writer; while that is full it waits.
func (p *partition) enqueueWaiting(ctx context.Context, m stream.Message, done func(stream.Position, error)) error {
	for {
		err := p.out.Enqueue(ctx, m, done)
		if !errors.Is(err, stream.ErrFull) {
			return err
		}
		pause := time.NewTimer(fullPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}
