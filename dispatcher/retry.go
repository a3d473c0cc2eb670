package dispatcher

import (
	"slices"
	"time"

	"github.com/heedhq/heed/schemas"
)

// step is what becomes of an event after an attempt.
type step int

const (
	stepDone  step = iota // the subscriber has it
	stepAgain             // try again from memory after a wait
	stepHold              // try again when the endpoint is well; the attempt does not count
	stepPark              // wait in a retry tier
	stepDead              // dead letter
	stepStop              // the subscription is disabled; the event stays where it is
)

func (s step) String() string {
	return [...]string{"done", "again", "hold", "park", "dead", "stop"}[s]
}

// Waits between quick tries: with the default of three tries about two seconds in all.
const (
	firstWait   = 500 * time.Millisecond
	slowestWait = 5 * time.Second
)

// plan is what decides over an event's next step.
type plan struct {
	retry   schemas.Retry
	ordered bool // the event may not be passed by its followers: it waits in memory, never in a tier
}

// decision is the next step and its particulars.
type decision struct {
	step     step
	attempts int                // counted so far, this one included where it counts
	wait     time.Duration      // stepAgain
	tier     schemas.RetryTier  // stepPark
	class    schemas.DeadReason // stepDead
}

// next decides after an attempt that ended with o. attempts is how many were counted before;
// counts says that this one is the event's own; healthy, that the endpoint took another event
// since this one failed first. chance is in [0,1).
//
// The first Tries attempts come quickly; then each tier gives one more. Only where the endpoint is
// known to be well is the event to blame when they are used up. On a lane so quiet that nothing
// tells, the longer tiers are gone through as well: an endpoint that is ill for some hours must
// not turn its few events into dead letters.
func (p plan) next(o outcome, attempts int, counts, healthy bool, chance float64) decision {
	switch o.verdict {
	case taken:
		return decision{step: stepDone, attempts: attempts + 1}
	case refused:
		return decision{step: stepDead, attempts: attempts + 1, class: schemas.DeadRefused}
	case gone:
		return decision{step: stepStop, attempts: attempts}
	}
	if !counts {
		return decision{step: stepHold, attempts: attempts}
	}
	attempts++
	if attempts < p.retry.Tries {
		return decision{step: stepAgain, attempts: attempts, wait: max(o.retryAfter, fullJitter(firstWait, slowestWait, attempts-1, chance))}
	}
	tiers := p.tiers(healthy)
	at := attempts - p.retry.Tries // how many tiers it has been through
	switch {
	case at >= len(tiers):
		return decision{step: stepDead, attempts: attempts, class: schemas.DeadExhausted}
	case p.ordered:
		return decision{step: stepAgain, attempts: attempts, wait: max(o.retryAfter, tiers[at].Delay)}
	}
	return decision{step: stepPark, attempts: attempts, tier: tiers[at]}
}

// tiers lists the tiers that the event goes through: those of the subscription, and where its
// endpoint is not known to be well, the longer ones too.
func (p plan) tiers(healthy bool) (tiers []schemas.RetryTier) {
	own := p.retry.Tiers
	for _, t := range schemas.RetryTiers() {
		if slices.Contains(own, schemas.Span(t.Delay)) || !healthy && len(own) > 0 && schemas.Span(t.Delay) > own[len(own)-1] {
			tiers = append(tiers, t)
		}
	}
	return tiers
}

// counts says whether a failed attempt is the event's own. A suspect one is while the circuit is
// closed. One that says "down" — or one made as a probe — is only when the endpoint took another
// event since this event failed last: so an event that kills whoever takes it ends as a dead
// letter, and an outage burns no event's budget.
func counts(o outcome, probe bool, lastFailed, lastTaken time.Time) bool {
	if o.verdict == suspect && !probe {
		return true
	}
	return !lastFailed.IsZero() && lastTaken.After(lastFailed)
}
