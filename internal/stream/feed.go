package stream

import (
	"errors"
	"sync"
	"time"
)

// Batch is what one read brought of one partition. Its records are views on a buffer that
// stays untouched until Release, so a worker may hold several batches; what it holds counts
// against the partition's memory.
type Batch struct {
	Records []Record

	headers []Header
	next    int64 // the offset after it
	era     int   // of the feed
	feed    *feed
	chunk   *chunk    // that the records point into, if they were not compressed
	buffers []*[]byte // that the records point into, if they were
	bytes   int       // of those buffers
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// Release gives the batch's buffer back; the records must not be used any more.
func (b *Batch) Release() {
	if b.feed == nil {
		return
	}
	b.feed.release(b)
	for _, buffer := range b.buffers {
		giveBuffer(buffer)
	}
	*b = Batch{Records: b.Records[:0], headers: b.headers[:0], buffers: b.buffers[:0]}
	batches.Put(b)
}

// chunk is what one fetch brought of one partition, not yet decoded.
type chunk struct {
	raw  *[]byte
	rest []byte // still to be decoded
	era  int    // of the feed
	refs int    // the queue's, and one for each batch that points into it
}

// feed is one partition on its way from the fetcher to its reader. It holds at most two
// fetches (one queued, one being read) and twice their size decompressed:
//
//	raw     ≤ maxBytes when a fetch is asked for, + maxBytes
//	decoded < maxBytes when more is decoded,      + maxBytes
//
// and, where a single batch is larger than maxBytes, that batch.
type feed struct {
	topic     string
	partition int32
	maxBytes  int

	// Of the fetcher, guarded by its mutex.
	leader  int32
	waiting bool // part of a request that is under way
	retryAt time.Time

	mu      sync.Mutex
	open    bool  // a reader wants records
	next    int64 // to fetch; negative: relative, to be resolved
	read    int64 // to hand to the reader
	epoch   int   // counts seeks: answers of older fetches are dropped
	era     int   // counts readers: what an older one has not released does not count
	chunks  []*chunk
	raw     int // bytes of chunks that are not given back
	decoded int // bytes of decompressed batches that are not released
	need    int // size of a batch that did not fit into maxBytes
	end     int64
	lastAt  time.Time // of the last answer
	record  int64     // timestamp of the last record handed out, ms
	names   names

	inflation int // how much the last batch grew; the reader's

	ready chan struct{} // something came, or room was made
	kick  func()        // wakes the fetcher
}

func newFeed(topic string, partition int32, maxBytes int, from int64) *feed {
	return &feed{
		topic: topic, partition: partition, maxBytes: maxBytes, leader: noLeader,
		next: from, read: from, end: -1, record: -1, ready: make(chan struct{}, 1), kick: func() {}, inflation: 4,
	}
}

// seek makes the feed go on from offset; what was fetched is dropped.
func (f *feed) seek(offset int64) {
	f.mu.Lock()
	f.seekLocked(offset)
	f.mu.Unlock()
	f.kick()
}

func (f *feed) seekLocked(offset int64) {
	f.epoch++
	f.next, f.read, f.need = offset, offset, 0
	for _, c := range f.chunks {
		f.unref(c)
	}
	f.chunks = nil
}

// disown forgets what its reader holds: the reader has failed and may never release it.
func (f *feed) disown() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seekLocked(f.read)
	f.era++
	f.raw, f.decoded = 0, 0
}

// start lets fetching begin.
func (f *feed) start() {
	f.mu.Lock()
	already := f.open
	f.open = true
	f.lastAt = now()
	f.mu.Unlock()
	if !already {
		f.kick()
	}
}

// close drops everything; batches that are still held stay valid until they are released.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	f.seekLocked(f.read)
}

// room reports whether a fetch may be asked for, from where, and how large.
func (f *feed) room() (want wantedRange, epoch int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	want = wantedRange{f.topic, f.partition, f.next, max(f.maxBytes, f.need)}
	return want, f.epoch, f.open && len(f.chunks) <= 1 && f.raw <= f.maxBytes
}

// resolved sets the offset that a relative one stands for.
func (f *feed) resolved(offset int64, epoch int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch == epoch {
		f.next, f.read = offset, offset
	}
}

