package dispatcher

import (
	"context"
	"sync"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// lane is one subscription on one partition: a place in the log. At the head it is shown what
// its partition's owner fetches; when its subscriber has no room it leaves the shared tail,
// keeps its place only, and reads on by itself until it has caught up.
//
// Locks are taken in the order partition, lane, subscriber.
type lane struct {
	s *subscriber
	p *partition

	mu       sync.Mutex
	progress progress
	read     int64 // next record to look at; at the head: those before it are not shown again
	atHead   bool
	reading  bool      // readOn runs
	rewound  bool      // read went back while readOn ran
	readTime time.Time // of the record that there was no room for
	closed   bool
	busy     int           // attempts in flight
	quiet    chan struct{} // closed when the lane is closed and no attempt is in flight

	moved   bool // something was finished since the last commit
	saved   stream.Commit
	savedAt time.Time
}

func newLane(s *subscriber, p *partition, from progress) *lane {
	return &lane{s: s, p: p, progress: from, read: from.watermark(), quiet: make(chan struct{})}
}

// position names the lane's partition.
func (l *lane) position() stream.TopicPartition {
	return stream.TopicPartition{Topic: l.p.topic, Partition: l.p.number}
}

// offer shows a lane at the head a record that the index takes for one it may want. load gives
// the record's item, nil where it is no event.
func (l *lane) offer(r *stream.Record, v *view, load func() *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || !l.atHead || r.Offset < l.read || !l.s.sel.matches(v) {
		return
	}
	it := load()
	if it == nil || l.handOver(it, r.Offset) {
		return
	}
	l.atHead, l.read, l.readTime = false, r.Offset, it.time
	if l.s.await(l) {
		l.startReading()
	}
}

// handOver hands a record to the subscriber if it is still to be done, and says false when
// there is no room for it; l.mu is held, so what the subscriber does with it waits.
func (l *lane) handOver(it *item, offset int64) bool {
	attempts, wanted := l.progress.wants(offset)
	if !wanted {
		return true
	}
	d := &delivery{item: it, from: l, subscription: l.s.sub.ID, offset: offset, attempts: attempts}
	switch l.s.sub.Config.Ordering {
	case schemas.OrderKey:
		d.chain = l.p.name + "\x00" + string(it.key)
	case schemas.OrderPartition:
		d.chain = l.p.name
	}
	if !l.s.admit(d) {
		return false
	}
	l.progress.take(offset, it.time)
	return true
}

// catchUp lets the lane read on by itself.
func (l *lane) catchUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startReading()
}

func (l *lane) startReading() {
	if l.closed || l.atHead || l.reading {
		return
	}
	l.reading = true
	go l.readOn()
}

// readOn reads with a cursor of its own until the lane has caught up with the shared tail, or
// there is no more room.
func (l *lane) readOn() {
	for l.readFrom() {
	}
}

// What became of a record, or of a look at the log.
type reading int

const (
	readNext   reading = iota
	readAgain          // the place went back: read from there
	readNoRoom         // wait until the subscriber calls
	readEnd            // caught up, or closed
)

