package stream

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
)

// batch is a partition's records under one sequence number. Its bytes never change.
type batch struct {
	items    []*item
	bytes    *[]byte
	seq      sequence
	encoding bool          // a lane is reading the items' bytes
	encoded  chan struct{} // closed at the end of that; nil while nobody waits for it
	loose    bool          // a request with it failed: its connection may still be reading the bytes
}

// ready ends the encoding.
func (b *batch) ready() {
	b.encoding = false
	if b.encoded != nil {
		close(b.encoded)
		b.encoded = nil
	}
}

// free gives the bytes back.
func (b *batch) free() {
	if !b.loose {
		giveBuffer(b.bytes)
	}
}

const (
	// batchBytes bounds a batch before compression, well under the broker's default limit of
	// 1,048,588 after it; one larger record makes a batch of its own.
	batchBytes = 900 << 10

	// requestBytes bounds a request: brokers refuse 100 MiB, and a retry should be cheap.
	requestBytes = 2 << 20

	// brokerTimeout is how long a leader may wait for its followers before it answers with
	// REQUEST_TIMED_OUT, requestTimeout how long we wait for the answer. Both only cost a retry of the
	// same bytes: a crashed follower holds every append for about 9 s anyway (its session).
	brokerTimeout  = 5 * time.Second
	requestTimeout = 6 * time.Second
)

// lane carries the batches of all partitions that one broker leads: one request at a time, and
// whatever arrived meanwhile is the next one.
type lane struct {
	writer *Writer
	broker int32
	wake   chan struct{}
	ready  []*partitionQueue // guarded by the writer's mutex

	request []byte // the last request's memory, for the next
}

// run sends until the writer is closed.
func (l *lane) run() {
	for {
		select {
		case <-l.writer.ctx.Done():
			return
		case <-l.wake:
		}
		for l.round() {
		}
	}
}

// round sends one request; it reports false when nothing was ready.
func (l *lane) round() bool {
	w := l.writer
	id, err := w.producer.get(w)
	if err != nil {
		return false // the writer is closed
	}
	sent := l.seal(id)
	if len(sent) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(w.ctx, requestTimeout)
	request, large := appendProduce(l.request[:0], w.client.clientID, sent, brokerTimeout)
	results, err := w.client.produce(ctx, l.broker, request, large, sent)
	cancel()
	if l.request = request; err != nil {
		l.request = nil // a connection may still be writing it
	}
	if err != nil && w.ctx.Err() == nil {
		w.client.log.Debug("produce request failed", "broker", l.broker, "error", err)
	}
	l.settle(sent, results, err)
	return true
}

// seal takes the ready partitions, as many as a request holds, and gives each a batch: the one
// whose fate is unknown, or a new one of what waits.
func (l *lane) seal(id *producerSession) []*partitionQueue {
	w := l.writer
	w.mu.Lock()
	size, taken := 0, 0
	var sent []*partitionQueue
	for _, p := range l.ready {
		if size >= requestBytes {
			break
		}
		taken++
		switch {
		case p.batch != nil:
			size += len(*p.batch.bytes)
		case len(p.waiting) > 0:
			n := p.cut()
			p.batch = &batch{items: slices.Clone(p.waiting[:n]), encoding: true}
			p.waiting = slices.Delete(p.waiting, 0, n)
			p.batch.seq = p.producer.next(id, n)
			for _, it := range p.batch.items {
				size += it.size
			}
		default:
			p.queued = false // everything has expired
			continue
		}
		sent = append(sent, p)
	}
	l.ready = slices.Delete(l.ready, 0, taken)
	w.mu.Unlock()

	for _, p := range sent {
		if b := p.batch; b.encoding {
			estimate := batchHeaderSize
			for _, it := range b.items {
				estimate += it.size
			}
			b.bytes = takeBuffer(estimate)
			*b.bytes = appendBatch((*b.bytes)[:0], b.items, b.seq, w.codec)
		}
	}
	w.mu.Lock()
	for _, p := range sent {
		p.batch.ready()
	}
	w.mu.Unlock()
	return sent
}

// cut is how many waiting records the next batch takes.
func (p *partitionQueue) cut() int {
	size := 0
	for i, it := range p.waiting {
		if size += it.size; i > 0 && (size > batchBytes || i == p.limit) {
			return i
		}
	}
	return len(p.waiting)
}

