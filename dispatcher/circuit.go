package dispatcher

import "time"

// circuit says whether a subscriber's endpoint is sent to, and how much at once. It is a value
// that knows no clock and no chance: the caller brings both.
//
// Closed, it lets through up to limit attempts at once. It opens when the endpoint is down, or
// when suspectsToOpen attempts in a row failed while none succeeded: then not one event but the
// endpoint has the fault. Open, nothing is sent until its time has come; then one probe. A
// probe's success closes it with limit 1, to which each success adds one until the subscription's
// own bound (slow start: doubling per round trip); its failure opens it for longer.
type circuit struct {
	open     bool
	until    time.Time // open: no probe before
	probing  bool
	failures int    // probes that failed in a row, for the back-off
	suspects int    // suspect attempts since the last success
	reason   string // why it opened
	limit    int    // attempts at once while closed
	max      int    // the subscription's in_flight
}

const (
	suspectsToOpen = 5
	firstProbe     = time.Second
	slowestProbe   = time.Minute
)

func newCircuit(inFlight int) circuit { return circuit{limit: inFlight, max: inFlight} }

// allows says how many attempts may start now, and otherwise when to ask again (zero: after an
// attempt has ended).
func (c *circuit) allows(now time.Time, inFlight int) (n int, again time.Time) {
	switch {
	case !c.open:
		return max(0, c.limit-inFlight), time.Time{}
	case c.probing:
		return 0, time.Time{}
	case now.Before(c.until):
		return 0, c.until
	}
	return 1, time.Time{}
}

// started notes that an attempt began.
func (c *circuit) started() {
	if c.open {
		c.probing = true
	}
}

// ended notes how an attempt ended; probe says that it began while the circuit was open. chance
// is in [0,1). It tells whether the circuit opened by it.
func (c *circuit) ended(now time.Time, o outcome, probe bool, chance float64) (opened bool) {
	if probe {
		c.probing = false
	}
	switch o.verdict {
	case taken, refused: // an endpoint that judges events is well
		c.suspects = 0
		if !c.open {
			c.limit = min(c.max, c.limit+1)
			return false
		}
		if !probe {
			return false // began before it opened: says nothing about now
		}
		*c = circuit{limit: 1, max: c.max}
		return false
	case suspect:
		c.suspects++
		if !c.open && c.suspects < suspectsToOpen && o.retryAfter == 0 {
			return false
		}
	}
	if c.open && !probe {
		// One of those in flight when it opened. What it asks for holds all the same.
		if until := now.Add(o.retryAfter); until.After(c.until) {
			c.until = until
		}
		return false
	}
	opened = !c.open
	if opened {
		c.failures = 0
	}
	wait := fullJitter(firstProbe, slowestProbe, c.failures, chance)
	c.failures++
	c.open, c.reason = true, o.reason
	c.until = now.Add(max(wait, o.retryAfter))
	return opened
}

// fullJitter is a wait chosen at random up to first × 2ⁿ, at most slowest: what keeps many who
// fail together from trying together. It is at least a tenth of that bound, so that no endpoint
// is probed twice in a breath.
func fullJitter(first, slowest time.Duration, n int, chance float64) time.Duration {
	bound := slowest
	if n < 30 && first<<n < slowest {
		bound = first << n
	}
	return time.Duration(float64(bound) * (0.1 + 0.9*chance))
}
