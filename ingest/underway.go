package ingest

import (
	"sync/atomic"
	"time"
)

// underway knows a time that is never later than the receipt of any callback that was received
// but isn't kept yet: what a time mark may claim. Callbacks are counted in slots of a quarter
// of a second; the ring spans 16 s, and no callback is underway longer than the answer budget
// plus the spool's.
type underway struct {
	clock atomic.Int64 // the slot that callbacks enter; behind the time, never ahead of it
	slots [64]atomic.Int64
}

const (
	slotTime = 250 * time.Millisecond
	// slack is how far the clock may be behind before a callback moves it: a quarter of the ring.
	slack = 16
)

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(slotTime) }

// enter counts a callback and gives its time of receipt, which is read after it was counted: a
// mark that has not seen the callback has an earlier time.
func (u *underway) enter() (slot int64, received time.Time) {
	for {
		slot = u.clock.Load()
		u.slots[slot%int64(len(u.slots))].Add(1)
		received = time.Now()
		now := slotOf(received)
		if now-slot <= slack {
			return slot, received
		}
		u.leave(slot)
		u.clock.CompareAndSwap(slot, now)
	}
}

// leave says that the callback is kept, or that its provider was told that it is not.
func (u *underway) leave(slot int64) { u.slots[slot%int64(len(u.slots))].Add(-1) }

// before is a time before which nothing is underway. It moves the clock on, so whoever wants
// fresh marks calls it each slotTime.
func (u *underway) before() time.Time {
	now := time.Now()
	newest := slotOf(now)
	if clock := u.clock.Load(); clock < newest {
		u.clock.CompareAndSwap(clock, newest)
	}
	for slot := newest - int64(len(u.slots)) + 1; slot <= newest; slot++ {
		if u.slots[slot%int64(len(u.slots))].Load() > 0 {
			return time.Unix(0, slot*int64(slotTime))
		}
	}
	return now
}
