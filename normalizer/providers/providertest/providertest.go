// Package providertest is the suite that every provider passes: Run over the cases of its
// folder, Fuzz seeded with them, Bench. A case is testdata/<case>/ with
//
//	request.http    the callback as it came, an HTTP message (schemas.Capture)
//	want.json       {"events": [structured CloudEvents…], "failures": […]} — what the normalizer writes
//	want.error      instead of it, when nothing comes of the callback: "malformed: why" or "ignored: why"
//	endpoint.json   optional: the endpoint's facts (schemas.Origin) and "received_at"
//
// `go test ./normalizer/providers/... -update` writes the wants; read what it wrote. A case is
// named by what happened, and the README of the provider says where it is from.
//
// Invariant: a provider that passes can't panic on what a network may make of its callbacks, and
// gives a retried callback the ids of the first.
package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/schematest"
)

var update = flag.Bool("update", false, "write want.json and want.error anew")

// Case is one folder of testdata.
type Case struct {
	Name string
	Raw  adapter.Raw
	dir  string
}

// Cases reads the cases of the provider's folder, which is the test's working directory.
func Cases(t testing.TB, a adapter.Adapter) []Case { return casesIn(t, ".", a) }

func casesIn(t testing.TB, folder string, a adapter.Adapter) []Case {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(folder, "testdata/*/request.http"))
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no case: testdata/<case>/request.http (%v)", err)
	}
	var cases []Case
	for _, path := range dirs {
		dir := filepath.Dir(path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		request, err := schemas.ParseCapture(text)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		endpoint := struct {
			schemas.Origin
			ReceivedAt time.Time `json:"received_at"`
		}{schemas.Origin{Endpoint: "case"}, time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
		switch text, err := os.ReadFile(filepath.Join(dir, "endpoint.json")); {
		case err == nil:
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(&endpoint); err != nil {
				t.Fatalf("%s/endpoint.json: %v", dir, err)
			}
		case !errors.Is(err, fs.ErrNotExist):
			t.Fatal(err)
		}
		endpoint.Provider = a.Provider()
		cases = append(cases, Case{filepath.Base(dir), adapter.Raw{Origin: endpoint.Origin, Request: request, ReceivedAt: endpoint.ReceivedAt}, dir})
	}
	return cases
}

// Run holds the adapter against everything that a provider owes.
func Run(t *testing.T, a adapter.Adapter) {
	cases := Cases(t, a)
	judge := schematest.New(t)
	blown := map[string]bool{}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			c.golden(t, a)
			c.valid(t, a, judge)
			c.sameAgain(t, a)
			c.survivesDamage(t, a)
			c.survivesSize(t, a, blown)
			c.clean(t, a)
		})
	}
	t.Run("memory", func(t *testing.T) { inMemory(t, a, cases) })
	t.Run("hostile", func(t *testing.T) { bearsTheWorst(t, a) })
	t.Run("ids", func(t *testing.T) { distinct(t, a, cases) })
	t.Run("README", func(t *testing.T) { readme(t, cases) })
}

// inMemory holds that an adapter makes the same of a callback in the memory of those before it.
func inMemory(t *testing.T, a adapter.Adapter, cases []Case) {
	var memory adapter.Memory
	for _, order := range [][]Case{cases, cases} { // the first follows the last
		for _, c := range order {
			want, wantFailures, wantIgnored := understood(a, c.Raw)
			raw := c.Raw
			raw.Memory = &memory
			got, failures, ignored := understood(a, raw)
			if diff := cmp.Diff(want, got) + cmp.Diff(wantFailures, failures) + cmp.Diff(wantIgnored, ignored); diff != "" {
				t.Errorf("%s (-alone +after others):\n%s", c.Name, diff)
			}
		}
	}
}

// understood is what the normalizer makes of a callback.
func understood(a adapter.Adapter, raw adapter.Raw) ([]translate.Out, []adapter.Failure, string) {
	res := a.Adapt(raw)
	outs, failures := translate.Events(raw, res, translate.Envelope{})
	return outs, failures, res.Ignored
}

