package stream

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrRevoked says that the partition is being taken away: no more records come.
var ErrRevoked = errors.New("the partition was taken away")

// Relative offsets.
const (
	FirstOffset int64 = -2
	LastOffset  int64 = -1
)

// Assigned is a partition while its worker owns it.
type Assigned struct {
	Topic     string
	Partition int32

	feed    *feed
	fetcher *fetcher
	window  int
	revoked chan struct{}
	room    chan struct{} // the window may have room again

	mu      sync.Mutex
	tracker *tracker
}

func newAssigned(f *fetcher, topic string, partition int32, from int64, o GroupOptions, revoked chan struct{}) *Assigned {
	a := &Assigned{
		Topic: topic, Partition: partition,
		feed: newFeed(topic, partition, o.MaxBytes, from), fetcher: f, window: o.Window,
		revoked: revoked, room: make(chan struct{}, 1), tracker: newTracker(from),
	}
	f.add(a.feed)
	return a
}

// Next waits for the next records: ErrRevoked when there will be none, ctx's error when ctx
// ends. It also waits while the worker holds too much: Window records that are not done, or
// batches of 2 × MaxBytes that are not released.
func (a *Assigned) Next(ctx context.Context) (*Batch, error) {
	a.feed.start()
	for {
		select {
		case <-a.revoked:
			return nil, ErrRevoked
		default:
		}
		if a.hasRoom() {
			b, err := a.feed.take()
			if err != nil {
				a.fetcher.corrupt(a.feed, err)
			}
			if b != nil {
				a.mu.Lock()
				a.tracker.handOut(b.Records, b.next)
				a.mu.Unlock()
				if len(b.Records) > 0 {
					return b, nil
				}
				b.Release()
				continue
			}
		}
		select {
		case <-a.revoked:
			return nil, ErrRevoked
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-a.feed.ready:
		case <-a.room:
		}
	}
}

func (a *Assigned) hasRoom() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tracker.count < a.window
}

// Revoked is closed when the partition is being taken away.
func (a *Assigned) Revoked() <-chan struct{} { return a.revoked }

// Done declares the record at offset done. Records may be done in any order: the commit stands
// at the first that is not. Safe for several goroutines.
func (a *Assigned) Done(offset int64) {
	a.mu.Lock()
	full := a.tracker.count >= a.window
	a.tracker.done(offset)
	freed := full && a.tracker.count < a.window
	a.mu.Unlock()
	if freed {
		signal(a.room)
	}
}

// DoneUntil declares every record before offset done.
func (a *Assigned) DoneUntil(offset int64) {
	a.mu.Lock()
	full := a.tracker.count >= a.window
	a.tracker.doneUntil(offset)
	freed := full && a.tracker.count < a.window
	a.mu.Unlock()
	if freed {
		signal(a.room)
	}
}

// Committed is the offset from which the partition would be read after a crash: before it
// everything is done. It is relative (negative) until the first records have come.
func (a *Assigned) Committed() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tracker.committed()
}

// StartAt makes the next Next read from offset (FirstOffset and LastOffset are understood). What
// was handed out before is forgotten.
func (a *Assigned) StartAt(offset int64) {
	a.mu.Lock()
	a.tracker.reset(offset)
	a.mu.Unlock()
	a.feed.seek(offset)
}

// Lag is the number of records, and the age of the oldest of them, that are not yet done. The
// age of one that was not fetched yet is that of the last that was: at most too high.
func (a *Assigned) Lag() (records int64, age time.Duration) {
	_, end, oldest := a.feed.position()
	a.mu.Lock()
	committed := a.tracker.committed()
	if ms, ok := a.tracker.oldest(); ok {
		oldest = time.UnixMilli(ms)
	}
	a.mu.Unlock()
	if end < 0 || committed < 0 || end <= committed {
		return 0, 0
	}
	if !oldest.IsZero() {
		age = max(now().Sub(oldest), 0)
	}
	return end - committed, age
}
