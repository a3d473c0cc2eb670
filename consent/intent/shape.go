package intent

import (
	"slices"
	"strings"
	"unicode"

	"github.com/heedhq/heed/schemas"
)

// clause is the rest of R2: the first line, first sentence or last sentence is nothing but a
// STOP word. A word that has other meanings counts only when a signature follows.
func (r *Rules) clause(t text, country string, short bool) (Decision, bool) {
	lines := strings.Split(strings.TrimSpace(t.folded), "\n")
	if len(lines) > 1 {
		first := calm(tokens(lines[0]))
		if k, ok := r.exact(strip(first, r.courtesy), country, Stop); ok {
			rest := strings.TrimSpace(strings.Join(lines[1:], "\n"))
			if k.Strong && !r.goesOn(tokens(rest)) || signature(rest) {
				return r.stop("R2", k), true
			}
		}
	}
	if !short {
		return Decision{}, false
	}
	sentences := strings.FieldsFunc(t.folded, func(c rune) bool { return strings.ContainsRune(".!?;\n。！？…؟।", c) })
	var spoken [][]string
	for _, s := range sentences {
		if words := tokens(s); len(words) > 0 {
			spoken = append(spoken, calm(words))
		}
	}
	if len(spoken) > 1 {
		if k, ok := r.exact(strip(spoken[0], r.courtesy), country, Stop); ok && k.Strong && !r.goesOn(spoken[1]) {
			return r.stop("R2", k), true
		}
	}
	// "Wrong number, please stop": at the end a comma parts as well as a full stop does.
	if at := strings.LastIndexAny(strings.TrimRight(t.folded, " .!?;,\n"), ".!?;,\n"); at >= 0 {
		if k, ok := r.exact(strip(calm(tokens(t.folded[at:])), r.courtesy), country, Stop); ok && k.Strong {
			return r.stop("R2", k), true
		}
	}
	return Decision{}, false
}

// goesOn says whether the words after a STOP word make it an ordinary verb: "by the shop".
func (r *Rules) goesOn(rest []string) bool { return len(rest) > 0 && r.continuations[rest[0]] }

// signature knows what mail programs and people put under a message.
func signature(rest string) bool {
	if strings.HasPrefix(rest, ">") || strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "|") {
		return true
	}
	for _, start := range []string{"sent from", "sent with", "sent via", "get outlook", "from:", "regards", "best", "cheers", "thank", "envoye de", "enviado desde", "enviado do", "gesendet von", "von meinem", "inviato da", "verzonden vanaf", "sendt fra", "wyslano z"} {
		if strings.HasPrefix(rest, start) {
			return true
		}
	}
	firstLine, _, _ := strings.Cut(rest, "\n")
	return strings.HasPrefix(rest, "on ") && strings.HasSuffix(strings.TrimSpace(firstLine), "wrote:")
}

// shape is R3 and R4: what stands behind the first word that isn't courtesy.
func (r *Rules) shape(quiet []string, country string) (Decision, bool) {
	words := quiet
	for {
		if n := max(r.courtesy.at(words), r.requests.at(words)); n > 0 && n < len(words) {
			words = words[n:]
			continue
		}
		break
	}
	// The keyword may be of several words ("opt out"); the longest wins.
	for n := min(4, len(words)-1); n > 0; n-- {
		k, ok := r.named(words[:n], country)
		if !ok {
			continue
		}
		tail := words[n:]
		if k.Strong {
			return r.first(k, tail)
		}
		return r.verb(k, tail)
	}
	return Decision{}, false
}

// named finds a STOP keyword without squeezing: in a sentence a space means something.
func (r *Rules) named(words []string, country string) (keyword, bool) {
	for _, k := range r.words[strings.Join(words, " ")] {
		if k.Action == Stop && k.holds(country) {
			return k, true
		}
	}
	return keyword{}, false
}

// first is R3: a strong word with a tail that only says what is to stop.
func (r *Rules) first(k keyword, tail []string) (Decision, bool) {
	if r.continuations[tail[0]] || r.negators.at(tail) > 0 && len(tail) == 1 {
		return Decision{}, false
	}
	d := r.stop("R3", k)
	core := strip(tail, r.courtesy)
	if category, ok := r.topic(core); ok {
		d.Scope = Scope{Level: schemas.ScopeCategory, Value: category}
		return d, true
	}
	if r.about(tail) {
		return d, true
	}
	// One more word, whatever it is: a name, a number of a programme. Not another verb ("stop
	// smoking"), which is about something else.
	if len(core) == 1 && !activity(core[0]) {
		return d, true
	}
	return Decision{}, false
}

// activity knows English -ing words; those that are about messages stand among the nouns.
func activity(word string) bool { return len(word) > 4 && strings.HasSuffix(word, "ing") }

// verb is R4: a word that has other meanings must say that it is about messages.
func (r *Rules) verb(k keyword, tail []string) (Decision, bool) {
	if !r.about(tail) || !slices.ContainsFunc(tail, func(w string) bool { return r.nouns[w] }) {
		return Decision{}, false
	}
	return r.stop("R4", k), true
}

