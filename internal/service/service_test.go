package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/service/servicetest"
)

// greeter is a stage for tests: it counts one thing, is ready when told, and runs until it is
// stopped.
type greeter struct {
	greeting string
	ready    chan struct{} // closed: ready
}

func newGreeter() (*greeter, service.Stage) {
	g := &greeter{ready: make(chan struct{})}
	return g, service.Stage{
		Name:        "greeter",
		Doc:         "greeter greets.",
		Known:       []string{"HEED_GREETING", "HEED_ADMIN_LISTEN", "HEED_LOG_LEVEL", "HEED_OF_ANOTHER"},
		AdminListen: "127.0.0.1:0",
		Declare:     func(v *env.Vars) { v.String(&g.greeting, "HEED_GREETING", "hello", "What to say.") },
		Run: func(ctx context.Context, host *service.Host) error {
			host.Ready("greeting", func() error {
				select {
				case <-g.ready:
					return nil
				default:
					return errors.New("not yet in the mood")
				}
			})
			n, err := host.Meter.Int64Counter("heed_greeter_greetings")
			if err != nil {
				return err
			}
			n.Add(ctx, 1, metric.WithAttributes(attribute.String("word", g.greeting)))
			l, err := host.Listen("data", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer func() { _ = l.Close() }()
			return host.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		},
	}
}

func start(ctx context.Context, t *testing.T, stage service.Stage, environ ...string) (*service.Running, *servicetest.Logs) {
	t.Helper()
	logs := &servicetest.Logs{}
	r, err := service.Start(ctx, stage, environ, logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(); _ = r.Wait() })
	if r.Addr(ctx, "data") == "" {
		t.Fatal("the stage did not listen")
	}
	return r, logs
}

func TestTwoOfOneStageInOneProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, one := newGreeter()
	_, two := newGreeter()
	a, _ := start(ctx, t, one, "HEED_GREETING=hello")
	b, logs := start(ctx, t, two, "HEED_GREETING=salut", "HEED_OF_ANOTHER=x")
	for _, c := range []struct {
		running   *service.Running
		has, hasn string
	}{{a, `word="hello"`, `word="salut"`}, {b, `word="salut"`, `word="hello"`}} {
		_, page := servicetest.Page(ctx, t, c.running, "/metrics")
		if !strings.Contains(page, c.has) || strings.Contains(page, c.hasn) {
			t.Errorf("metrics are mixed up: want %s and not %s", c.has, c.hasn)
		}
		for _, name := range []string{"heed_build_info{", "go_goroutine_count", "process_cpu_seconds_total", "target_info{"} {
			if !strings.Contains(page, name) {
				t.Errorf("the page lacks %s", name)
			}
		}
	}
	b.Stop()
	if err := b.Wait(); err != nil {
		t.Errorf("an orderly stop ends with %v", err)
	}
	if status, _ := servicetest.Page(ctx, t, a, "/livez"); status != 200 {
		t.Error("stopping one stopped the other")
	}
	var line struct{ Msg, Service, Level string }
	first, _, _ := strings.Cut(logs.String(), "\n")
	if err := json.Unmarshal([]byte(first), &line); err != nil || line.Service != "greeter" || line.Msg != "started" {
		t.Errorf("first log line %q: %v", first, err)
	}
}

func TestReadiness(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g, stage := newGreeter()
	r, _ := start(ctx, t, stage)
	status, body := servicetest.Page(ctx, t, r, "/readyz")
	if status != 503 || !strings.Contains(body, "not yet in the mood") {
		t.Errorf("before: %d %s", status, body)
	}
	if status, _ := servicetest.Page(ctx, t, r, "/livez"); status != 200 {
		t.Errorf("/livez must not depend on readiness: %d", status)
	}
	close(g.ready)
	if status, body := servicetest.Page(ctx, t, r, "/readyz"); status != 200 || !strings.Contains(body, "ready") {
		t.Errorf("after: %d %s", status, body)
	}
	if status, body := servicetest.Page(ctx, t, r, "/version"); status != 200 || !strings.Contains(body, `"service":"greeter"`) {
		t.Errorf("/version: %d %s", status, body)
	}
	if status, _ := servicetest.Page(ctx, t, r, "/debug/pprof/goroutine?debug=1"); status != 200 {
		t.Errorf("pprof: %d", status)
	}
}