// put queues what was fetched, and returns an error when it cannot be read at all.
func (f *feed) put(a *fetched, epoch int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.epoch != epoch || !f.open {
		if a.raw != nil {
			giveBuffer(a.raw)
		}
		return nil
	}
	f.lastAt = now()
	f.end = a.end
	if a.raw == nil {
		return nil
	}
	next, whole, err := f.next, 0, error(nil)
	for rest := *a.raw; len(rest) > 0; {
		var h batchHeader
		if h, err = readBatchHeader(rest); err != nil {
			break
		}
		next = max(next, h.next())
		whole += h.size
		rest = rest[h.size:]
	}
	if whole == 0 {
		if errors.Is(err, errTruncated) && len(*a.raw) >= lengthEnd {
			// A batch larger than our limit: ask for as much as it takes.
			f.need = lengthEnd + int(be.Uint32((*a.raw)[atLength:]))
			err = nil
			if f.need > maxBatch {
				err = errInflated
			}
		}
		giveBuffer(a.raw)
		return err
	}
	f.need = 0
	f.next = next
	c := &chunk{raw: a.raw, rest: (*a.raw)[:whole], era: f.era, refs: 1}
	f.chunks = append(f.chunks, c)
	f.raw += cap(*c.raw)
	signal(f.ready)
	return nil
}

// maxBatch is the largest batch that we fetch: Kafka's own limits are far below.
const maxBatch = 128 << 20

// take decodes what is queued, up to maxBytes. It returns nil when nothing is queued or too
// much is held. A batch without records only moves the position: compaction left it empty, or
// it is a transaction's marker.
func (f *feed) take() (*Batch, error) {
	f.mu.Lock()
	if len(f.chunks) == 0 || f.decoded >= f.maxBytes {
		f.mu.Unlock()
		return nil, nil
	}
	c := f.chunks[0]
	c.refs++
	from, epoch, era := f.read, f.epoch, f.era
	f.mu.Unlock()

	// Decoding needs no lock: only the one reader takes, and the chunk is held.
	b := batches.Get().(*Batch)
	b.feed, b.next, b.era = f, from, era
	d := decoded{b.Records, b.headers, &f.names}
	var err error
	rest := c.rest
	used, views := 0, false
	for len(rest) > 0 && used < f.maxBytes {
		var h batchHeader
		if h, err = readBatchHeader(rest); err != nil {
			break
		}
		whole := rest[:h.size]
		if err = h.checkCRC(whole); err != nil {
			break
		}
		payload := whole[batchHeaderSize:]
		if c := codec(h.attributes & codecMask); h.attributes&controlBit != 0 || h.count == 0 || h.next() <= from {
			payload = nil // nothing for us: compaction leaves headers without records behind
		} else if c != codecNone {
			buffer := takeBuffer(min(f.inflation*len(payload), defaultFetchBytes))
			packed := len(payload)
			if *buffer, err = decompress((*buffer)[:0], payload, c); err != nil {
				break
			}
			f.inflation = len(*buffer)/packed + 1
			payload = *buffer
			b.buffers = append(b.buffers, buffer)
			b.bytes += cap(*buffer)
			used += cap(*buffer)
		} else {
			views = true
			used += len(payload)
		}
		if payload != nil {
			if err = d.add(&h, payload, f.topic, f.partition, from); err != nil {
				break
			}
		}
		b.next = max(b.next, h.next())
		rest = rest[h.size:]
	}
	b.Records, b.headers = d.records, d.headers
	if err != nil && len(rest) < len(c.rest) {
		err = nil // hand out what is whole; the next take meets the error again
	}

	f.mu.Lock()
	c.rest = rest
	if f.epoch == epoch {
		f.read = b.next
		if len(b.Records) > 0 {
			f.record = b.Records[len(b.Records)-1].Time.UnixMilli()
		}
		if len(rest) == 0 || err != nil {
			f.chunks = f.chunks[1:]
			f.unref(c)
		}
		if err != nil {
			f.seekLocked(from)
		}
	}
	if views {
		b.chunk = c
	} else {
		f.unref(c)
	}
	f.decoded += b.bytes
	stale := f.epoch != epoch && err == nil
	f.mu.Unlock()
	f.kick()
	if err != nil || stale {
		b.Release()
		return nil, err
	}
	return b, nil
}

// release gives a batch's bytes back.
func (f *feed) release(b *Batch) {
	f.mu.Lock()
	if b.era == f.era {
		f.decoded -= b.bytes
	}
	if b.chunk != nil {
		f.unref(b.chunk)
	}
	f.mu.Unlock()
	signal(f.ready)
	f.kick()
}

func (f *feed) unref(c *chunk) {
	if c.refs--; c.refs == 0 {
		if c.era == f.era {
			f.raw -= cap(*c.raw)
		}
		giveBuffer(c.raw)
		c.raw, c.rest = nil, nil
	}
}

// position is where the feed stands: the next offset for its reader, the end of the partition
// as far as known, and the time of the next record, as near as is known (zero = unknown).
func (f *feed) position() (read, end int64, oldest time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.record
	if len(f.chunks) > 0 {
		if h, err := readBatchHeader(f.chunks[0].rest); err == nil {
			at = h.baseTime
		}
	}
	if at >= 0 {
		oldest = time.UnixMilli(at)
	}
	return f.read, f.end, oldest
}
