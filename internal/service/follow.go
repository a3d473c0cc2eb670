package service

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Followed is a configuration file that is read again when it changes, or a file that it names
// does. A bad one changes nothing: what was taken last holds, and the stage says so.
type Followed struct {
	Host *Host
	Name string // what stands in the file ("endpoints"), for the log and for Note
	File string

	// Take reads the file, and all that it names, through read, by which changes are noticed. It
	// takes what they say whole or not at all, and says how many entries that are.
	Take func(read func(path string) ([]byte, error)) (int, error)
	// Reloaded hears how each reading after the first went; may be nil.
	Reloaded func(error)

	seen  sight                  // of the last try, good or bad
	stale atomic.Pointer[string] // why what holds is not what the file says; nil: it is
}

// A change is taken within followWithin, once the files have held still for settled: an editor or a
// copy may have written half of one, and half a list of endpoints is a good list. Reading beats
// watching here: mounted configuration is changed by swapping symbolic links several folders up,
// which watchers miss.
const (
	followWithin = 2 * time.Second
	settled      = 250 * time.Millisecond
)

// Load reads the file at the start, when there is nothing to fall back on.
func (f *Followed) Load() error {
	if _, err := f.take(); err != nil {
		return fmt.Errorf("%s:\n%w", f.File, err)
	}
	return nil
}

// Run follows the file until ctx ends: on change, and when the stage is asked to.
func (f *Followed) Run(ctx context.Context) error {
	look := time.NewTimer(followWithin - settled)
	defer look.Stop()
	last := f.seen.sum
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.Host.Reloads():
			f.reload()
			last = f.seen.sum
		case <-look.C:
			now, pause := f.seen.now(), followWithin-settled
			switch {
			case now == f.seen.sum:
			case now != last:
				pause = settled
			default:
				f.reload()
				now = f.seen.sum
			}
			last = now
			look.Reset(pause)
		}
	}
}

// Note says why what holds is not what the file says; "" while it is.
func (f *Followed) Note() string {
	if why := f.stale.Load(); why != nil {
		return *why
	}
	return ""
}

// Stale is Note as a gauge.
func (f *Followed) Stale() int64 {
	if f.Note() != "" {
		return 1
	}
	return 0
}

func (f *Followed) take() (int, error) {
	f.seen = sight{}
	return f.Take(f.seen.read)
}

func (f *Followed) reload() {
	n, err := f.take()
	if err != nil {
		why := fmt.Sprintf("the %s file is not taken, the %s stay as they were: %s", f.Name, f.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
		f.stale.Store(&why)
		f.Host.Log.Error(f.Name+" not reloaded", "file", f.File, "error", err)
	} else {
		f.stale.Store(nil)
		f.Host.Log.Info(f.Name+" loaded", "file", f.File, f.Name, n)
	}
	if f.Reloaded != nil {
		f.Reloaded(err)
	}
}

// sight is what files held when they were read, in that order. A file that can't be read has its
// error for content.
type sight struct {
	paths []string
	sum   [sha256.Size]byte
}

func (s *sight) read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	held := data
	if err != nil {
		held = []byte(err.Error())
	}
	s.paths = append(s.paths, path)
	s.sum = sha256.Sum256(append(s.sum[:], held...))
	return data, err
}

// now is the sum of what the same files hold now.
func (s *sight) now() [sha256.Size]byte {
	var now sight
	for _, path := range s.paths {
		_, _ = now.read(path) // its error is its content
	}
	return now.sum
}
