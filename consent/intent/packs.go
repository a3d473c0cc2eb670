package intent

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed packs/*.yaml
var embedded embed.FS

// pack is a file of words for one language.
type pack struct {
	Language      string              `yaml:"language"`
	Countries     []string            `yaml:"countries"`
	Words         []word              `yaml:"words"`
	Please        []string            `yaml:"please"`
	Courtesy      []string            `yaml:"courtesy"`
	Requests      []string            `yaml:"requests"`
	Nouns         []string            `yaml:"nouns"`
	Function      []string            `yaml:"function"`
	Continuations []string            `yaml:"continuations"`
	Negators      []string            `yaml:"negators"`
	Phrases       []string            `yaml:"phrases"`
	Topics        map[string][]string `yaml:"topics"`
	Typos         []string            `yaml:"typos"`
	Footers       []string            `yaml:"footers"`
	AutoReplies   []string            `yaml:"autoreplies"`
	Tapbacks      []string            `yaml:"tapbacks"`
}

// word is one keyword.
type word struct {
	Word   string   `yaml:"word"`
	Action Action   `yaml:"action"`
	Strong bool     `yaml:"strong"` // nearly no message starts or ends with it that is no opt-out
	Wide   bool     `yaml:"wide"`   // asks for more than the one agent
	Local  bool     `yaml:"local"`  // holds only in the pack's countries
	Except []string `yaml:"except"` // and not in these
	Fuzzy  int      `yaml:"fuzzy"`  // typing errors that are forgiven
	Source string   `yaml:"source"`
	Date   string   `yaml:"date"`
}

// Rules are the loaded packs. They are never changed after load.
type Rules struct {
	version       string
	words         map[string][]keyword // by tokens joined with a space
	squeezed      map[string][]keyword // STOP words by tokens joined without
	fuzzy         []keyword
	solid         []keyword // words of scripts without spaces
	please        *sequences
	courtesy      *sequences // please as well
	requests      *sequences
	phrases       *sequences
	footers       *sequences
	autoReplies   *sequences
	tapbacks      *sequences
	negators      *sequences
	nouns         map[string]bool
	function      map[string]bool
	continuations map[string]bool
	typos         map[string]bool
	topics        map[string]string // word → category
	solidPhrases  []string
	solidFooters  []string
	solidPolite   []string
	solidNegators []string
}

type keyword struct {
	word
	key       string
	countries []string // where it holds; nil is everywhere
}

func (k keyword) holds(country string) bool {
	return !slices.Contains(k.Except, country) && (k.countries == nil || slices.Contains(k.countries, country))
}

// loaded reads the embedded packs once; they are part of the program, so a fault in them is
// found by the first test that classifies anything.
var loaded = sync.OnceValue(func() *Rules {
	r, err := load(embedded)
	if err != nil {
		panic("intent: " + err.Error())
	}
	return r
})

// Version names the ruleset that Classify uses: a digest of the packs and the date of the rules.
func Version() string { return loaded().version }

// rulesDate is the day of the last change to the rules in code; the packs speak for themselves
// through the digest.
const rulesDate = "2026-11-21"

func load(files fs.FS) (*Rules, error) {
	names, err := fs.Glob(files, "packs/*.yaml")
	if err != nil {
		return nil, err
	}
	r := &Rules{
		words: map[string][]keyword{}, squeezed: map[string][]keyword{},
		please: newSequences(), courtesy: newSequences(), requests: newSequences(), phrases: newSequences(), footers: newSequences(),
		autoReplies: newSequences(), tapbacks: newSequences(), negators: newSequences(),
		nouns: map[string]bool{}, function: map[string]bool{}, continuations: map[string]bool{}, typos: map[string]bool{}, topics: map[string]string{},
	}
	sum := sha256.New()
	var wrong []error
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum.Write(data)
		var p pack
		if err := yaml.UnmarshalWithOptions(data, &p, yaml.Strict()); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
			continue
		}
		wrong = append(wrong, r.add(name, &p)...)
	}
	r.version = rulesDate + "-" + hex.EncodeToString(sum.Sum(nil))[:8]
	return r, errors.Join(wrong...)
}

func (r *Rules) add(name string, p *pack) (wrong []error) {
	for _, w := range p.Words {
		k := keyword{word: w, key: strings.Join(normal(w.Word).tokens, " ")}
		if w.Local {
			k.countries = p.Countries
		}
		if k.key == "" || w.Source == "" || w.Date == "" || w.Action != Stop && w.Action != Start && w.Action != Help {
			wrong = append(wrong, fmt.Errorf("%s: %q needs a word with letters, an action, a source and a date", name, w.Word))
			continue
		}
		for _, other := range r.words[k.key] {
			if other.Action != w.Action && overlap(other, k) {
				wrong = append(wrong, fmt.Errorf("%s: %q means %s here and %s elsewhere", name, w.Word, w.Action, other.Action))
			}
		}
		r.words[k.key] = append(r.words[k.key], k)
		squeezed := strings.ReplaceAll(k.key, " ", "")
		if w.Action == Stop {
			r.squeezed[squeezed] = append(r.squeezed[squeezed], k)
		}
		if w.Fuzzy > 0 {
			r.fuzzy = append(r.fuzzy, k)
		}
		if unspaced(k.key) {
			r.solid = append(r.solid, k)
		}
	}
	for _, list := range []struct {
		from  []string
		into  []*sequences
		solid *[]string
	}{
		{p.Please, []*sequences{r.please, r.courtesy}, &r.solidPolite},
		{p.Courtesy, []*sequences{r.courtesy}, &r.solidPolite},
		{p.Requests, []*sequences{r.requests}, nil},
		{p.Phrases, []*sequences{r.phrases}, &r.solidPhrases},
		{p.Footers, []*sequences{r.footers}, &r.solidFooters},
		{p.AutoReplies, []*sequences{r.autoReplies}, nil},
		{p.Tapbacks, []*sequences{r.tapbacks}, nil},
		{p.Negators, []*sequences{r.negators}, &r.solidNegators},
	} {
		for _, s := range list.from {
			tokens := normal(s).tokens
			if list.solid != nil && unspaced(s) {
				*list.solid = append(*list.solid, strings.Join(tokens, ""))
				continue
			}
			for _, into := range list.into {
				into.add(tokens)
			}
		}
	}
	for _, list := range []struct {
		from []string
		into map[string]bool
	}{{p.Nouns, r.nouns}, {p.Function, r.function}, {p.Continuations, r.continuations}, {p.Typos, r.typos}} {
		for _, s := range list.from {
			for _, t := range normal(s).tokens {
				list.into[t] = true
			}
		}
	}
	for category, topics := range p.Topics {
		for _, t := range topics {
			r.topics[strings.Join(normal(t).tokens, " ")] = category
		}
	}
	return wrong
}

// overlap says whether two keywords can hold in one country.
func overlap(a, b keyword) bool {
	if a.countries == nil || b.countries == nil {
		return true
	}
	return slices.ContainsFunc(a.countries, func(c string) bool { return a.holds(c) && b.holds(c) })
}

// sequences is a set of token sequences, found by their first token.
type sequences struct{ byFirst map[string][][]string }

func newSequences() *sequences { return &sequences{byFirst: map[string][][]string{}} }

func (s *sequences) add(tokens []string) {
	if len(tokens) == 0 {
		return
	}
	list := append(s.byFirst[tokens[0]], tokens)
	slices.SortFunc(list, func(a, b []string) int { return len(b) - len(a) }) // longest first
	s.byFirst[tokens[0]] = list
}

// at is how many tokens of a sequence stand at the beginning of tokens; 0: none does.
func (s *sequences) at(tokens []string) int {
	if len(tokens) == 0 {
		return 0
	}
	for _, seq := range s.byFirst[tokens[0]] {
		if len(seq) <= len(tokens) && slices.Equal(seq, tokens[:len(seq)]) {
			return len(seq)
		}
	}
	return 0
}

// atEnd is how many tokens of a sequence stand at the end of tokens.
func (s *sequences) atEnd(tokens []string) int {
	for n := min(5, len(tokens)); n > 0; n-- {
		if s.at(tokens[len(tokens)-n:]) == n {
			return n
		}
	}
	return 0
}

// in is where in tokens a sequence stands, and how long it is; -1: nowhere.
func (s *sequences) in(tokens []string) (at, length int) {
	for i := range tokens {
		if n := s.at(tokens[i:]); n > 0 {
			return i, n
		}
	}
	return -1, 0
}
