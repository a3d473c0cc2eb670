package consent

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/address"
)

// checker answers checks. It never leaves one out and never says allow without a whole, fresh
// view: what it can't know, it denies.
type checker struct {
	view       *view
	directory  *directory
	pseudonyms *schemas.Pseudonymizer
	staleAfter time.Duration
	timeout    time.Duration
	now        func() time.Time
}

// question is a check on its way to an answer.
type question struct {
	people []string // the person's pseudonyms under every active key
	sends  []state.Send
	reason schemas.CheckReason // set: answered without the view
}

// check answers every check, in order. asOf is zero when no partition could say.
func (c *checker) check(ctx context.Context, checks []schemas.Check) (results []schemas.CheckResult, asOf time.Time) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	questions := make([]question, len(checks))
	wanted := map[int32][]string{}
	n, err := c.view.partitions(ctx)
	for i := range checks {
		questions[i] = c.ask(&checks[i])
		if questions[i].reason == "" && err != nil {
			questions[i].reason = schemas.ReasonUnavailable
		}
		if questions[i].reason != "" {
			continue
		}
		for _, person := range questions[i].people {
			p := stream.PartitionOf([]byte(person), n)
			wanted[p] = append(wanted[p], person)
		}
	}
	views := c.readAll(ctx, wanted)
	results = make([]schemas.CheckResult, len(checks))
	for i := range checks {
		results[i] = c.answer(&checks[i], &questions[i], views, n)
	}
	for _, v := range views {
		if v.why == "" && (asOf.IsZero() || v.asOf.Before(asOf)) {
			asOf = v.asOf
		}
	}
	return results, asOf
}

// readAll reads the partitions side by side; one that does not answer in time is unavailable.
func (c *checker) readAll(ctx context.Context, wanted map[int32][]string) map[int32]seen {
	views := make(map[int32]seen, len(wanted))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p, people := range wanted {
		wg.Go(func() {
			s, err := c.view.read(ctx, p, people)
			switch {
			case err != nil:
				s = seen{why: schemas.ReasonUnavailable}
			case s.why == "" && (s.asOf.IsZero() || c.now().Sub(s.asOf) > c.staleAfter):
				s.why = schemas.ReasonStale
			}
			mu.Lock()
			defer mu.Unlock()
			views[p] = s
		})
	}
	wg.Wait()
	return views
}

// ask turns a check into what the view is asked.
func (c *checker) ask(k *schemas.Check) question {
	user, ok := address.Parse(string(k.User))
	if !ok {
		return question{reason: schemas.ReasonInvalidUser}
	}
	q := question{people: c.pseudonyms.All(user.Kind, user.Address)}
	channel := schemas.Channel(strings.ToLower(string(k.Channel)))
	send := state.Send{Brand: k.Brand, Agent: strings.TrimSpace(k.Agent), Channel: channel, Category: strings.TrimSpace(k.Category)}
	switch {
	case send.Agent != "":
		listed, ok := c.directory.listed(channel, send.Agent)
		if ok && k.Brand != "" && state.Name(listed) != state.Name(k.Brand) {
			return question{reason: schemas.ReasonUnknownAgent} // the directory says that it speaks for somebody else
		}
		send.Brand = c.directory.brand(channel, send.Agent, k.Brand)
		q.sends = []state.Send{send}
	case k.Brand != "":
		// Who sends is not said: every agent of the brand must be free to. The brand's own id is
		// the agent where an agent is a brand of its own.
		for _, agent := range append([]string{k.Brand}, c.directory.agents[state.Name(k.Brand)]...) {
			send.Agent = agent
			q.sends = append(q.sends, send)
		}
	default:
		return question{reason: schemas.ReasonUnknownAgent}
	}
	return q
}

// answer decides one check from what the view said.
func (c *checker) answer(k *schemas.Check, q *question, views map[int32]seen, n int32) schemas.CheckResult {
	deny := func(r schemas.CheckReason) schemas.CheckResult {
		return schemas.CheckResult{ID: k.ID, Decision: schemas.Deny, Reason: r, Retryable: r.Retryable()}
	}
	if q.reason != "" {
		return deny(q.reason)
	}
	person := state.Person{}
	for _, pseudonym := range q.people {
		v := views[stream.PartitionOf([]byte(pseudonym), n)]
		if v.why != "" {
			return deny(v.why)
		}
		person = state.Merge(person, v.people[pseudonym])
	}
	var best state.Outcome
	var by state.Send
	for _, send := range q.sends {
		o := person.Decide(send)
		if best.Decision == "" || o.Decision == schemas.Deny && best.Decision == schemas.Allow {
			best, by = o, send
		}
	}
	result := schemas.CheckResult{ID: k.ID, Decision: best.Decision, Reason: best.Reason}
	if best.Since > 0 {
		since := time.UnixMilli(best.Since).UTC()
		result.Since = &since
		scope := best.Key.Scope(by)
		result.Scope = &scope
	}
	return result
}
