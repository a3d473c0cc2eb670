package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// followed is a file with a list of files, all of which have to be there.
type followed struct {
	Followed
	t       *testing.T
	dir     string
	log     bytes.Buffer
	mu      sync.Mutex
	holds   string // the contents that were taken last
	tries   int
	reloads []bool // whether each was good
}

func follow(t *testing.T) *followed {
	f := &followed{t: t, dir: t.TempDir()}
	f.Followed = Followed{
		Host:     &Host{Log: slog.New(slog.NewTextHandler(&f.log, nil)), reloads: make(chan struct{}, 1)},
		Name:     "names",
		File:     filepath.Join(f.dir, "list"),
		Reloaded: func(err error) { f.reloads = append(f.reloads, err == nil) },
		Take: func(read func(string) ([]byte, error)) (int, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.tries++
			list, err := read(filepath.Join(f.dir, "list"))
			if err != nil {
				return 0, err
			}
			var all []string
			var wrong []error
			for _, name := range strings.Fields(string(list)) {
				content, err := read(filepath.Join(f.dir, name))
				all, wrong = append(all, string(content)), append(wrong, err)
			}
			if err := errors.Join(wrong...); err != nil {
				return 0, err
			}
			f.holds = strings.Join(all, " ")
			return len(all), nil
		},
	}
	return f
}

func (f *followed) write(name, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *followed) read(name string) string {
	f.t.Helper()
	content, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(content)
}

func (f *followed) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

// after lets d pass and compares what holds, and what the note names ("" for no note).
func (f *followed) after(d time.Duration, what, holds, note string, tries int) {
	f.t.Helper()
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds != holds || f.tries != tries {
		f.t.Errorf("%s: %q holds after %d tries, want %q after %d", what, f.holds, f.tries, holds, tries)
	}
	if got := f.Note(); (note == "") != (got == "") || !strings.Contains(got, note) || (f.Stale() == 1) != (note != "") {
		f.t.Errorf("%s: the note is %q (stale %d), want one with %q", what, got, f.Stale(), note)
	}
}

func TestFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t)
		if err := f.Load(); err == nil || !strings.Contains(err.Error(), f.File) {
			t.Errorf("without a file it starts, or doesn't name it: %v", err)
		}
		f.write("list", "a b")
		f.write("a", "1")
		f.write("b", "2")
		if err := f.Load(); err != nil {
			t.Fatal(err)
		}
		if len(f.reloads) != 0 {
			t.Error("the first reading counts as a reload")
		}
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- f.Run(ctx) }()

		f.after(time.Minute, "nothing changed", "1 2", "", 2)
		f.write("b", "3")
		f.after(followWithin, "a named file changed", "1 3", "", 3)
		f.write("list", "b a")
		f.after(followWithin, "the file changed", "3 1", "", 4)
		f.Host.reloads <- struct{}{}
		f.after(0, "asked to", "3 1", "", 5)

		f.write("list", "a gone\nlost")
		f.after(time.Minute, "a bad file is tried once", "3 1", "the names file is not taken, the names stay as they were: ", 6)
		if note := f.Note(); !strings.Contains(note, "gone") || !strings.Contains(note, "lost") || strings.Contains(note, "\n") {
			t.Errorf("the note is not all errors in one line: %q", note)
		}
		f.write("gone", "4")
		f.after(followWithin, "what only the bad file names changed", "3 1", "lost", 7)
		f.write("lost", "")
		f.after(followWithin, "an empty file differs from a missing one", "1 4 ", "", 8)
		f.remove("list")
		f.after(time.Minute, "the file went", "1 4 ", "no such file", 9)
		f.write("list", "a")
		f.after(followWithin, "it came back", "1", "", 10)

		f.write("a", "")
		for range 20 { // twice followWithin and more
			f.write("a", strings.Repeat("x", 1+len(f.read("a"))))
			f.after(settled-time.Millisecond, "a file that is being written", "1", "", 10)
		}
		f.after(followWithin, "it held still", strings.Repeat("x", 20), "", 11)

		stop()
		if err := <-over; err != nil {
			t.Error(err)
		}
		if n, bad := strings.Count(f.log.String(), "names loaded"), strings.Count(f.log.String(), "names not reloaded"); n != 6 || bad != 3 || len(f.reloads) != 9 {
			t.Errorf("%d loaded, %d not, %v:\n%s", n, bad, f.reloads, &f.log)
		}
	})
}
