package consent

import (
	"time"

	"github.com/heedhq/heed/schemas"
)

// marks works out, from the time marks of one partition of heed.inbound, up to which time
// everything that was accepted has arrived: the minimum over ingest replicas and their raw
// partitions. It reads no clock: "long ago" is measured in the marks' own records, so a backlog
// is understood as it was written. It is for one goroutine.
type marks struct {
	timeout  time.Duration // after which a replica that says nothing at all is dropped
	replicas map[string]*replica
	heard    time.Time // when the newest mark was written to Kafka
	since    time.Time // when the first was
	dropped  int       // replicas that vanished without a word
}

type replica struct {
	heard time.Time
	count int32 // of raw partitions
	times map[int32]time.Time
	gone  map[int32]bool // partitions whose last mark said that the replica leaves
}

// settle is how long marks are watched before the minimum is believed: a replica that sends one
// a second, but is slow, must be heard before the others' times count.
const settle = 1500 * time.Millisecond

func newMarks(timeout time.Duration) *marks {
	return &marks{timeout: timeout, replicas: map[string]*replica{}}
}

// add takes a mark whose record was written at written.
func (m *marks) add(k schemas.Mark, written time.Time) {
	if k.Replica == "" || k.Partitions <= 0 || k.Partition < 0 || k.Partition >= k.Partitions {
		return
	}
	r := m.replicas[k.Replica]
	if r == nil {
		if k.Leaving {
			return
		}
		r = &replica{times: map[int32]time.Time{}, gone: map[int32]bool{}}
		m.replicas[k.Replica] = r
	}
	r.count = k.Partitions
	if k.Time.After(r.times[k.Partition]) {
		r.times[k.Partition] = k.Time
	}
	if k.Leaving {
		r.gone[k.Partition] = true
	}
	if written.After(r.heard) {
		r.heard = written
	}
	if written.After(m.heard) {
		m.heard = written
	}
	if m.since.IsZero() {
		m.since = written
	}
	for name, r := range m.replicas {
		switch {
		case len(r.gone) >= int(r.count):
			delete(m.replicas, name)
		case m.heard.Sub(r.heard) > m.timeout:
			delete(m.replicas, name)
			m.dropped++
		}
	}
}

// time is the mark; zero while it can't be told.
func (m *marks) time() time.Time {
	if m.heard.Sub(m.since) < settle {
		return time.Time{}
	}
	var least time.Time
	for _, r := range m.replicas {
		for p := range r.count {
			at, ok := r.times[p]
			if r.gone[p] {
				continue
			}
			if !ok {
				return time.Time{}
			}
			if least.IsZero() || at.Before(least) {
				least = at
			}
		}
	}
	return least
}