// about says whether every word is one of those that say what is to stop.
func (r *Rules) about(tail []string) bool {
	for i := 0; i < len(tail); {
		if n := r.courtesy.at(tail[i:]); n > 0 {
			i += n
			continue
		}
		if !r.nouns[tail[i]] && !r.function[tail[i]] {
			return false
		}
		i++
	}
	return true
}

// topic reads the tail as the name of a category, with message words around it.
func (r *Rules) topic(tail []string) (string, bool) {
	category := ""
	for _, w := range tail {
		if c := r.topics[w]; c != "" {
			if category != "" && category != c {
				return "", false
			}
			category = c
			continue
		}
		if !slices.Contains([]string{"the", "your", "all", "messages", "message", "texts", "text", "sms", "emails", "msgs", "les", "las", "los", "le", "os", "as", "i", "die", "de", "sending", "receiving", "me"}, w) {
			return "", false
		}
	}
	return category, category != ""
}

// phrase is R5: listed phrases anywhere, unless something before them turns them round.
func (r *Rules) phrase(t text, footer bool) (Decision, bool) {
	words := calm(t.tokens)
	for i := range words {
		n := r.phrases.at(words[i:])
		if n == 0 || r.negated(words[:i]) || footer && r.optOutWord(words[i:i+n]) {
			continue
		}
		return Decision{Action: Stop, Rule: "R5", Keyword: strings.Join(words[i:i+n], " ")}, true
	}
	joined := strings.Join(t.tokens, "")
	if !unspaced(joined) || footer {
		return Decision{}, false
	}
	find := func(s string) bool {
		at := strings.Index(joined, s)
		if at < 0 {
			return false
		}
		return !slices.ContainsFunc(r.solidNegators, func(no string) bool { return strings.HasSuffix(joined[:at], no) })
	}
	for _, s := range r.solidPhrases {
		if find(s) {
			return Decision{Action: Stop, Rule: "R5", Keyword: s}, true
		}
	}
	for _, k := range r.solid {
		if k.Strong && find(k.key) {
			return r.stop("R5", k), true
		}
	}
	return Decision{}, false
}

// negated says whether one of the three words before a phrase turns it round.
func (r *Rules) negated(before []string) bool {
	at, _ := r.negators.in(before[max(0, len(before)-3):])
	return at >= 0
}

func (r *Rules) optOutWord(words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return w == "out" || r.strong(w) })
}

func (r *Rules) strong(w string) bool {
	return slices.ContainsFunc(r.words[w], func(k keyword) bool { return k.Action == Stop && k.Strong })
}

// corrected replaces misspelled STOP words; false when there is none.
func (r *Rules) corrected(words []string, country string) ([]string, bool) {
	out, changed := slices.Clone(words), false
	for i, w := range words {
		if r.typos[w] {
			out[i], changed = "stop", true
			switch {
			case strings.HasPrefix(w, "ar"):
				out[i] = "arret"
			case strings.HasPrefix(w, "cancel"):
				out[i] = "cancelar"
			case w == "vaja":
				out[i] = "baja"
			}
			continue
		}
		if len([]rune(w)) < 8 || strings.HasPrefix(w, "sub") || strings.HasPrefix(w, "re") {
			continue // "subscribe" and "resubscribe" are near, and the opposite
		}
		for _, k := range r.fuzzy {
			if k.holds(country) && w != k.key && edits(w, k.key) <= k.Fuzzy {
				out[i], changed = k.key, true
				break
			}
		}
	}
	return out, changed
}

// tapback knows how phones write a reaction: Liked “…”, 👍 to "…".
func (r *Rules) tapback(t text) bool {
	at := strings.IndexFunc(t.folded, func(c rune) bool { return strings.ContainsRune("\"“”„«「‟", c) })
	if at < 0 {
		return false
	}
	before := tokens(t.folded[:at])
	if len(before) == 0 || len(before) > 6 {
		return false
	}
	if r.tapbacks.at(before) == len(before) {
		return before[0] != "to" || strings.ContainsFunc(t.folded[:at], func(c rune) bool { return unicode.Is(unicode.So, c) })
	}
	n := r.tapbacks.atEnd(before) // with the name of who reacted before it
	return n > 0 && len(strings.Join(before[len(before)-n:], "")) > 3 && !slices.ContainsFunc(before, r.strong)
}

// footer says whether the message repeats an instruction of ours, such as "Reply STOP to end".
func (r *Rules) footer(t text) bool {
	if contains(r.footers, t.tokens) {
		return true
	}
	joined := strings.Join(t.tokens, "")
	return unspaced(joined) && slices.ContainsFunc(r.solidFooters, func(f string) bool { return strings.Contains(joined, f) })
}

func contains(s *sequences, tokens []string) bool {
	at, _ := s.in(tokens)
	return at >= 0
}

// suspicious says whether a message that nothing was read from should be seen by somebody.
func (r *Rules) suspicious(tokens []string, country string) bool {
	for i, w := range tokens {
		if r.strong(w) || r.typos[w] || w == "spam" || w == "unsubscribed" {
			return true
		}
		if i+1 < len(tokens) {
			if k, ok := r.named(tokens[i:i+2], country); ok && k.Strong {
				return true
			}
		}
	}
	return false
}
