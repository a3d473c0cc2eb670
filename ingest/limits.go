package ingest

import (
	"net"
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
}

// Accept accepts the next connection that has a place.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.places.take() {
			return &countedConn{Conn: conn, places: l.places}, nil
		}
		_ = conn.Close()
	}
}

type countedConn struct {
	net.Conn
	places *places
	closed atomic.Bool
}

// Close closes the connection and frees its place.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.places.free()
	}
	return c.Conn.Close()
}
