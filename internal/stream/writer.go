package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// WriterOptions bound a Writer. Zero values take the defaults.
type WriterOptions struct {
	Compression string // "zstd" (default), "lz4", "none"
	MaxBytes    int64  // bytes waiting or in flight, default 64 MiB
	MaxRecords  int    // records waiting or in flight, default 100,000
}

// The decisions that an append's failure carries; test with errors.Is.
var (
	ErrFull     = errors.New("the writer is full")                        // nothing was written; try later
	ErrTooLarge = errors.New("the record is larger than the topic takes") // never try again
	ErrRefused  = errors.New("the broker refuses the record")             // not written; the same will not do
	ErrUnknown  = errors.New("no acknowledgement in time")                // may or may not be written
	ErrClosed   = errors.New("the writer is closed")                      // nothing was written
	ErrNoTopic  = errors.New("there is no such topic")                    // as far as metadata know
)

const (
	defaultMaxBytes   = 64 << 20
	defaultMaxRecords = 100_000

	// maxRecord refuses at once what no broker takes; the topic's own limit
	// (max.message.bytes, 1 MiB by default) is the broker's to judge.
	maxRecord = 32 << 20

	// itemOverhead is what a waiting record costs beside its bytes: the item and its slots.
	itemOverhead = 256
)

// Writer appends messages with acks=all by group commit: per broker one request is in flight,
// and what arrives meanwhile is the next batch.
//
// A record's way: Enqueue puts an item into its partition's queue and the partition into the
// lane of the broker that leads it; the lane (lane.go) seals one batch per waiting partition,
// sends them in one request, and settles each: acknowledged, again, or refused. A sealed batch
// keeps its bytes and its sequence number until its fate is known, wherever its partition's
// leader moves meanwhile, and nothing newer of that partition goes before it. So a retry is
// dropped by the broker if the first try had arrived.
type Writer struct {
	client     *Client
	codec      codec
	maxBytes   int64
	maxRecords int

	ctx  context.Context // of the lanes
	stop context.CancelFunc
	work sync.WaitGroup

	producer producerID

	mu      sync.Mutex
	topics  map[string]*topicQueue
	lanes   map[int32]*lane
	bytes   int64 // waiting or in flight
	records int
	closed  bool
	empty   chan struct{} // closed when closed and nothing is left
	expiry  *time.Timer   // at the earliest deadline
	earlier int64         // that deadline
}

// item is one message on its way.
type item struct {
	message  Message
	ms       int64 // its timestamp
	size     int   // an upper bound of its encoded size
	deadline int64 // Unix nanoseconds
	done     func(Position, error)
	call     *appendCall // of Append; nil of Enqueue
	answered bool
}

// topicQueue is what the writer knows of a topic.
type topicQueue struct {
	name       string
	partitions []*partitionQueue
	unplaced   []*item // waiting for the topic to be known
	resolving  bool
}

// partitionQueue is the way to one partition.
type partitionQueue struct {
	topic     *topicQueue
	partition int32

	waiting []*item
	batch   *batch // sealed: not yet known to be written
	queued  bool   // in a lane, in flight, or waiting for its next try
	tries   backoff
	cause   error // why the last try failed
	limit   int   // records per batch, while a batch too large is being taken apart; 0 = no limit

	producer sequenceState
}

// NewWriter makes a writer for any topic of the client's cluster.
func NewWriter(c *Client, o WriterOptions) *Writer {
	codec, err := codecOf(o.Compression)
	if err != nil {
		c.log.Warn("unknown compression; zstd is used", "error", err)
		codec = codecZstd
	}
	w := &Writer{
		client: c, codec: codec, maxBytes: o.MaxBytes, maxRecords: o.MaxRecords,
		topics: map[string]*topicQueue{}, lanes: map[int32]*lane{},
		empty: make(chan struct{}), earlier: math.MaxInt64,
	}
	if w.maxBytes <= 0 {
		w.maxBytes = defaultMaxBytes
	}
	if w.maxRecords <= 0 {
		w.maxRecords = defaultMaxRecords
	}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.expiry = time.AfterFunc(math.MaxInt64, w.expire)
	return w
}

var items = sync.Pool{New: func() any { return new(item) }}