// settle decides on every batch of a request.
func (l *lane) settle(sent []*partitionQueue, results []produceResult, failure error) {
	w := l.writer
	var answers []answerTo
	w.mu.Lock()
	for i, p := range sent {
		b := p.batch
		if failure != nil {
			b.loose = true
			w.client.metrics.retried(1)
			w.again(p, failure, true)
			continue
		}
		r := &results[i]
		if r.code != 0 {
			w.client.log.Debug("a batch was not taken", "topic", p.topic.name, "partition", p.partition, "broker", l.broker, "error", kafka.Error(r.code))
		}
		switch judge(r.code) {
		case acked:
			answers = append(answers, w.acked(p, b, r.base)...)
		case retry:
			w.client.metrics.retried(1)
			w.again(p, kafka.Error(r.code), false)
		case retryElsewhere:
			w.client.metrics.retried(1)
			w.again(p, kafka.Error(r.code), true)
		case newProducer:
			w.client.log.Warn("the broker has lost track of this producer; going on under a new id", "topic", p.topic.name, "partition", p.partition, "error", kafka.Error(r.code))
			w.client.metrics.retried(1)
			w.producer.drop(p.producer.session)
			p.producer = sequenceState{}
			w.unseal(p)
			w.again(p, kafka.Error(r.code), false)
		case split:
			answers = append(answers, w.split(p, b)...)
		case refused:
			answers = append(answers, w.refused(p, b, r)...)
		}
	}
	w.mu.Unlock()
	call(answers)
}

// acked ends a batch that stands on the topic from offset base on.
func (w *Writer) acked(p *partitionQueue, b *batch, base int64) []answerTo {
	answers := make([]answerTo, 0, len(b.items))
	for i, it := range b.items {
		at := Position{p.partition, base + int64(i)}
		if base < 0 {
			at.Offset = -1 // a duplicate whose offset the broker no longer knows
		}
		if it.answered {
			w.release(it)
		} else {
			answers = append(answers, w.settled(it, at, nil))
		}
	}
	w.client.metrics.appended(len(b.items))
	b.free()
	p.batch, p.cause, p.limit, p.tries.tries = nil, nil, 0, 0
	w.onward(p)
	return answers
}

// unseal puts a batch that the broker has certainly not taken back into the queue. Records
// whose callers have gone are dropped: their bytes are not ours any more.
func (w *Writer) unseal(p *partitionQueue) {
	var back []*item
	for _, it := range p.batch.items {
		if it.answered {
			w.release(it)
		} else {
			back = append(back, it)
		}
	}
	p.waiting = append(back, p.waiting...)
	p.batch.free()
	p.batch = nil
}

// split takes a batch apart that is too large, down to the record that is.
func (w *Writer) split(p *partitionQueue, b *batch) []answerTo {
	p.producer.back(len(b.items))
	if len(b.items) > 1 {
		p.limit = len(b.items) / 2
		w.unseal(p)
		w.onward(p)
		return nil
	}
	return w.fail(p, b, ErrTooLarge)
}

// refused fails the records that the broker names, all if it names none, and sends the others
// again.
func (w *Writer) refused(p *partitionQueue, b *batch, r *produceResult) []answerTo {
	p.producer.back(len(b.items))
	err := errors.Join(ErrRefused, kafka.Error(r.code))
	var answers []answerTo
	if kafka.Error(r.code) == kafka.InvalidRecord && len(b.items) > 1 {
		if len(r.bad) == 0 {
			p.limit = len(b.items) / 2 // it does not say which: find out
		}
		left := b.items[:0]
		for i, it := range b.items {
			switch {
			case !slices.Contains(r.bad, int32(i)):
				left = append(left, it)
			case it.answered:
				w.release(it)
			default:
				answers = append(answers, w.settled(it, Position{}, err))
			}
		}
		b.items = left
		w.unseal(p)
		w.onward(p)
		return answers
	}
	return w.fail(p, b, err)
}

// fail answers err to all of a batch.
func (w *Writer) fail(p *partitionQueue, b *batch, err error) []answerTo {
	var answers []answerTo
	for _, it := range b.items {
		if it.answered {
			w.release(it)
		} else {
			answers = append(answers, w.settled(it, Position{}, err))
		}
	}
	b.free()
	p.batch, p.cause, p.limit = nil, nil, 0
	w.onward(p)
	return answers
}

// onward schedules a partition whose batch is settled, if it has more.
func (w *Writer) onward(p *partitionQueue) {
	if len(p.waiting) > 0 {
		w.schedule(p)
	} else {
		p.queued = false
	}
}
