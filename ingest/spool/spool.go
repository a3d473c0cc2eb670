// Package spool keeps records on the local disk, in order, until somebody takes them off: a log
// of checksummed segments with group-committed fsync. Ingest puts callbacks there that Kafka
// doesn't acknowledge in time, and drains them when it does again.
//
// It carries bytes, not meaning. It refuses what would exceed its limit, and never says that a
// record is kept before the disk has said so.
//
// Invariant: a record whose Append returned nil comes out of Next, before any that was appended
// after it returned, until Done is told; also after a kill -9, and then at most the records since the last Done come
// out again.
package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Failures of Append, besides the disk's own.
var (
	ErrFull   = errors.New("the spool is full")
	ErrClosed = errors.New("the spool is closed")
	ErrSlow   = errors.New("the spool's disk did not answer in time") // the record may come out all the same
)

// Options of a spool. Zero values take the defaults.
type Options struct {
	Max     int64 // bytes on the disk, default 4 GiB
	Segment int64 // bytes of a segment, default 8 MiB, or a quarter of Max if that is less; drained segments are deleted
}

// retryEvery is how often a failing disk is tried again: each callback in between is refused at
// once instead of waiting for a disk that is known not to work.
const retryEvery = time.Second

// Spool is an open spool. One goroutine may drain it, any number may append.
type Spool struct {
	dir  string
	max  int64
	roll int64
	lock *os.File

	mu       sync.Mutex
	segments []*segment // oldest first; appended to is the last, if it is open
	size     int64      // bytes of all segments
	records  int64      // not drained
	waiting  []*write   // not written yet
	claimed  int64      // bytes of waiting and of the batch being written
	wake     chan struct{}
	more     chan struct{} // holds one token when there is something to drain
	failed   error         // why the last write failed; nil after a good one
	failedAt time.Time
	closed   bool
	writing  bool   // a batch is on its way to the last segment
	head     reader // where draining stands

	create func(dir string, number uint64) (*segment, error) // createSegment, but for tests of bad disks

	writer  sync.WaitGroup
	damaged []string // what was cut off or put aside when the spool was opened
}

// write is one record on its way to the disk.
type write struct {
	record Record
	done   chan error
}

// Record is one record of the spool.
type Record struct {
	Time time.Time // of receipt
	Data []byte
}