// Enqueue hands one message over without waiting and later calls done exactly once, from one of
// the writer's goroutines (done must not block). It returns ErrFull, ErrTooLarge, ErrRefused or
// ErrClosed at once, and then never calls done. ctx's deadline is the append's: when it comes
// first, done gets ErrUnknown, while the writer may still write the message. The message's
// bytes must not change before done is called.
func (w *Writer) Enqueue(ctx context.Context, m Message, done func(Position, error)) error {
	it, err := newItem(ctx, m, done)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.admit(1, it.size); err != nil {
		return err
	}
	if err := w.place(it); err != nil {
		w.release(it)
		return err
	}
	w.expireAt(it.deadline)
	return nil
}

func newItem(ctx context.Context, m Message, done func(Position, error)) (*item, error) {
	size := contentSize(&m) + maxRecordOverhead
	if size > maxRecord {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	it := items.Get().(*item)
	*it = item{message: m, size: size, deadline: math.MaxInt64, done: done}
	if d, ok := ctx.Deadline(); ok {
		it.deadline = d.UnixNano()
	}
	if m.Time.IsZero() {
		it.ms = now().UnixMilli()
	} else {
		it.ms = m.Time.UnixMilli()
	}
	return it, nil
}

// Append appends the messages and waits until every one is acknowledged or ctx ends. Messages
// of one partition stand in their order. Positions are in the order of messages; when the error
// is not nil there are none, and some messages may stand all the same, unless it is ErrFull or
// ErrClosed: then none does.
func (w *Writer) Append(ctx context.Context, messages ...Message) ([]Position, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	call := &appendCall{positions: make([]Position, len(messages)), left: len(messages), done: make(chan struct{})}
	mine := make([]*item, len(messages))
	size := 0
	for i := range messages {
		it, err := newItem(ctx, messages[i], func(p Position, err error) { call.settle(i, p, err) })
		if err != nil {
			return nil, err
		}
		it.call = call
		mine[i] = it
		size += it.size
	}
	deadline := mine[0].deadline
	w.mu.Lock()
	if err := w.admit(len(mine), size); err != nil {
		w.mu.Unlock()
		return nil, err
	}
	for _, it := range mine {
		if err := w.place(it); err != nil {
			w.release(it)
			call.settle(-1, Position{}, err)
		}
	}
	w.expireAt(deadline)
	w.mu.Unlock()
	select {
	case <-call.done:
	case <-ctx.Done():
		// Let go of the messages' bytes before the caller gets them back.
		w.abandon(call)
		<-call.done
	}
	if call.err != nil {
		return nil, call.err
	}
	return call.positions, nil
}

// appendCall collects the answers of one Append.
type appendCall struct {
	mu        sync.Mutex
	positions []Position
	err       error
	left      int
	done      chan struct{}
}

func (c *appendCall) settle(i int, p Position, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.err == nil || errors.Is(c.err, ErrUnknown)) {
		c.err = err // what is certain says more than what is not
	}
	if i >= 0 {
		c.positions[i] = p
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// admit takes room for n records of size bytes, all or none.
func (w *Writer) admit(n, size int) error {
	if w.closed {
		return ErrClosed
	}
	cost := int64(size) + int64(n)*itemOverhead
	if w.records+n > w.maxRecords || w.bytes+cost > w.maxBytes {
		if w.records == 0 {
			return fmt.Errorf("%w: more than the writer may hold at all", ErrTooLarge)
		}
		return ErrFull
	}
	w.records += n
	w.bytes += cost
	return nil
}

// release gives an item's room back, and the item to the pool.
func (w *Writer) release(it *item) {
	w.records--
	w.bytes -= int64(it.size + itemOverhead)
	*it = item{}
	items.Put(it)
	if w.closed && w.records == 0 {
		select {
		case <-w.empty:
		default:
			close(w.empty)
		}
	}
}

// place puts an item into its partition's queue.
func (w *Writer) place(it *item) error {
	t := w.topics[it.message.Topic]
	if t == nil {
		t = &topicQueue{name: it.message.Topic}
		w.topics[it.message.Topic] = t
		w.client.meta.want(t.name)
	}
	known := w.client.meta.load().topics[t.name]
	if known == nil || len(t.unplaced) > 0 {
		t.unplaced = append(t.unplaced, it)
		if !t.resolving {
			t.resolving = true
			w.work.Go(func() { w.resolve(t) })
		}
		return nil
	}
	return w.placeIn(t, int32(len(known.leaders)), it)
}

func (w *Writer) placeIn(t *topicQueue, partitions int32, it *item) error {
	for int(partitions) > len(t.partitions) {
		p := &partitionQueue{topic: t, partition: int32(len(t.partitions))}
		p.tries = backoff{floor: 10 * time.Millisecond, ceiling: 400 * time.Millisecond}
		t.partitions = append(t.partitions, p)
	}
	to := it.message.To.partition - 1
	if to < 0 {
		to = PartitionOf(it.message.Key, partitions)
	}
	if int(to) >= len(t.partitions) {
		return fmt.Errorf("%w: topic %s has no partition %d", ErrRefused, t.name, to)
	}
	p := t.partitions[to]
	p.waiting = append(p.waiting, it)
	if !p.queued {
		w.schedule(p)
	}
	return nil
}

// resolve finds out about a topic, then places what waits for it in its order.
func (w *Writer) resolve(t *topicQueue) {
	pause := backoff{floor: 20 * time.Millisecond, ceiling: time.Second}
	for {
		err := w.client.refresh(w.ctx)
		w.mu.Lock()
		known := w.client.meta.load().topics[t.name]
		if known != nil {
			unplaced := t.unplaced
			t.unplaced, t.resolving = nil, false
			var refused []answerTo
			for _, it := range unplaced {
				if err := w.placeIn(t, int32(len(known.leaders)), it); err != nil {
					refused = append(refused, w.settled(it, Position{}, err))
				}
			}
			w.mu.Unlock()
			call(refused)
			return
		}
		if len(t.unplaced) == 0 {
			t.resolving = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		if err == nil && pause.tries == 2 {
			w.client.log.Warn("records wait for a topic that is not there (heed topics apply)", "topic", t.name)
		}
		if !pause.wait(w.ctx) {
			return
		}
	}
}

// schedule puts a partition with work into the lane of its leader.
func (w *Writer) schedule(p *partitionQueue) {
	if w.ctx.Err() != nil {
		return // Close answers what is left
	}
	p.queued = true
	leader := w.client.meta.load().leader(p.topic.name, p.partition)
	if leader == noLeader {
		w.again(p, fmt.Errorf("partition %d of topic %s has no leader", p.partition, p.topic.name), true)
		return
	}
	l := w.lanes[leader]
	if l == nil {
		l = &lane{writer: w, broker: leader, wake: make(chan struct{}, 1)}
		w.lanes[leader] = l
		w.work.Go(l.run)
	}
	l.ready = append(l.ready, p)
	signal(l.wake)
}

// sayAfter is how many tries of a batch fail before the log says so: elections and restarts are
// over sooner, and metrics count them.
const sayAfter = 8

// again schedules a partition after a pause, after new metadata where its leader is in doubt.
func (w *Writer) again(p *partitionQueue, cause error, leaderInDoubt bool) {
	p.cause = cause
	tries := p.tries.tries
	pause := p.tries.next()
	if tries == sayAfter {
		w.client.log.Warn("a partition takes no records; trying on", "topic", p.topic.name, "partition", p.partition, "error", cause)
	}
	time.AfterFunc(pause, func() {
		if leaderInDoubt {
			if err := w.client.refresh(w.ctx); err != nil && tries == 3 && w.ctx.Err() == nil {
				w.client.log.Warn("no broker answers; records wait", "topic", p.topic.name, "partition", p.partition, "error", err)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.schedule(p)
	})
}

// Close waits until everything accepted is acknowledged, or ctx ends; what is not acknowledged
// then gets ErrUnknown.
func (w *Writer) Close(ctx context.Context) error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	if first && w.records == 0 {
		close(w.empty)
	}
	w.mu.Unlock()
	var err error
	select {
	case <-w.empty:
	case <-ctx.Done():
		if n := w.unanswered(); n > 0 {
			err = fmt.Errorf("closing the writer: %d records are not acknowledged: %w", n, ErrUnknown)
		}
	}
	w.stop()
	w.expiry.Stop()
	w.work.Wait()
	w.abandonAll()
	return err
}