// render is the case's want: the file's name and text.
func (c *Case) render(t testing.TB, a adapter.Adapter) (name, text string) {
	t.Helper()
	outs, failures, ignored := understood(a, c.Raw)
	switch {
	case len(outs) == 0 && len(failures) == 0 && ignored != "":
		return "want.error", "ignored: " + ignored + "\n"
	case len(outs) == 0 && len(failures) == 0:
		t.Fatal("the callback vanished: no event, no failure, and not ignored")
	case len(outs) == 0 && len(failures) == 1 && failures[0].Index == adapter.WholeCallback:
		return "want.error", failures[0].Error() + "\n"
	}
	type failure struct {
		Index   int           `json:"index"`
		Class   adapter.Class `json:"class"`
		Message string        `json:"message"`
	}
	want := struct {
		Events   []json.RawMessage `json:"events"`
		Failures []failure         `json:"failures,omitempty"`
	}{Events: []json.RawMessage{}}
	for i := range outs {
		want.Events = append(want.Events, outs[i].Event.Structured())
	}
	for _, f := range failures {
		want.Failures = append(want.Failures, failure{f.Index, f.Class, f.Message})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(want); err != nil {
		t.Fatal(err)
	}
	return "want.json", b.String()
}

func (c *Case) golden(t *testing.T, a adapter.Adapter) {
	name, got := c.render(t, a)
	other := "want.error"
	if name == other {
		other = "want.json"
	}
	if *update {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(c.dir, other)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatalf("%v\nit is now:\n%s(make golden writes it)", err, got)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	if _, err := os.Stat(filepath.Join(c.dir, other)); err == nil {
		t.Errorf("there are a want.json and a want.error")
	}
}

// valid holds the events against the contract's JSON Schemas.
func (c *Case) valid(t *testing.T, a adapter.Adapter, judge *schematest.Judge) {
	outs, failures, _ := understood(a, c.Raw)
	for i := range outs {
		if err := judge.Event(outs[i].Event.Structured()); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	for _, f := range failures {
		if f.Class == adapter.Panic {
			t.Errorf("%v", f)
		}
	}
}

// sameAgain: the same callback, and a retry of it with other white space and key order, gives
// the same ids.
func (c *Case) sameAgain(t *testing.T, a adapter.Adapter) {
	first := ids(a, c.Raw)
	for i := range 3 {
		if diff := cmp.Diff(first, ids(a, c.Raw)); diff != "" {
			t.Fatalf("run %d gives other ids:\n%s", i+2, diff)
		}
	}
	for name, raw := range retries(c.Raw) {
		if diff := cmp.Diff(first, ids(a, raw)); diff != "" {
			t.Errorf("a retry with %s gives other ids (-first +retry):\n%s", name, diff)
		}
	}
}

func ids(a adapter.Adapter, raw adapter.Raw) []string {
	outs, _, _ := understood(a, raw)
	var all []string
	for i := range outs {
		all = append(all, outs[i].Event.ID)
	}
	return all
}

// distinct: no two cases share an event, unless they say that it comes by another endpoint.
func distinct(t *testing.T, a adapter.Adapter, cases []Case) {
	seen := map[string]string{}
	for _, c := range cases {
		outs, _, _ := understood(a, c.Raw)
		inCase := map[string][]byte{}
		for i := range outs {
			e := &outs[i].Event
			data, twice := inCase[e.ID]
			if twice && !bytes.Equal(data, e.Data) {
				t.Errorf("%s: two different events have the id %s", c.Name, e.ID)
			}
			inCase[e.ID] = e.Data
			if other, ok := seen[e.Source+" "+e.ID]; ok && other != c.Name {
				t.Errorf("%s and %s have the same event %s; if the document reuses its dummy ids, give one case another endpoint id", other, c.Name, e.ID)
			}
			seen[e.Source+" "+e.ID] = c.Name
		}
	}
}

// Together holds all cases of all providers, each in a folder of its name, against each other (design
// I5): a callback that comes again gives the ids of the first, and of all the events there are no
// two that say different things share source and id. Ids of two providers differ even without the
// source.
func Together(t *testing.T, all []adapter.Adapter) {
	type event struct {
		provider, at string // the case
		data         []byte
	}
	seen := map[string]event{}
	events := 0
	for _, a := range all {
		for _, c := range casesIn(t, a.Provider(), a) {
			at := a.Provider() + "/" + c.Name
			first := ids(a, c.Raw)
			for name, raw := range retries(c.Raw) {
				if diff := cmp.Diff(first, ids(a, raw)); diff != "" {
					t.Errorf("%s: a retry with %s gives other ids (-first +retry):\n%s", at, name, diff)
				}
			}
			outs, _, _ := understood(a, c.Raw)
			events += len(outs)
			for i := range outs {
				e := &outs[i].Event
				one := event{a.Provider(), at, e.Data}
				for _, key := range []string{e.Source + " " + e.ID, e.ID} {
					other, twice := seen[key]
					switch {
					case !twice:
						seen[key] = one
					case other.provider != one.provider, key != e.ID && (other.at != at || !bytes.Equal(other.data, e.Data)):
						t.Errorf("%s and %s share the id %s", other.at, at, key)
					}
				}
			}
		}
	}
	t.Logf("%d events of %d providers", events, len(all))
}

// readme: every case stands in the README, with where it is from.
func readme(t *testing.T, cases []Case) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !bytes.Contains(text, []byte("`"+c.Name+"`")) {
			t.Errorf("README.md does not say where the case `%s` is from", c.Name)
		}
	}
	if !bytes.Contains(text, []byte("https://")) {
		t.Error("README.md has no link to the provider's documentation")
	}
}

// clean: a fixture carries no credential and nobody's number.
func (c *Case) clean(t *testing.T, a adapter.Adapter) {
	for _, f := range c.Raw.Request.Header {
		if slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "x-ts-authorization"}, strings.ToLower(f.Name)) && f.Value != schemas.Redacted {
			t.Errorf("request.http shows a credential in %s; write %s", f.Name, schemas.Redacted)
		}
	}
	outs, _, _ := understood(a, c.Raw)
	for i := range outs {
		var e struct {
			User *schemas.User `json:"user"`
		}
		if err := json.Unmarshal(outs[i].Event.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.User != nil && e.User.Kind == schemas.UserPhone && !nobodys.MatchString(string(e.User.Address)) {
			t.Errorf("event %d is about a number that may be somebody's; use one of %s, or mask it", i, nobodys)
		}
	}
}

// nobodys numbers are set aside for documents (NANP 555, Ofcom's drama numbers, ARCEP's, the
// numbers of Heed's own examples) or are in no use (1 123…, runs of digits).
var nobodys = regexp.MustCompile(`^\+(1\d{3}555\d{4}|1123456\d{4}|447700900\d{3}|3363998\d{4}|9199999\d{5}|919876543210|91[6-9]?0{4,}\d*|55119{1,2}0{7,8}|5215?5500000000|525500000000|5491100000000|61491570\d{3})$`)
