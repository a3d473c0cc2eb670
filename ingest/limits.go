package ingest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// limiter is a token bucket that holds one second's worth (at least one callback).
type limiter struct {
	mu     sync.Mutex
	rate   float64
	tokens float64
	last   time.Time
}

func newLimiter(rate float64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: rate, tokens: max(rate, 1)}
}

// take takes one; if there is none it tells how long until there is.
func (l *limiter) take() (time.Duration, bool) {
	if l == nil {
		return 0, true
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() {
		l.tokens = min(max(l.rate, 1), l.tokens+l.rate*now.Sub(l.last).Seconds())
	}
	l.last = now
	if l.tokens < 1 {
		return time.Duration((1 - l.tokens) / l.rate * float64(time.Second)), false
	}
	l.tokens--
	return 0, true
}

// inFlight bounds the bytes of requests that are being handled.
type inFlight struct {
	held atomic.Int64
	max  int64
}

// hold takes n bytes, or nothing.
func (f *inFlight) hold(n int64) bool {
	if f.held.Add(n) > f.max {
		f.held.Add(-n)
		return false
	}
	return true
}

func (f *inFlight) release(n int64) { f.held.Add(-n) }

// places are what clients may hold at one time: a connection has one, and each HTTP/2 request
// one more, since thousands of those fit on a single connection, at some 14 KiB each.
type places struct {
	taken   atomic.Int64
	refused atomic.Int64
	max     int64
}

func (p *places) take() bool {
	if p.taken.Add(1) > p.max {
		p.taken.Add(-1)
		p.refused.Add(1)
		return false
	}
	return true
}

func (p *places) free() { p.taken.Add(-1) }

// boundedListener closes connections without a place at once: who waits for a free one would
// wait in the kernel's queue without an answer, and the provider's retry comes sooner than that.
type boundedListener struct {
	net.Listener
	places *places
	heads  *inFlight
}

// Accept accepts the next connection that has a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.places.take() {
			return &countedConn{Conn: conn, places: l.places, heads: l.heads}, nil
		}
		_ = conn.Close()
	}
}

// countedConn has a place, and bounds what is read of it before there is a request: net/http
// holds a header until it is whole, and thousands of large ones that never are would be all
// memory. From the handler on the handler counts.
type countedConn struct {
	net.Conn
	places *places
	heads  *inFlight

	handled atomic.Bool  // a handler has what was read
	unasked atomic.Bool  // see handed
	read    atomic.Int64 // since the last request
	held    atomic.Int64 // of heads
	closed  atomic.Bool
}

// headRoom is what every connection may read without asking: net/http's own buffer, and more
// than a callback's header takes.
const headRoom = 4 << 10

// errCrowded closes the connection without a word: to net/http it is the client that went away.
var errCrowded = &net.OpError{Op: "read", Err: errOverCapacity}

// Read reads what has room.
func (c *countedConn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.unasked.Load() {
		return 0, nil
	}
	n, err := c.Conn.Read(p)
	if c.handled.Load() {
		return n, err
	}
	if more := min(c.read.Add(int64(n))-headRoom, int64(n)); more > 0 {
		if !c.heads.hold(more) {
			c.places.refused.Add(1)
			_ = c.Close() // now: net/http takes half a line for a malformed one, and would answer 400
			return 0, errCrowded
		}
		c.held.Add(more)
	}
	return n, err
}

// handed says that a handler has the request. When that has read the body, net/http reads one byte
// more beside it, to learn whether the client goes away: to wait for that, and to be called off when
// the answer is there, takes 2 µs of a callback's 25, and we answer whoever is still there. So that
// read gets nothing (which io.Reader allows) and ends; no other is of one byte while the handler has a
// body whose length is known.
func (c *countedConn) handed(r *http.Request) {
	c.handled.Store(true)
	c.unasked.Store(r.ContentLength >= 0 && r.ProtoMajor < 2)
	c.heads.release(c.held.Swap(0))
}

// idle says that the next request begins.
func (c *countedConn) idle() {
	c.heads.release(c.held.Swap(0))
	c.read.Store(0)
	c.handled.Store(false)
	c.unasked.Store(false)
}

// CloseWrite ends our direction alone: net/http says no to a request that it has not read to its
// end, and the client must be able to read that before the connection is reset.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection and frees its place.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.places.free()
		c.heads.release(c.held.Swap(0))
	}
	return c.Conn.Close()
}

// countedOf finds the connection under TLS; nil: none of ours.
func countedOf(conn net.Conn) *countedConn {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	counted, _ := conn.(*countedConn)
	return counted
}

// connection is the key of a request's *countedConn in its context.
type connection struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connection{}, countedOf(conn))
}

func watchConnection(conn net.Conn, state http.ConnState) {
	if c := countedOf(conn); c != nil && state == http.StateIdle {
		c.idle()
	}
}
