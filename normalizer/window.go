package normalizer

import (
	"hash/maphash"
	"math/bits"

	"github.com/heedhq/heed/internal/stream"
)

// window remembers about the last size events of a partition whose append was acknowledged. A
// provider that sends a callback again sends it to the same raw partition, so most of what comes
// twice is dropped here; what slips through (a rebalance, an older event) has the same id, and
// every reader must bear that anyway.
//
// An event is the same when source, id and data are: should two different events ever share an
// id, none is dropped. Not safe for use by several goroutines.
//
// It is a table of rows of four keys, a row one cache line: a key's place is its row, and it
// goes when four newer ones have come to the row. A map with a ring forgets strictly in order but
// costs three times as much time and four times the memory.
type window struct {
	rows [][row]seenKey // as many as a power of two; none: remembers nothing
	seed [2]maphash.Seed
}

const row = 4

// seenKey is 128 bits of hash, of which the first choose the row: that two of 10^9 events are
// taken for one has a chance of 10^-20. Zero is no key.
type seenKey [2]uint64

func newWindow(size int) *window {
	w := &window{seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if size > 0 {
		rows := 1
		for rows*row < size {
			rows *= 2
		}
		w.rows = make([][row]seenKey, rows)
	}
	return w
}

func (w *window) key(e *stream.Event) seenKey {
	var k seenKey
	if len(w.rows) == 0 {
		return k
	}
	for i, seed := range w.seed {
		// Each by itself: to write them into one hash costs three times as much. Turned, so that
		// an id that stands where a source should is another event.
		k[i] = maphash.String(seed, e.ID) ^ bits.RotateLeft64(maphash.String(seed, e.Source), 21) ^ bits.RotateLeft64(maphash.Bytes(seed, e.Data), 42)
	}
	return k
}

func (w *window) row(k seenKey) *[row]seenKey { return &w.rows[k[0]&uint64(len(w.rows)-1)] }

func (w *window) has(k seenKey) bool {
	if len(w.rows) == 0 {
		return false
	}
	for _, known := range w.row(k) {
		if known == k {
			return true
		}
	}
	return false
}

// add remembers k, and forgets the oldest of its row.
func (w *window) add(k seenKey) {
	if len(w.rows) == 0 || w.has(k) {
		return
	}
	r := w.row(k)
	copy(r[1:], r[:row-1])
	r[0] = k
}
