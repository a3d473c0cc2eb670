package dispatcher

import "time"

// bucket is a token bucket: rate a second, and a second's worth at once.
type bucket struct {
	rate   float64 // 0: no limit
	tokens float64
	at     time.Time
}

// take takes a token, or says when there is one.
func (b *bucket) take(now time.Time) (again time.Time) {
	if b.rate == 0 {
		return time.Time{}
	}
	burst := max(1, b.rate)
	if b.at.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	if b.tokens < 1 {
		return now.Add(time.Duration((1 - b.tokens) / b.rate * float64(time.Second)))
	}
	b.tokens--
	return time.Time{}
}
