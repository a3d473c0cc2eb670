package dispatcher

import (
	"container/heap"
	"slices"
)

// shedding takes out of memory what a held subscriber need not keep: all but the oldest few,
// which it is probed with; of a paused or disabled one, everything. Since the youngest go first,
// a chain loses its end, never its middle. s.mu is held; the caller tells the origins.
func (s *subscriber) shedding() []*delivery {
	keep := probeCandidates
	if s.paused || s.disabled != "" || s.closed {
		keep = 0
	}
	var ages []uint64
	s.remove(func(d *delivery) bool { ages = append(ages, d.seq); return false })
	if len(ages) <= keep {
		return nil
	}
	slices.Sort(ages)
	oldestShed := ages[keep]
	return s.remove(func(d *delivery) bool { return d.seq >= oldestShed })
}

// remove takes those deliveries out of memory that are not in flight and that which says;
// s.mu is held.
func (s *subscriber) remove(which func(*delivery) bool) (removed []*delivery) {
	drop := func(d *delivery) bool {
		if !which(d) {
			return false
		}
		removed = append(removed, d)
		return true
	}
	s.ready = slices.DeleteFunc(s.ready, drop)
	s.later = slices.DeleteFunc(s.later, drop)
	heap.Init(&s.later)
	for _, c := range s.chains {
		c.behind = slices.DeleteFunc(c.behind, drop)
	}
	for _, d := range removed {
		s.leave(d)
		if c := s.chains[d.chain]; c != nil && c.head == d {
			s.unchain(d)
		}
	}
	return removed
}

// forget takes out of memory what came from an origin that is no longer ours. What is in flight
// goes on; the origin knows of it.
func (s *subscriber) forget(from origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(func(d *delivery) bool { return d.from == from })
	if l, ok := from.(*lane); ok {
		delete(s.waiting, l)
	}
}

// await notes that a lane has left the shared tail, or was sent back, and is called once there is
// room for what it reads. It says true when there is room now.
func (s *subscriber) await(l *lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wantsMore() {
		return true
	}
	if !s.closed {
		s.waiting[l] = struct{}{}
	}
	return false
}

// wantsMore says whether lanes that wait should read on: half of the room is free, or a held
// subscriber has nothing to be probed with. s.mu is held.
func (s *subscriber) wantsMore() bool {
	half := s.admitted <= s.room()/2 && !s.circuit.open
	return (half || s.admitted == 0) && s.hasRoom(0)
}

// callLanes lets waiting lanes read on, if there is room for what they bring.
func (s *subscriber) callLanes() {
	s.mu.Lock()
	var call []*lane
	if len(s.waiting) > 0 && s.wantsMore() {
		for l := range s.waiting {
			call = append(call, l)
		}
		clear(s.waiting)
	}
	s.mu.Unlock()
	for _, l := range call {
		l.catchUp()
	}
}
