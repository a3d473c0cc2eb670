// Package intent reads what a person wants from what they wrote: stop, start, help or nothing
// of these. It is liberal on STOP and exact on START: a STOP that is missed costs the person's
// trust and the sender a fine, a START that is read into an ordinary sentence makes every later
// message illegal.
//
// It refuses to guess about people's feelings: what only looks like an opt-out is marked for
// review, not acted on. Consent, and `heed classify`, use it. Words live in packs/*.yaml, with
// the source and the date of each; words that mean different things in one country do not load.
//
// Invariant: it is pure; the same input under the same Version gives the same decision.
package intent

import (
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// Action is what the person wants.
type Action string

// The actions.
const (
	Stop  Action = "stop"
	Start Action = "start"
	Help  Action = "help"
	None  Action = "none"
)

// Input is what is known about one message.
type Input struct {
	Text    string
	Country string // ISO 3166-1 alpha-2 of the person's number; "" when unknown
	// ProviderAction is what the provider made of it. A stop is believed; anything else never
	// ends the reading of the text for a STOP.
	ProviderAction schemas.ProviderAction
	// Suggestion: the person tapped a button, and Text and Postback are the business's words.
	// Only a label or postback that is nothing but a STOP word that has no other meaning counts
	// ("Cancel" on a button may be about an appointment, "Start" about a quiz).
	Suggestion bool
	Postback   string
}

// Scope narrows or widens a decision; the zero value is the agent that was written to.
type Scope struct {
	Level schemas.Scope `json:"level,omitempty"`
	Value string        `json:"value,omitempty"`
}

// Decision is what was read, and by which rule.
type Decision struct {
	Action  Action `json:"action"`
	Rule    string `json:"rule,omitempty"`    // R0 to R8, see the rules below
	Keyword string `json:"keyword,omitempty"` // of the pack, never the person's words
	Scope   Scope  `json:"scope"`
	Review  bool   `json:"review"` // holds an opt-out word that was not acted on
}

// maxTokens is how long a message may be for the rules that look at its shape.
const maxTokens = 12

// Classify reads one message by the rules below; the first that speaks decides.
//
//	R0 structured: the provider's own word
//	R1 exact:      the whole message is a keyword, also spelled out (S T O P)
//	R2 wrapped:    … inside courtesy, or alone on its first line or in its first or last sentence
//	R3 first word: stop, unsubscribe …, followed by nothing but what one stops
//	R4 verb+noun:  cancel, end, quit, revoke with messages, consent …
//	R5 phrases:    "take me off your list", "no more texts"
//	R6 guards:     tapbacks, quotes of our own footer, auto-replies, negation keep R3 to R5 quiet
//	R7 typos:      a listed or near misspelling, read by R1 to R4
//	R8 emoji:      nothing but stop signs
//
// START and HELP are read by R0 to R2 only.
func Classify(in Input) Decision {
	r := loaded()
	d := r.classify(in)
	switch {
	case d.Action == Stop:
	case in.ProviderAction == schemas.ActionStop:
		return Decision{Action: Stop, Rule: "R0"}
	case in.ProviderAction == schemas.ActionStart:
		return Decision{Action: Start, Rule: "R0"}
	case in.ProviderAction == schemas.ActionHelp && d.Action == None:
		return Decision{Action: Help, Rule: "R0", Review: d.Review}
	}
	return d
}

func (r *Rules) classify(in Input) Decision {
	country := strings.ToUpper(strings.TrimSpace(in.Country))
	if in.Suggestion {
		for _, s := range []string{in.Text, in.Postback} {
			if k, ok := r.exact(normal(s).tokens, country, Stop); ok && k.Strong {
				return r.stop("R1", k)
			}
		}
		return Decision{Action: None}
	}
	t := normal(in.Text)
	if len(t.tokens) == 0 {
		return emoji(t.folded)
	}
	if d, ok := r.whole(t, t.tokens, country); ok {
		return d
	}
	if r.tapback(t) || contains(r.autoReplies, t.tokens) {
		return Decision{Action: None}
	}
	short := len(t.tokens) <= maxTokens
	footer := r.footer(t)
	if d, ok := r.clause(t, country, short && !footer); ok {
		return d
	}
	if short && !footer {
		if d, ok := r.shape(calm(t.tokens), country); ok {
			return d
		}
	}
	if d, ok := r.phrase(t, footer); ok {
		return d
	}
	if short && !footer {
		if corrected, ok := r.corrected(calm(t.tokens), country); ok {
			d, ok := r.whole(t, corrected, country)
			if !ok || d.Action != Stop {
				d, ok = r.shape(corrected, country)
			}
			if ok && d.Action == Stop {
				d.Rule = "R7"
				return d
			}
		}
	}
	return Decision{Action: None, Review: r.suspicious(t.tokens, country)}
}

func (r *Rules) stop(rule string, k keyword) Decision {
	d := Decision{Action: Stop, Rule: rule, Keyword: k.key}
	if k.Wide {
		d.Scope = Scope{Level: schemas.ScopeBrand, Value: "*"}
	}
	return d
}

// exact finds the keyword that tokens are, as they stand or, for STOP, squeezed together.
func (r *Rules) exact(tokens []string, country string, actions ...Action) (keyword, bool) {
	find := func(list []keyword) (keyword, bool) {
		for _, k := range list {
			if k.holds(country) && slices.Contains(actions, k.Action) {
				return k, true
			}
		}
		return keyword{}, false
	}
	if len(tokens) == 0 {
		return keyword{}, false
	}
	if k, ok := find(r.words[strings.Join(tokens, " ")]); ok {
		return k, true
	}
	if letters(tokens) {
		joined := strings.Join(tokens, "")
		if k, ok := find(r.squeezed[joined]); ok {
			return k, true
		}
		return find(r.words[joined])
	}
	if len(tokens) <= 3 {
		return find(r.squeezed[strings.Join(tokens, "")])
	}
	return keyword{}, false
}

// whole is R1 and R2 over the whole message.
func (r *Rules) whole(t text, tokens []string, country string) (Decision, bool) {
	asks := strings.ContainsAny(t.folded, "?؟？")
	if k, ok := r.exact(tokens, country, Stop); ok {
		return r.stop("R1", k), true
	}
	if k, ok := r.exact(tokens, country, Start, Help); ok && !(k.Action == Start && asks) {
		return Decision{Action: k.Action, Rule: "R1", Keyword: k.key}, true
	}
	quiet := calm(tokens)
	if d, ok := r.wrapped(quiet, country); ok {
		return d, true
	}
	if d, ok := r.both(quiet, country); ok {
		return d, true
	}
	if d, ok := r.scopedStart(quiet); ok && !asks {
		return d, true
	}
	core := strip(quiet, r.please)
	if k, ok := r.exact(core, country, Start, Help); ok && !(k.Action == Start && asks) {
		return Decision{Action: k.Action, Rule: "R2", Keyword: k.key}, true
	}
	return Decision{}, false
}

// wrapped is R2 for STOP: a keyword and courtesy around it.
func (r *Rules) wrapped(tokens []string, country string) (Decision, bool) {
	if k, ok := r.exact(strip(tokens, r.please), country, Stop); ok {
		return r.stop("R2", k), true
	}
	// A word that means something else elsewhere stands only among words of politeness.
	if k, ok := r.exact(strip(tokens, r.courtesy), country, Stop); ok && !k.Local {
		return r.stop("R2", k), true
	}
	joined := strings.Join(tokens, "")
	if !unspaced(joined) {
		return Decision{}, false
	}
	for again := true; again; {
		again = false
		for _, polite := range r.solidPolite {
			for _, cut := range []func(string, string) (string, bool){strings.CutPrefix, strings.CutSuffix} {
				if rest, ok := cut(joined, polite); ok && rest != "" {
					joined, again = rest, true
				}
			}
		}
	}
	if k, ok := r.exact([]string{joined}, country, Stop); ok {
		return r.stop("R2", k), true
	}
	return Decision{}, false
}

// strip takes courtesy from both ends, but never everything.
func strip(tokens []string, polite *sequences) []string {
	for {
		if n := polite.at(tokens); n > 0 && n < len(tokens) {
			tokens = tokens[n:]
			continue
		}
		if n := polite.atEnd(tokens); n > 0 && n < len(tokens) {
			tokens = tokens[:len(tokens)-n]
			continue
		}
		return tokens
	}
}

// both is "STOP START" in one message, in any order: STOP.
func (r *Rules) both(tokens []string, country string) (Decision, bool) {
	var found *keyword
	for _, t := range tokens {
		if k, ok := r.exact([]string{t}, country, Stop); ok && k.Strong {
			found = &k
			continue
		}
		if _, ok := r.exact([]string{t}, country, Stop, Start, Help); ok {
			continue
		}
		if !slices.Contains([]string{"or", "and", "no", "wait", "i", "mean", "sorry", "then", "ou", "o", "oder"}, t) {
			return Decision{}, false
		}
	}
	if found == nil {
		return Decision{}, false
	}
	return r.stop("R2", *found), true
}

// scopedStart is START MARKETING, START NOTIFICATIONS.
func (r *Rules) scopedStart(tokens []string) (Decision, bool) {
	if len(tokens) != 2 || tokens[0] != "start" || r.topics[tokens[1]] == "" {
		return Decision{}, false
	}
	return Decision{Action: Start, Rule: "R1", Keyword: "start", Scope: Scope{Level: schemas.ScopeCategory, Value: r.topics[tokens[1]]}}, true
}

// emoji is R8.
func emoji(folded string) Decision {
	signs := 0
	for _, r := range folded {
		switch r {
		case '🛑', '🚫', '⛔':
			signs++
		case ' ', '\n', '!', '.', '🏻', '🏼', '🏽', '🏾', '🏿', '🙏':
		default:
			return Decision{Action: None}
		}
	}
	if signs == 0 {
		return Decision{Action: None}
	}
	return Decision{Action: Stop, Rule: "R8"}
}
