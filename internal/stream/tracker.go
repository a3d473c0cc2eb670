package stream

import "sort"

// tracker knows how far a partition is done: everything before committed is, whatever the
// order in which records finish. Offsets that were never handed out (compaction, markers) count
// as done. It is a ring of the records that are handed out and not yet passed, in offset order;
// its owner locks it.
type tracker struct {
	ring  []handed
	head  int
	count int
	next  int64 // the offset after everything handed out
}

type handed struct {
	offset int64
	ms     int64 // the record's timestamp
	done   bool
}

func newTracker(from int64) *tracker { return &tracker{next: from} }

func (t *tracker) at(i int) *handed { return &t.ring[(t.head+i)&(len(t.ring)-1)] }

// handOut notes records in offset order, and the offset after them.
func (t *tracker) handOut(records []Record, next int64) {
	t.grow(len(records))
	for i := range records {
		*t.at(t.count) = handed{offset: records[i].Offset, ms: records[i].Time.UnixMilli()}
		t.count++
	}
	t.next = max(t.next, next)
}

// grow makes room for n more; the ring's size is a power of two.
func (t *tracker) grow(n int) {
	size := max(len(t.ring), 64)
	for size < t.count+n {
		size *= 2
	}
	if size == len(t.ring) {
		return
	}
	ring := make([]handed, size)
	for i := range t.count {
		ring[i] = *t.at(i)
	}
	t.ring, t.head = ring, 0
}

// done marks one record. An offset that is not out (any more) changes nothing.
func (t *tracker) done(offset int64) {
	i := 0
	if t.count > 0 && t.at(0).offset != offset { // in order is the usual case
		i = sort.Search(t.count, func(i int) bool { return t.at(i).offset >= offset })
	}
	if i < t.count && t.at(i).offset == offset {
		t.at(i).done = true
	}
	t.pass()
}

// doneUntil marks every record before offset.
func (t *tracker) doneUntil(offset int64) {
	for t.count > 0 && t.at(0).offset < offset {
		t.drop()
	}
	t.pass()
}

// pass drops what is done from the head.
func (t *tracker) pass() {
	for t.count > 0 && t.at(0).done {
		t.drop()
	}
}

func (t *tracker) drop() {
	t.head = (t.head + 1) & (len(t.ring) - 1)
	t.count--
}

// committed is the offset from which to read after a crash.
func (t *tracker) committed() int64 {
	if t.count > 0 {
		return t.at(0).offset
	}
	return t.next
}

// oldest is the timestamp of the first record that is not done.
func (t *tracker) oldest() (ms int64, ok bool) {
	if t.count == 0 {
		return 0, false
	}
	return t.at(0).ms, true
}

// reset forgets everything and goes on from offset.
func (t *tracker) reset(offset int64) { t.head, t.count, t.next = 0, 0, offset }
