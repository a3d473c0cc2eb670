package state

import (
	"github.com/heedhq/heed/schemas"
)

// Send is a message that somebody would like to send. An empty channel or category means that
// the sender did not say: then every stop that might cover the message does, and no start that
// only might.
type Send struct {
	Brand    string
	Agent    string
	Channel  schemas.Channel
	Category string
}

// Outcome is the answer, with the register that decided it.
type Outcome struct {
	Decision schemas.Decision
	Reason   schemas.CheckReason
	Key      Key   // of the deciding register; zero with no_stop
	Since    int64 // its stop or start
}

// Decide answers for one send. Every stop that covers it denies, unless a later start has the
// same scope or a narrower one that still covers the send. A wider start never lifts a narrower
// stop.
func (p Person) Decide(s Send) Outcome {
	send := target(s)
	denied := Outcome{}
	for k, r := range p {
		if r.Stop == 0 || !send.mayCover(k) || p.lifted(k, r.Stop, send) {
			continue
		}
		if denied.Decision == "" || r.Stop > denied.Since || r.Stop == denied.Since && less(denied.Key, k) {
			denied = Outcome{schemas.Deny, schemas.ReasonOptedOut, k, r.Stop}
		}
	}
	if denied.Decision != "" {
		return denied
	}
	out := Outcome{Decision: schemas.Allow, Reason: schemas.ReasonNoStop}
	for k, r := range p {
		if r.Start > 0 && send.surelyCovered(k) && (r.Start > out.Since || r.Start == out.Since && less(out.Key, k)) {
			out = Outcome{schemas.Allow, schemas.ReasonOptedIn, k, r.Start}
		}
	}
	return out
}

// lifted says whether a start takes the stop of scope d away for this send.
func (p Person) lifted(d Key, stop int64, s sendKeys) bool {
	for k, r := range p {
		if r.Start > stop && s.surelyCovered(k) && within(k, d) {
			return true
		}
	}
	return false
}

// within says whether scope a is d or narrower, given that both cover the same send.
func within(a, d Key) bool {
	return a[0] >= d[0] && (d[7] == 0 || a[7] == d[7]) && (!hasCategory(d) || category(a) == category(d))
}

// sendKeys is a Send in the form of keys.
type sendKeys struct {
	brand, agent [6]byte
	hasBrand     bool
	hasAgent     bool
	channel      byte
	hasCategory  bool
	category     [4]byte
}

func target(s Send) sendKeys {
	t := sendKeys{channel: channelCode(s.Channel)}
	if s.Brand != "" {
		k := KeyOf(schemas.ConsentScope{Brand: s.Brand})
		t.brand, t.hasBrand = [6]byte(k[1:7]), true
	}
	if s.Agent != "" {
		k := KeyOf(schemas.ConsentScope{Agent: s.Agent})
		t.agent, t.hasAgent = [6]byte(k[1:7]), true
	}
	if s.Category != "" {
		t.category, t.hasCategory = category(KeyOf(schemas.ConsentScope{Category: s.Category})), true
	}
	return t
}

func category(k Key) [4]byte { return [4]byte(k[8:12]) }
func hasCategory(k Key) bool { return category(k) != [4]byte{} }
func less(a, b Key) bool     { return string(a[:]) < string(b[:]) }
func (s sendKeys) who(k Key) bool {
	switch k[0] {
	case levelAll:
		return true
	case levelBrand:
		return s.hasBrand && s.brand == [6]byte(k[1:7])
	}
	return s.hasAgent && s.agent == [6]byte(k[1:7])
}

// mayCover: a stop of this scope concerns the send, or can't be excluded.
func (s sendKeys) mayCover(k Key) bool {
	return s.who(k) &&
		(k[7] == 0 || s.channel == 0 || k[7] == s.channel) &&
		(!hasCategory(k) || !s.hasCategory || category(k) == s.category)
}

// surelyCovered: a start of this scope is about the send beyond doubt.
func (s sendKeys) surelyCovered(k Key) bool {
	return s.who(k) && (k[7] == 0 || k[7] == s.channel) && (!hasCategory(k) || s.hasCategory && category(k) == s.category)
}

// Scope names the scope of a key in the words of the send that it covers.
func (k Key) Scope(s Send) schemas.ScopeName {
	switch {
	case hasCategory(k) && s.Category != "":
		return schemas.ScopeName{Level: schemas.ScopeCategory, Value: s.Category}
	case hasCategory(k):
		return schemas.ScopeName{Level: schemas.ScopeCategory, Value: "*"}
	case k[0] == levelAgent:
		return schemas.ScopeName{Level: schemas.ScopeAgent, Value: s.Agent}
	case k[0] == levelBrand:
		return schemas.ScopeName{Level: schemas.ScopeBrand, Value: s.Brand}
	case k[7] != 0:
		return schemas.ScopeName{Level: schemas.ScopeChannel, Value: string(schemas.Channels()[k[7]-1])}
	}
	return schemas.ScopeName{Level: schemas.ScopeAll, Value: "*"}
}