// Open opens the spool of a directory, makes the directory where it doesn't exist, and cuts off
// what a crash left half written. A directory has one owner: a second Open fails.
func Open(dir string, o Options) (*Spool, error) {
	s := &Spool{dir: dir, max: o.Max, roll: o.Segment, wake: make(chan struct{}, 1), more: make(chan struct{}, 1), create: createSegment}
	if s.max <= 0 {
		s.max = 4 << 30
	}
	if s.roll <= 0 {
		s.roll = min(8<<20, s.max/4) // so that a small spool is not full while it is empty
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	if err := s.recover(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	s.writer.Go(s.write)
	return s, nil
}

// Damaged tells what was found broken when the spool was opened, for the log.
func (s *Spool) Damaged() []string { return s.damaged }

// Append puts a record at the end and returns when it is on the disk, or when it isn't at the
// time until: ErrSlow. data must not be changed after that.
func (s *Spool) Append(at time.Time, data []byte, until time.Time) error {
	w := &write{record: Record{at, data}, done: make(chan error, 1)}
	n := frameSize(len(data))
	s.mu.Lock()
	switch {
	case !time.Now().Before(until):
		s.mu.Unlock()
		return ErrSlow
	case s.closed:
		s.mu.Unlock()
		return ErrClosed
	case s.failed != nil && time.Since(s.failedAt) < retryEvery:
		err := s.failed
		s.mu.Unlock()
		return err
	case s.size+s.claimed+n > s.max:
		s.mu.Unlock()
		return ErrFull
	}
	s.claimed += n
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	signal(s.wake)
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case err := <-w.done:
		return err
	case <-late.C:
		return ErrSlow
	}
}

// write is the one goroutine that writes: whatever arrived while the disk was busy is the next
// batch, with one fsync for all.
func (s *Spool) write() {
	var frames []byte
	for range s.wake {
		s.mu.Lock()
		batch := s.waiting
		s.waiting = nil
		s.writing = len(batch) > 0
		closed := s.closed
		s.mu.Unlock()
		if len(batch) > 0 {
			var err error
			frames, err = s.commit(batch, frames[:0])
			for _, w := range batch {
				w.done <- err
			}
		}
		if closed {
			return
		}
	}
}

// commit writes a batch and syncs it; frames is scratch.
func (s *Spool) commit(batch []*write, frames []byte) ([]byte, error) {
	oldest, n := batch[0].record.Time, int64(0)
	for _, w := range batch {
		n += frameSize(len(w.record.Data))
		if w.record.Time.Before(oldest) {
			oldest = w.record.Time
		}
	}
	seg, err := s.open(n)
	if err == nil {
		frames, err = seg.write(batch, frames)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed -= n
	s.writing = false
	if err != nil {
		// What a failed write or sync left is unknown: the segment is closed at its last good
		// length, and the next batch begins another.
		s.fail(err)
		if seg != nil {
			seg.seal()
			if seg.length == 0 {
				s.segments = s.segments[:len(s.segments)-1]
				_ = os.Remove(seg.path)
			}
		}
		return frames, s.failed
	}
	s.failed = nil
	seg.length += n
	seg.records += int64(len(batch))
	if seg.oldest.IsZero() || oldest.Before(seg.oldest) {
		seg.oldest = oldest
	}
	s.size += n
	s.records += int64(len(batch))
	signal(s.more)
	return frames, nil
}

func (s *Spool) fail(err error) {
	s.failed, s.failedAt = fmt.Errorf("the spool can't be written: %w", err), time.Now()
}

// Probe tries the disk when the last write failed, so that a failure that is over doesn't show
// until the next record comes.
func (s *Spool) Probe() {
	s.mu.Lock()
	broken := s.failed != nil
	s.mu.Unlock()
	if !broken {
		return
	}
	err := probe(s.path("probe"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(err)
		return
	}
	s.failed = nil
}

func probe(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(path))
}

// open gives the segment that takes the next n bytes. Only the writer calls it.
func (s *Spool) open(n int64) (*segment, error) {
	s.mu.Lock()
	var last *segment
	next := uint64(1)
	if len(s.segments) > 0 {
		last = s.segments[len(s.segments)-1]
		next = last.number + 1
	}
	next = max(next, s.head.number+1)
	s.mu.Unlock()
	if last != nil && last.file != nil {
		if last.length+n <= s.roll || last.length == 0 {
			return last, nil
		}
		s.mu.Lock()
		last.seal()
		s.mu.Unlock()
	}
	seg, err := s.create(s.dir, next)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.segments = append(s.segments, seg)
	s.mu.Unlock()
	return seg, nil
}

// Pending says whether anything waits to be drained.
func (s *Spool) Pending() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records > 0 || s.claimed > 0
}

// State is how a spool is.
type State struct {
	Records int64 // not drained
	Bytes   int64 // on the disk
	// Oldest: no record that is not drained was received before it; zero when there is none. A
	// record of which Append has not returned doesn't count.
	Oldest  time.Time
	Failure error // why the last write failed
	Full    bool  // less than one segment is left
}

// State tells how the spool is.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{Records: s.records, Bytes: s.size, Failure: s.failed, Full: s.max-s.size < s.roll}
	for _, seg := range s.segments {
		if !seg.oldest.IsZero() && (st.Oldest.IsZero() || seg.oldest.Before(st.Oldest)) {
			st.Oldest = seg.oldest
		}
	}
	return st
}

// More delivers when there may be something to drain.
func (s *Spool) More() <-chan struct{} { return s.more }

// Close writes what waits and closes the files. Records that are not drained wait for the next Open.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	signal(s.wake)
	s.writer.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		seg.seal()
	}
	s.head.close()
	return s.lock.Close()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Spool) path(name string) string { return filepath.Join(s.dir, name) }
