package intent

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/heedhq/heed/schemas"
)

type labelled struct {
	want          Action
	tier, country string
	text          string
}

func corpus(t testing.TB) []labelled {
	t.Helper()
	data, err := os.ReadFile("testdata/labelled.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var all []labelled
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# ") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			t.Fatalf("not four columns: %q", line)
		}
		all = append(all, labelled{Action(f[0]), f[1], f[2], strings.ReplaceAll(f[3], `\n`, "\n")})
	}
	return all
}

// The bar (facts §4.3): no firm stop missed, no false stop, no false start.
func TestLabelledMessages(t *testing.T) {
	var stops, missed int
	for _, c := range corpus(t) {
		d := Classify(Input{Text: c.text, Country: c.country})
		if c.want == Stop {
			stops++
		}
		if d.Action == c.want {
			continue
		}
		t.Errorf("%q (%s, %s): got %s by %s %q, want %s", c.text, c.country, c.tier, d.Action, d.Rule, d.Keyword, c.want)
		if c.want == Stop {
			missed++
		}
	}
	t.Logf("%d messages, %d stops, %d missed, ruleset %s", len(corpus(t)), stops, missed, Version())
}

func TestProviderWord(t *testing.T) {
	for _, c := range []struct {
		text string
		says schemas.ProviderAction
		want Action
		rule string
	}{
		{"hello", schemas.ActionStop, Stop, "R0"},
		{"", schemas.ActionStop, Stop, "R0"},
		{"START", schemas.ActionStop, Stop, "R0"},
		{"revoke", schemas.ActionGeneric, Stop, "R1"},
		{"opt out", schemas.ActionHelp, Stop, "R1"},
		{"stop", schemas.ActionStart, Stop, "R1"},
		{"hello", schemas.ActionStart, Start, "R0"},
		{"what?", schemas.ActionHelp, Help, "R0"},
		{"start", schemas.ActionGeneric, Start, "R1"},
		{"hello", schemas.ActionGeneric, None, ""},
	} {
		if d := Classify(Input{Text: c.text, ProviderAction: c.says}); d.Action != c.want || d.Rule != c.rule {
			t.Errorf("%q with provider's %s: got %s by %q, want %s by %q", c.text, c.says, d.Action, d.Rule, c.want, c.rule)
		}
	}
}

func TestSuggestionsCountOnlyWhenPlain(t *testing.T) {
	for _, c := range []struct {
		label, postback string
		want            Action
	}{
		{"Stop", "x1", Stop}, {"Unsubscribe", "", Stop}, {"No thanks", "STOP", Stop}, {"Se désabonner", "unsubscribe", Stop},
		{"Cancel", "cancel_appointment", None}, {"Start", "start_quiz", None}, {"Stop by our shop", "shop", None}, {"Help", "help", None},
	} {
		if d := Classify(Input{Text: c.label, Postback: c.postback, Suggestion: true}); d.Action != c.want {
			t.Errorf("button %q (%s): got %s, want %s", c.label, c.postback, d.Action, c.want)
		}
	}
}

func TestScopes(t *testing.T) {
	for text, want := range map[string]Scope{
		"STOP":                    {},
		"STOP MARKETING":          {schemas.ScopeCategory, "marketing"},
		"stop promotions please":  {schemas.ScopeCategory, "marketing"},
		"Stop all marketing msgs": {schemas.ScopeCategory, "marketing"},
		"stop notifications":      {schemas.ScopeCategory, "notification"},
		"START MARKETING":         {schemas.ScopeCategory, "marketing"},
		"STOP 12345":              {},
		"STOPALL":                 {schemas.ScopeBrand, "*"},
		"stop all":                {schemas.ScopeBrand, "*"},
	} {
		if d := Classify(Input{Text: text}); d.Scope != want {
			t.Errorf("%q: scope %+v by %s, want %+v", text, d.Scope, d.Rule, want)
		}
	}
}

func TestReview(t *testing.T) {
	for text, want := range map[string]bool{
		"We have got to STOP this terrible bill": true, "The unsubscribe link is broken": true, "hello": false, "Where is my parcel?": false, "STOP": false,
	} {
		if d := Classify(Input{Text: text, Country: "US"}); d.Review != want {
			t.Errorf("%q: review %v", text, d.Review)
		}
	}
}

func TestCollidingWordsDoNotLoad(t *testing.T) {
	two := func(a, b string) fstest.MapFS {
		return fstest.MapFS{"packs/a.yaml": {Data: []byte(a)}, "packs/b.yaml": {Data: []byte(b)}}
	}
	const stop = "language: a\ncountries: [FR]\nwords: [{word: Alta, action: stop, source: s, date: d}]\n"
	if _, err := load(two(stop, "language: b\nwords: [{word: ALTÁ, action: start, source: s, date: d}]\n")); err == nil {
		t.Error("a word that means stop and start was loaded")
	}
	if _, err := load(two(strings.Replace(stop, "source", "local: true, source", 1), "language: b\ncountries: [ES]\nwords: [{word: alta, action: start, local: true, source: s, date: d}]\n")); err != nil {
		t.Errorf("words of different countries: %v", err)
	}
	if _, err := load(two(stop, "language: b\nwords: [{word: x, action: stop}]\n")); err == nil {
		t.Error("a word without source was loaded")
	}
}

// Letter case, outer punctuation, accents on Latin letters and invisible characters never
// change a decision about a bare keyword (CTIA 5.1.3).
func TestSpellingDoesNotMatter(t *testing.T) {
	var words []keyword
	for _, list := range loaded().words {
		words = append(words, list...)
	}
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(words).Draw(t, "word")
		country := ""
		if k.countries != nil {
			country = k.countries[len(k.countries)-1]
			if !k.holds(country) {
				return
			}
		}
		var b strings.Builder
		b.WriteString(rapid.SampledFrom([]string{"", " ", "\"", "*", "(", "¡", "\u200e"}).Draw(t, "before"))
		for _, r := range k.Word {
			c := string(r)
			if rapid.Bool().Draw(t, "upper") {
				c = strings.ToUpper(c)
			}
			b.WriteString(c)
			if rapid.IntRange(0, 5).Draw(t, "gap") == 0 && r != ' ' {
				b.WriteString(rapid.SampledFrom([]string{"\u200b", "\u2060", "\ufe0f"}).Draw(t, "zero width"))
			}
		}
		b.WriteString(rapid.SampledFrom([]string{"", ".", "!!!", " ", "\n", "\"", ")", "…", "\ufeff"}).Draw(t, "after"))
		if d := Classify(Input{Text: b.String(), Country: country}); d.Action != k.Action {
			t.Fatalf("%q in %q: got %s by %s", b.String(), country, d.Action, d.Rule)
		}
	})
}

func FuzzClassify(f *testing.F) {
	for _, c := range corpus(f) {
		f.Add(c.text, c.country)
	}
	f.Fuzz(func(t *testing.T, text, country string) {
		a, b := Classify(Input{Text: text, Country: country}), Classify(Input{Text: text, Country: country})
		if a != b {
			t.Fatalf("two answers: %+v and %+v", a, b)
		}
		if both := Classify(Input{Text: text, Country: country, ProviderAction: schemas.ActionStop}); both.Action != Stop {
			t.Fatalf("the provider's stop was not believed: %+v", both)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	all := corpus(b)
	for i := 0; b.Loop(); i++ {
		c := all[i%len(all)]
		Classify(Input{Text: c.text, Country: c.country})
	}
}
