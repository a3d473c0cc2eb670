package ingest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/heedhq/heed/schemas"
)

// digest chains what was read.
type digest [sha256.Size]byte

func (d *digest) add(data []byte) { *d = sha256.Sum256(append(d[:], data...)) }

// reloadEvery is how often the files are looked at. Reading beats watching here: mounted
// configuration is changed by swapping symbolic links several folders up, which watchers miss.
const reloadEvery = 2 * time.Second

// reloader keeps the handler's routes as the endpoints file says, and the last good ones when
// the file is bad.
type reloader struct {
	config  *config
	handler *handler
	log     *slog.Logger

	seen  digest                 // of the last try, good or bad
	paths []string               // of the secret files
	stale atomic.Pointer[string] // why the routes are not those of the file; nil: they are
	loads atomic.Int64           // good loads so far
}

// run looks at the files until ctx ends.
func (l *reloader) run(ctx context.Context, now <-chan struct{}) error {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-now:
			l.load()
		case <-tick.C:
			if l.changed() {
				l.load()
			}
		}
	}
}

// changed says whether the bytes of the files differ from those of the last try, without
// understanding them.
func (l *reloader) changed() bool {
	var d digest
	data, err := os.ReadFile(l.config.endpointsFile)
	if err != nil {
		return l.stale.Load() == nil
	}
	d.add(data)
	for _, path := range l.paths {
		secret, _ := os.ReadFile(path) // a missing one differs from what it was
		d.add(secret)
	}
	return d != l.seen
}

// load reads the files and swaps the routes in one step, or says why not.
func (l *reloader) load() {
	endpoints, seen, err := l.config.readEndpoints()
	l.seen = seen
	var table routes
	if err == nil {
		table, err = makeRoutes(endpoints, *l.handler.routes.Load(), &l.handler.tallies)
	}
	if err != nil {
		why := "the endpoints file is not taken, the endpoints stay as they were: " + strings.ReplaceAll(err.Error(), "\n", "; ")
		l.stale.Store(&why)
		l.log.Error("endpoints not reloaded", "file", l.config.endpointsFile, "error", err)
		return
	}
	l.take(endpoints, seen, table)
	l.log.Info("endpoints loaded", "file", l.config.endpointsFile, "endpoints", len(table))
}

func (l *reloader) take(endpoints []schemas.Endpoint, seen digest, table routes) {
	l.seen, l.paths = seen, nil
	for _, e := range endpoints {
		for _, v := range e.Verify {
			l.paths = append(l.paths, v.SecretFile...)
		}
		if e.Handshake != nil {
			l.paths = append(l.paths, e.Handshake.TokenFile...)
		}
	}
	l.handler.routes.Store(&table)
	l.stale.Store(nil)
	l.loads.Add(1)
}

// first loads the endpoints at the start; there is nothing to fall back on.
func (l *reloader) first() error {
	endpoints, seen, err := l.config.readEndpoints()
	if err != nil {
		return fmt.Errorf("%s:\n%w", l.config.endpointsFile, err)
	}
	table, err := makeRoutes(endpoints, nil, &l.handler.tallies)
	if err != nil {
		return fmt.Errorf("%s:\n%w", l.config.endpointsFile, err)
	}
	l.take(endpoints, seen, table)
	return nil
}

// note is what /readyz says.
func (l *reloader) note() string {
	if why := l.stale.Load(); why != nil {
		return *why
	}
	return ""
}
