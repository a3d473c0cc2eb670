package ingest

import (
	"context"
	"sync"

	"github.com/heedhq/heed/internal/stream"
)

// call is what one callback needs while it is handled; calls are reused. Its buffers are lent to
// the writer until that calls finish.
type call struct {
	buf         []byte // the record's value: head and body, in one piece
	head        int    // length of the head
	names       []string
	headers     []stream.Header
	scratch     []byte
	id          string
	key         string
	traceparent string
	tracestate  string
	held        int64 // bytes held of the in-flight limit

	deadline deadline

	done   chan error
	finish func(stream.Position, error) // made once, so that an append allocates no closure
}

func (c *call) body() []byte { return c.buf[c.head:] }

const (
	firstBuffer = 4 << 10   // head and body of nearly every callback
	keptBuffer  = 128 << 10 // larger buffers are not kept for the next callback
)

func makeCall() any {
	c := &call{buf: make([]byte, 0, firstBuffer), done: make(chan error, 1), deadline: deadline{Context: context.Background()}}
	c.finish = func(_ stream.Position, err error) { c.done <- err }
	return c
}

// calls lends calls out.
type calls struct{ pool sync.Pool }

func newCalls() *calls { return &calls{pool: sync.Pool{New: makeCall}} }

func (p *calls) get() *call {
	c := p.pool.Get().(*call)
	c.buf, c.head, c.held = c.buf[:0], 0, 0
	return c
}

// put takes a call back.
func (p *calls) put(c *call) {
	if cap(c.buf) <= keptBuffer {
		p.pool.Put(c)
	}
}