// readFrom reads from the lane's place and says whether to begin again from where it now is.
func (l *lane) readFrom() (again bool) {
	ctx := l.p.ctx
	l.mu.Lock()
	l.rewound = false
	cursor := l.p.open(l.read)
	l.mu.Unlock()
	defer cursor.Close()
	for {
		select { // a turn for each batch, so that one long way back does not keep others waiting
		case l.p.turns <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		became := l.readBatch(ctx, cursor)
		<-l.p.turns
		if became == readNext {
			became = l.p.rejoin(l)
		}
		switch became {
		case readAgain:
			return true
		case readEnd:
			return false
		case readNoRoom:
			l.mu.Lock()
			again = l.s.await(l)
			l.reading = again
			l.mu.Unlock()
			return again
		}
	}
}

// cursor reads a partition from a place on.
type cursor interface {
	Next(ctx context.Context, wait time.Duration) (*stream.Batch, error)
	Position() int64
	Close()
}

func (l *lane) readBatch(ctx context.Context, cursor cursor) reading {
	batch, err := cursor.Next(ctx, 500*time.Millisecond)
	if ctx.Err() != nil {
		return readEnd
	}
	if err != nil {
		return readNext // the client logs and counts it; the cursor can be used again
	}
	defer batch.Release()
	if batch != nil {
		for i := range batch.Records {
			if became := l.look(&batch.Records[i]); became != readNext {
				return became
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rewound {
		return readAgain
	}
	l.read = max(l.read, cursor.Position())
	l.progress.pass(l.read)
	return readNext
}

// look looks at one record of the lane's own reading.
func (l *lane) look(r *stream.Record) reading {
	v := &view{record: r}
	wanted := !plumbing(r) && l.s.sel.matches(v)
	var it *item
	if wanted {
		it, _ = newItem(r) // nil: no event; whoever had the tail then has buried it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return readEnd
	case l.rewound:
		return readAgain
	case r.Offset < l.read:
		return readNext
	case it != nil && !l.handOver(it, r.Offset):
		l.readTime = it.time
		return readNoRoom
	}
	l.read = r.Offset + 1
	l.progress.pass(l.read)
	return readNext
}

// The lane as an origin of deliveries.

func (l *lane) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.busy++
	return true
}

func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	if l.closed && l.busy == 0 {
		close(l.quiet)
	}
}

func (l *lane) finish(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.finish(offset)
	l.hasMoved()
}

func (l *lane) count(offset int64, attempts int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.count(offset, attempts)
	l.hasMoved()
}

func (l *lane) shed(d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return // its next owner finds the record open
	}
	l.progress.unload(d.offset)
	if l.atHead {
		l.atHead, l.read = false, d.offset
	}
	l.read = min(l.read, d.offset)
	if l.reading {
		l.rewound = true
	} else if l.s.await(l) {
		l.startReading()
	}
}

// hasMoved has the lane committed soon; l.mu is held.
func (l *lane) hasMoved() {
	if !l.moved && !l.closed {
		l.moved = true
		l.p.d.book.moved(l)
	}
}

// close ends the lane: nothing more is handed over, no attempt begins. quiet tells when the last
// one has ended.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	if l.busy == 0 {
		close(l.quiet)
	}
}

// How soon progress is committed: within a second for what was delivered, sooner where that is
// cheap; for a lane that only passes by what it doesn't want, every ten seconds, since looking
// again costs nothing; and daily, because Kafka forgets a group's offsets seven days after its
// last commit.
const (
	commitSoonest   = 100 * time.Millisecond
	commitEvery     = time.Second
	commitPassEvery = 10 * time.Second
	recommitEvery   = 24 * time.Hour
)

// commit is the lane's progress, and whether it should be committed now; all says whatever the
// time. l.p.mu is held, so that the tail's place stands still.
func (l *lane) commit(now time.Time, all bool) (stream.Commit, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := now.Sub(l.savedAt)
	if !all && !l.moved && age < commitPassEvery {
		return stream.Commit{}, false
	}
	switch {
	case l.atHead:
		l.progress.next = max(l.progress.next, l.p.pos)
	default:
		l.progress.next = max(l.progress.next, l.read)
	}
	c := l.progress.commit()
	l.moved = false
	return c, c != l.saved || age >= recommitEvery
}

// committed notes that c stands at Kafka; not when the commit failed.
func (l *lane) committed(c stream.Commit, now time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.hasMoved()
		return
	}
	l.saved, l.savedAt = c, now
}

// lag is how far the lane is behind end, the partition's, and the age of its oldest open event.
func (l *lane) lag(end, tail int64, now time.Time) (records int64, age time.Duration, behind bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.progress.watermark()
	var since time.Time
	switch {
	case l.progress.openCount() > 0:
		since = l.progress.open[0].time
	case l.atHead:
		at = max(at, tail)
	}
	if !l.atHead {
		at = min(max(at, l.progress.watermark()), l.read)
		if since.IsZero() {
			since = l.readTime
		}
	}
	if !since.IsZero() {
		age = max(now.Sub(since), 0)
	}
	return max(end-at, 0), age, !l.atHead
}
