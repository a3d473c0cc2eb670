package stream

import (
	"math/bits"
	"sync"
)

// Buffers are kept by size, in powers of two: a fetch at low load brings one kilobyte, one at
// high load a mebibyte, and neither should hold the other's memory.
const (
	smallestBuffer = 12 // 4 KiB
	largestBuffer  = 23 // 8 MiB; larger ones are not kept
)

var buffers [largestBuffer - smallestBuffer + 1]sync.Pool

// takeBuffer returns an empty buffer with room for n bytes.
func takeBuffer(n int) *[]byte {
	class := max(bits.Len(uint(max(n, 1)-1)), smallestBuffer)
	if class > largestBuffer {
		b := make([]byte, 0, n)
		return &b
	}
	if b, ok := buffers[class-smallestBuffer].Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, 1<<class)
	return &b
}

// giveBuffer gives a buffer back.
func giveBuffer(b *[]byte) {
	poison((*b)[:cap(*b)])
	class := bits.Len(uint(cap(*b))) - 1 // the largest power of two that it holds
	if class < smallestBuffer || class > largestBuffer {
		return
	}
	buffers[class-smallestBuffer].Put(b)
}