// TestUnreadyWhileStopping holds the stop open and looks at /readyz meanwhile.
func TestUnreadyWhileStopping(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stopping, release := make(chan struct{}), make(chan struct{})
	stage := service.Stage{Name: "slow", AdminListen: "127.0.0.1:0", Declare: func(*env.Vars) {}, Run: func(ctx context.Context, host *service.Host) error {
		if _, err := host.Listen("data", "127.0.0.1:0"); err != nil {
			return err
		}
		<-ctx.Done()
		close(stopping)
		<-release
		return errors.New("three events were not flushed")
	}}
	r, _ := start(ctx, t, stage)
	r.Stop()
	<-stopping
	for ctx.Err() == nil { // draining is set beside the stage's own reaction
		if status, body := servicetest.Page(ctx, t, r, "/readyz"); status == 503 && strings.Contains(body, "stopping") {
			break
		}
	}
	close(release)
	if err := r.Wait(); err == nil || !strings.Contains(err.Error(), "not flushed") {
		t.Errorf("what went wrong while stopping is lost: %v", err)
	}
}

func TestHostRun(t *testing.T) {
	h := &service.Host{}
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	broken := errors.New("broken")
	for _, c := range []struct {
		name  string
		parts []func(context.Context) error
		want  error
	}{
		{"one fails, the others end", []func(context.Context) error{waits, func(context.Context) error { return broken }}, broken},
		{"a part that is cancelled by nobody has failed", []func(context.Context) error{waits, func(context.Context) error { return context.Canceled }}, context.Canceled},
		{"all done", []func(context.Context) error{func(context.Context) error { return nil }}, nil},
	} {
		if err := h.Run(t.Context(), c.parts...); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Run(ctx, waits); err != nil {
		t.Errorf("ending because the context ended is no failure: %v", err)
	}
	late := func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("flush: %w", broken) }
	if err := h.Run(ctx, waits, late); !errors.Is(err, broken) {
		t.Errorf("a failure while stopping is lost: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	_, stage := newGreeter()
	for _, c := range []struct{ environ, want string }{
		{"HEED_GREETNG=x", "did you mean HEED_GREETING?"},
		{"HEED_LOG_LEVEL=loud", "one of debug, info, warn, error"},
		{"HEED_ADMIN_LISTEN=nowhere:port", "HEED_ADMIN_LISTEN"},
	} {
		_, err := service.Start(t.Context(), stage, []string{c.environ}, &servicetest.Logs{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.environ, err, c.want)
		}
	}
}

func TestNothingPersonalFinds(t *testing.T) {
	for said, want := range map[string]bool{
		`{"msg":"from +919812345678"}`:   true,
		`{"msg":"from 919812345678"}`:    true,
		`q=text%3DSTOP+all`:              false,
		"KzkxOTgxMjM0NTY3OA==":           true, // base64 of +919812345678
		"3931393831323334353637 38":      false,
		"393139383132333435363738":       true,
		`{"subject":"1v7f0ptt9bqjx6b2"}`: false,
	} {
		probe := &finding{TB: t}
		servicetest.NothingPersonal(probe, "a log", said, "+919812345678")
		if probe.failed != want {
			t.Errorf("%s: found %v, want %v", said, probe.failed, want)
		}
	}
}

type finding struct {
	testing.TB
	failed bool
}

func (f *finding) Errorf(string, ...any) { f.failed = true }
func (f *finding) Helper()               {}
