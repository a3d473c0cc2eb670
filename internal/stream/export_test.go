package stream

import "time"

// Held is what a partition holds in memory: bytes of fetches, and of what they decompress to.
func Held(a *Assigned) (raw, decoded int) {
	a.feed.mu.Lock()
	defer a.feed.mu.Unlock()
	return a.feed.raw, a.feed.decoded
}

// Forget makes a partition look as if nobody had fetched it for a time, and nobody does.
func Forget(a *Assigned, silent time.Duration) {
	a.fetcher.mu.Lock()
	a.feed.waiting = true
	a.fetcher.mu.Unlock()
	a.feed.mu.Lock()
	a.feed.open = true
	if a.feed.next < 0 {
		a.feed.next, a.feed.read = 0, 0
	}
	a.feed.lastAt = now().Add(-silent)
	a.feed.mu.Unlock()
	a.mu.Lock()
	a.tracker.reset(0)
	a.mu.Unlock()
}

// Look has the watchdog look at a partition now.
func Look(a *Assigned) { a.fetcher.look(a.feed) }
