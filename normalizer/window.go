package normalizer

import (
	"hash/maphash"

	"github.com/heedhq/heed/internal/stream"
)

// window remembers the last size events of a partition whose append was acknowledged. A
// provider that sends a callback again sends it to the same raw partition, so most of what comes
// twice is dropped here; what slips through (a rebalance, an older event) has the same id, and
// every reader must bear that anyway.
//
// An event is the same when source, id and data are: should two different events ever share an
// id, none is dropped. Not safe for use by several goroutines.
type window struct {
	size int
	ring []seenKey // in the order of acknowledgement, ring[next] the oldest once it is full
	next int
	set  map[seenKey]struct{}
	seed [2]maphash.Seed
}

// seenKey is 128 bits of hash: no two of 10^9 events collide but with a chance of 10^-20.
type seenKey [2]uint64

func newWindow(size int) *window {
	return &window{size: size, set: map[seenKey]struct{}{}, seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (w *window) key(e *stream.Event) seenKey {
	var k seenKey
	for i, seed := range w.seed {
		var h maphash.Hash
		h.SetSeed(seed)
		h.WriteString(e.Source)
		h.WriteByte(0)
		h.WriteString(e.ID)
		h.WriteByte(0)
		h.Write(e.Data)
		k[i] = h.Sum64()
	}
	return k
}

func (w *window) has(k seenKey) bool {
	_, ok := w.set[k]
	return ok
}

// add remembers k, and forgets the oldest when the window is full.
func (w *window) add(k seenKey) {
	if w.size == 0 || w.has(k) {
		return
	}
	w.set[k] = struct{}{}
	if len(w.ring) < w.size {
		w.ring = append(w.ring, k)
		return
	}
	delete(w.set, w.ring[w.next])
	w.ring[w.next] = k
	w.next = (w.next + 1) % w.size
}
