package env

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// settings has one of each type.
type settings struct {
	Brokers []string
	Open    bool
	Window  int
	After   time.Duration
	Body    int64
	Level   string
	Key     string
	Dir     string
}

func declare(s *settings) *Vars {
	v := &Vars{}
	v.List(&s.Brokers, "HEED_BROKERS", "localhost:9092", "Where to start.")
	v.Bool(&s.Open, "HEED_OPEN", false, "Let everybody in.")
	v.Int(&s.Window, "HEED_WINDOW", 64, 1, "How many at once.")
	v.Duration(&s.After, "HEED_AFTER", 750*time.Millisecond, "When to spool.")
	v.Size(&s.Body, "HEED_BODY", "1MiB", "Largest body.")
	v.Enum(&s.Level, "HEED_LEVEL", "info", []string{"info", "warn"}, "How much to say.")
	v.Secret(&s.Key, "HEED_KEY", "The key.")
	v.String(&s.Dir, "HEED_DIR", "", "Where to spool.")
	return v
}

func TestParse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	defaults := settings{Brokers: []string{"localhost:9092"}, Window: 64, After: 750 * time.Millisecond, Body: 1 << 20, Level: "info"}
	for _, c := range []struct {
		name    string
		environ []string
		change  func(*settings)
	}{
		{"defaults", []string{"PATH=/bin", "HEEDLESS=1"}, func(*settings) {}},
		{"empty counts as not set", []string{"HEED_WINDOW=", "HEED_BROKERS="}, func(*settings) {}},
		{"everything", []string{"HEED_BROKERS=a:1, b:2,", "HEED_OPEN=true", "HEED_WINDOW=1", "HEED_AFTER=15s", "HEED_BODY=512KiB", "HEED_LEVEL=warn", "HEED_KEY=k=v", "HEED_DIR=/d"}, func(s *settings) {
			*s = settings{Brokers: []string{"a:1", "b:2"}, Open: true, Window: 1, After: 15 * time.Second, Body: 512 << 10, Level: "warn", Key: "k=v", Dir: "/d"}
		}},
		{"secret of a file", []string{"HEED_KEY_FILE=" + file}, func(s *settings) { s.Key = "of the file" }},
		{"another stage's variable", []string{"HEED_OF_ANOTHER=x"}, func(*settings) {}},
	} {
		var got settings
		v := declare(&got)
		v.vars[0].required = c.name == "everything"
		if err := v.Parse(c.environ, []string{"HEED_OF_ANOTHER"}); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := defaults
		c.change(&want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ environ, want string }{
		{"HEED_OPEN=maybe", "HEED_OPEN: want true or false"},
		{"HEED_WINDOW=0", "HEED_WINDOW: want a whole number of at least 1"},
		{"HEED_WINDOW=many", "HEED_WINDOW"},
		{"HEED_AFTER=750", "HEED_AFTER: want a time span such as 15s"},
		{"HEED_AFTER=-1s", "HEED_AFTER"},
		{"HEED_BODY=1MB", "HEED_BODY: want a size such as 1MiB"},
		{"HEED_BODY=-1", "HEED_BODY"},
		{"HEED_BODY=9999999999999GiB", "HEED_BODY"},
		{"HEED_LEVEL=loud", "HEED_LEVEL: want one of info, warn"},
		{"HEED_WINDOWS=1", "HEED_WINDOWS: no such variable (did you mean HEED_WINDOW?)"},
		{"HEED_COMPLETELY_ELSE=1", "(see --help)"},
		{"HEED_KEY_FILE=/no/such/file", "HEED_KEY_FILE"},
		{"HEED_KEY_FILE=" + empty, "is empty"},
		{"HEED_KEY=tops3cret HEED_KEY_FILE=" + empty, "both set"},
	} {
		var s settings
		err := declare(&s).Parse(strings.Fields(c.environ), []string{"HEED_WINDOW"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.environ, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "tops3cret") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestParseReportsAllThatIsWrong(t *testing.T) {
	var s settings
	v := declare(&s)
	v.Required("HEED_DIR")
	v.Required("HEED_KEY")
	err := v.Parse([]string{"HEED_WINDOW=x", "HEED_NONE=1"}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"HEED_WINDOW", "HEED_NONE", "HEED_DIR is not set: Where to spool.", "HEED_KEY or HEED_KEY_FILE is not set"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if err := v.Parse([]string{"HEED_DIR=/d", "HEED_KEY_FILE=/dev/null"}, nil); err == nil || strings.Contains(err.Error(), "is not set") {
		t.Errorf("a required secret may come by its file: %v", err)
	}
}

func TestHelp(t *testing.T) {
	var s settings
	v := declare(&s)
	v.Required("HEED_DIR")
	var b strings.Builder
	v.Help(&b)
	for _, want := range []string{"HEED_BROKERS (default localhost:9092)\n      Where to start.\n", "HEED_DIR (required)", "HEED_AFTER (default 750ms)", "HEED_KEY_FILE", "One of: info, warn."} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("help lacks %q:\n%s", want, &b)
		}
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if len(line) > 90 {
			t.Errorf("line of %d characters: %s", len(line), line)
		}
	}
	if diff := cmp.Diff([]string{"HEED_AFTER", "HEED_BODY", "HEED_BROKERS", "HEED_DIR", "HEED_KEY", "HEED_KEY_FILE", "HEED_LEVEL", "HEED_OPEN", "HEED_WINDOW"}, v.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestDeclareTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a variable was declared twice, and nobody noticed")
		}
	}()
	var s settings
	declare(&s).Bool(&s.Open, "HEED_OPEN", false, "Again.")
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "1KiB": 1 << 10, "3GiB": 3 << 30} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
}
