package stream

// Held is what a partition holds in memory: bytes of fetches, and of what they decompress to.
func Held(a *Assigned) (raw, decoded int) {
	a.feed.mu.Lock()
	defer a.feed.mu.Unlock()
	return a.feed.raw, a.feed.decoded
}
