package adapter

import "github.com/heedhq/heed/schemas"

// Memory is what an adapter works in, for one callback after another: without it every callback's
// view is made anew, a kilobyte of garbage. The zero Memory is ready; it is for one goroutine, and
// what Adapt gave for a Raw is good until the next Adapt with the same Memory, and until the Raw's
// bytes change: it points into them.
type Memory struct {
	view       View
	item       [1]Item
	users      slots[schemas.User]
	businesses slots[schemas.Business]
}

// slots is room for the few values of one callback.
type slots[T any] struct {
	of   [4]T
	used int
}

// next is one of the slots, or a place of its own when they are used.
func (s *slots[T]) next() *T {
	if s.used == len(s.of) {
		return new(T)
	}
	s.used++
	return &s.of[s.used-1]
}

// Items is an empty list for the items of Adapt's result, once; in the Memory there is room for the
// one that most callbacks are.
func (r *Raw) Items() []Item {
	if r.Memory == nil {
		return nil
	}
	return r.Memory.item[:0]
}

// What a Memory keeps from one callback to the next: enough for nearly all.
const (
	keptNodes = 256 // 7 KiB
	keptRests = 4 << 10
)

// take is the view of the callback before, emptied; a new one where there is no memory.
func (m *Memory) take() *View {
	if m == nil {
		return new(View)
	}
	old := &m.view
	nodes, rests, scratch := old.nodes[:0], old.rests[:0], old.scratch[:0]
	if cap(nodes) > keptNodes {
		nodes = nil
	}
	if cap(rests) > keptRests {
		rests = nil
	}
	if cap(scratch) > keptRests {
		scratch = nil
	}
	m.view = View{nodes: nodes, rests: rests, scratch: scratch, memory: m}
	m.users.used, m.businesses.used = 0, 0
	return &m.view
}

// user is a place for a user.
func (m *Memory) user() *schemas.User {
	if m == nil {
		return new(schemas.User)
	}
	return m.users.next()
}

// business is a place for a business.
func (m *Memory) business() *schemas.Business {
	if m == nil {
		return new(schemas.Business)
	}
	return m.businesses.next()
}
