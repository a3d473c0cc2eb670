package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/env"
)

// tried runs a stage as main would.
func tried(ctx context.Context, t *testing.T, stage Stage, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := process{args: args, environ: environ, stdout: &out, stderr: &errs, budget: time.Minute, exit: func(int) { t.Error("exit") }}
	return p.run(ctx, stage), out.String(), errs.String()
}

func stageOf(run func(context.Context, *Host) error) Stage {
	var brokers []string
	return Stage{
		Name: "ingest", Doc: "ingest takes callbacks.", AdminListen: "127.0.0.1:0",
		Known:   []string{"HEED_ADMIN_LISTEN", "HEED_KAFKA_BROKERS", "HEED_LOG_LEVEL", "HEED_REDIS_URL"},
		Declare: func(v *env.Vars) { v.List(&brokers, "HEED_KAFKA_BROKERS", "localhost:9092", "Brokers.") },
		Check: func() error {
			if len(brokers) > 2 {
				return errors.New("endpoints.yaml:3: no such provider")
			}
			return nil
		},
		Notes: func() []string { return []string{"endpoint a accepts unsigned callbacks"} },
		Run:   run,
	}
}

func TestRunArguments(t *testing.T) {
	stage := stageOf(func(context.Context, *Host) error { t.Error("ran"); return nil })
	for _, c := range []struct {
		name           string
		args, environ  []string
		status         int
		stdout, stderr []string
	}{
		{name: "help", args: []string{"--help"}, stdout: []string{"ingest takes callbacks.", "HEED_KAFKA_BROKERS (default localhost:9092)", "HEED_LOG_LEVEL (default info)", "OTEL_"}},
		{name: "version", args: []string{"--version"}, stdout: []string{"ingest "}},
		{name: "check", args: []string{"--check"}, environ: []string{"HEED_REDIS_URL=redis://x"}, stdout: []string{"is valid", "note: endpoint a accepts unsigned callbacks"}},
		{name: "check of files", args: []string{"--check"}, environ: []string{"HEED_KAFKA_BROKERS=a,b,c"}, status: 2, stderr: []string{"no such provider"}},
		{name: "unknown argument", args: []string{"--port=1"}, status: 2, stderr: []string{`unknown argument "--port=1"`, "--help"}},
		{name: "unknown variable", environ: []string{"HEED_KAFKA_BROKER=x"}, status: 2, stderr: []string{"HEED_KAFKA_BROKER: no such variable (did you mean HEED_KAFKA_BROKERS?)"}},
		{name: "two things wrong", environ: []string{"HEED_NONSENSE=x", "HEED_LOG_LEVEL=loud"}, status: 2, stderr: []string{"HEED_NONSENSE", "HEED_LOG_LEVEL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := tried(t.Context(), t, stage, c.environ, c.args...)
			if status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range c.stdout {
				if !strings.Contains(stdout, want) {
					t.Errorf("stdout lacks %q:\n%s", want, stdout)
				}
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr lacks %q:\n%s", want, stderr)
				}
			}
		})
	}
}

// What the operator says of memory holds; else the stage's own limit does.
func TestRunMemory(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	for _, c := range []struct {
		environ []string
		percent int
		limit   int64
	}{
		{nil, 400, 64 << 20},
		{[]string{"GOGC=50"}, 100, 64 << 20}, // the runtime has read it at its start
		{[]string{"GOMEMLIMIT=1GiB"}, 400, math.MaxInt64},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
		var gotPercent int
		var gotLimit int64
		stage := stageOf(func(context.Context, *Host) error {
			gotLimit, gotPercent = debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
			return nil
		})
		stage.Memory = func() int64 { return 64 << 20 }
		if status, _, stderr := tried(t.Context(), t, stage, c.environ); status != 0 {
			t.Fatal(stderr)
		}
		if gotPercent != c.percent || gotLimit != c.limit {
			t.Errorf("%v: collected at %d %%, under %d bytes", c.environ, gotPercent, gotLimit)
		}
	}
}

func TestRunUntilTheSignal(t *testing.T) {
	ctx, signal := context.WithCancel(t.Context())
	status, _, stderr := tried(ctx, t, stageOf(func(ctx context.Context, _ *Host) error {
		signal()
		<-ctx.Done()
		return nil
	}), nil)
	if status != 0 || !strings.Contains(stderr, `"msg":"stopped"`) {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

func TestRunFails(t *testing.T) {
	status, _, stderr := tried(t.Context(), t, stageOf(func(context.Context, *Host) error { return errors.New("kafka is away") }), nil)
	if status != 1 || !strings.Contains(stderr, "ingest: kafka is away") {
		t.Errorf("status %d\n%s", status, stderr)
	}
}

func TestStopOverBudget(t *testing.T) {
	ctx, signal := context.WithCancel(t.Context())
	ended, exited := make(chan struct{}), make(chan int, 1)
	var out bytes.Buffer
	errs := &guarded{}
	p := process{stdout: &out, stderr: errs, budget: 10 * time.Millisecond, exit: func(status int) { exited <- status; close(ended) }}
	p.run(ctx, stageOf(func(context.Context, *Host) error {
		signal()
		<-ended // a part that never stops, until the process is ended hard
		return nil
	}))
	if status := <-exited; status != 3 || !strings.Contains(errs.String(), "took longer than") {
		t.Errorf("exit %d\n%s", status, errs.String())
	}
}

// guarded is a buffer for several goroutines.
type guarded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *guarded) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// TestUnreadyWhileStarting: the admin port is up before the stage has read its files and listens.
func TestUnreadyWhileStarting(t *testing.T) {
	h := &Host{}
	if status, body := h.readiness(); status != 503 || !strings.Contains(fmt.Sprint(body), "starting") {
		t.Errorf("before any condition: %d %v", status, body)
	}
	h.Ready("kafka", func() error { return nil })
	if status, body := h.readiness(); status != 200 {
		t.Errorf("with its condition: %d %v", status, body)
	}
}
