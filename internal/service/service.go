// Package service is the shell around each of Heed's programs: flags, configuration, logs,
// telemetry, the admin port, signals and the graceful stop. A program's main is one line,
// service.Main(stage), and its Run tells the rest.
//
// Only this package handles signals, flags and os.Exit. It keeps nothing in package variables:
// several stages, or two of the same, can run in one process (Start), and a test does so.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/telemetry"
)

// StopBudget is how long a graceful stop may take: 10 s to finish requests and deliveries in
// flight, 10 s to flush what was produced, 5 s for the last commit and leaving the group, 5 s
// for telemetry. The orchestrator's own limit must be longer (terminationGracePeriodSeconds 45).
// After it Main ends the process hard; what was acknowledged stands on Kafka all the same.
const StopBudget = 30 * time.Second

// Stage is one program.
type Stage struct {
	Name        string
	Doc         string          // what --help prints above the variables
	Known       []string        // the HEED_ names of all stages
	AdminListen string          // default of HEED_ADMIN_LISTEN
	Declare     func(*env.Vars) // declares the stage's variables
	Check       func() error    // what --check looks at beyond the variables: files; may be nil
	Notes       func() []string // what is valid but should be known (an unsigned delivery); printed by --check, logged at start; may be nil
	Run         func(context.Context, *Host) error

	// Memory is what the stage takes at most by its own limits, in bytes; nil: it has none. Main lets
	// garbage be collected seldom below it.
	Memory func() int64
}

// Host is what a running stage gets from its shell.
type Host struct {
	Name       string
	Instance   string // unique per process start
	Version    string
	Log        *slog.Logger
	Meter      metric.Meter
	Tracer     trace.Tracer
	Meters     metric.MeterProvider // for instrumentation libraries (otelhttp, redisconn)
	Traces     trace.TracerProvider
	Propagator propagation.TextMapPropagator

	mu        sync.Mutex
	ready     []readiness
	notes     []note
	draining  bool
	listening map[string]string
	changed   chan struct{} // closed and renewed when listening changes
	reloads   chan struct{} // holds one request to reload
}

type readiness struct {
	name  string
	check func() error
}

// Ready adds a condition to /readyz: check returns why the stage is not ready, or nil. It is
// called for each request and must not block. Before the first one /readyz says that the stage is
// starting, so a stage adds it when it listens.
func (h *Host) Ready(name string, check func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = append(h.ready, readiness{name, check})
}

type note struct {
	name string
	text func() string
}

// Note adds a line to the body of /readyz that doesn't make the stage unready: what an operator
// should know of a stage that works all the same. text gives "" when there is nothing to say; it
// is called for each request and must not block.
func (h *Host) Note(name string, text func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notes = append(h.notes, note{name, text})
}

// Reloads delivers when the stage is asked to read its files again (SIGHUP, Running.Reload).
func (h *Host) Reloads() <-chan struct{} { return h.reloads }

// Listen opens a TCP listener and remembers its address under name ("data", "admin"), where
// Running.Addr finds it.
func (h *Host) Listen(name, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listening[name] = l.Addr().String()
	close(h.changed)
	h.changed = make(chan struct{})
	return l, nil
}

// Run runs parts until ctx ends or one of them fails, then ends the others and waits for all.
// It returns the first failure, also one that comes up while stopping; ending because ctx ended
// is none. A part that returns nil early has done its work; the others go on.
func (h *Host) Run(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for _, part := range parts {
		wg.Go(func() {
			err := part(ctx)
			if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			cancel()
		})
	}
	wg.Wait()
	return first
}

// Main runs the stage as this process's program and does not return.
func Main(stage Stage) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	p := process{args: os.Args[1:], environ: os.Environ(), stdout: os.Stdout, stderr: os.Stderr, budget: StopBudget + 5*time.Second, exit: os.Exit}
	os.Exit(p.run(ctx, stage))
}

// process is what Main takes from the operating system.
type process struct {
	args, environ  []string
	stdout, stderr io.Writer
	budget         time.Duration // how long a stop may take before exit(3)
	exit           func(int)
}

// run runs the stage until ctx ends, which is the signal to stop, and returns the exit status.
func (p process) run(ctx context.Context, stage Stage) int {
	args, environ, stdout, stderr := p.args, p.environ, p.stdout, p.stderr
	vars, shell := stage.declare()
	check := false
	for _, arg := range args {
		switch arg {
		case "--help", "-h", "-help":
			stage.Help(stdout)
			return 0
		case "--version", "-version":
			fmt.Fprintf(stdout, "%s %s\n", stage.Name, Version())
			return 0
		case "--check", "-check":
			check = true
		default:
			fmt.Fprintf(stderr, "%s: unknown argument %q (see %s --help)\n", stage.Name, arg, stage.Name)
			return 2
		}
	}
	err := vars.Parse(environ, stage.Known)
	if err == nil && stage.Check != nil {
		err = stage.Check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: the configuration is not valid:\n%v\n", stage.Name, err)
		return 2
	}
	if check {
		fmt.Fprintf(stdout, "%s: the configuration is valid\n", stage.Name)
		for _, note := range stage.notes() {
			fmt.Fprintf(stdout, "  note: %s\n", note)
		}
		return 0
	}
	if stage.Memory != nil {
		collectSeldom(stage.Memory(), environ)
	}
	over := make(chan struct{})
	defer close(over)
	context.AfterFunc(ctx, func() {
		select {
		case <-over:
		case <-time.After(p.budget):
			fmt.Fprintf(stderr, "%s: the stop took longer than %s\n", stage.Name, p.budget)
			p.exit(3)
		}
	})
	running, err := start(ctx, stage, shell, stderr)
	if err == nil {
		telemetry.HandleErrors(running.host.Log) // process-wide, so here and not in start
		go reloadOnSignal(running, over)
		err = running.Wait()
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", stage.Name, err)
		return 1
	}
	return 0
}

// collectSeldom lets garbage grow to four times what is in use, where Go's default is once, as long
// as the process stays under memory: at high load that is one collection in place of four. GOGC and
// GOMEMLIMIT of the operator's hold as the Go documentation says.
func collectSeldom(memory int64, environ []string) {
	given := func(name string) bool {
		return slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	}
	if !given("GOGC") {
		debug.SetGCPercent(400)
	}
	if !given("GOMEMLIMIT") {
		debug.SetMemoryLimit(memory)
	}
}

// reloadOnSignal passes SIGHUP on until over is closed.
func reloadOnSignal(r *Running, over <-chan struct{}) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			r.Reload()
		case <-over:
			return
		}
	}
}

// Help prints what --help prints: the manual, and every variable.
func (s Stage) Help(w io.Writer) {
	vars, _ := s.declare()
	fmt.Fprintf(w, "%s\n\nUsage: %s [--help | --check | --version]\n\nConfiguration comes from the environment only:\n\n", s.Doc, s.Name)
	vars.Help(w)
	fmt.Fprintf(w, "\nOpenTelemetry's own variables (OTEL_...) hold as its documentation says; nothing is pushed without\nOTEL_EXPORTER_OTLP_ENDPOINT or one of its kind.\n")
}

// Variables lists the names of every variable that the stage reads.
func (s Stage) Variables() []string {
	vars, _ := s.declare()
	return vars.Names()
}

type shell struct {
	admin string
	level string
}

func (s *Stage) declare() (*env.Vars, *shell) {
	vars, sh := &env.Vars{}, &shell{}
	s.Declare(vars)
	vars.String(&sh.admin, "HEED_ADMIN_LISTEN", s.AdminListen, "Admin port: /livez, /readyz, /metrics, /version, /debug/pprof/.")
	vars.Enum(&sh.level, "HEED_LOG_LEVEL", "info", []string{"debug", "info", "warn", "error"}, "Least severe log line that is written.")
	return vars, sh
}

func (s *Stage) notes() []string {
	if s.Notes == nil {
		return nil
	}
	return s.Notes()
}

// Running is a stage that runs in this process.
type Running struct {
	host *Host
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Start runs the stage in this process with environ in place of the process's own environment,
// until ctx ends or Stop is called. Logs go to logs.
func Start(ctx context.Context, stage Stage, environ []string, logs io.Writer) (*Running, error) {
	vars, sh := stage.declare()
	if err := vars.Parse(environ, stage.Known); err != nil {
		return nil, fmt.Errorf("%s: %w", stage.Name, err)
	}
	if stage.Check != nil {
		if err := stage.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", stage.Name, err)
		}
	}
	return start(ctx, stage, sh, logs)
}

func start(ctx context.Context, stage Stage, sh *shell, logs io.Writer) (*Running, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(sh.level)); err != nil {
		return nil, err
	}
	host := &Host{
		Name:      stage.Name,
		Instance:  newInstance(),
		Version:   Version(),
		Log:       telemetry.NewLogger(logs, level).With("service", stage.Name),
		listening: map[string]string{},
		changed:   make(chan struct{}),
		reloads:   make(chan struct{}, 1),
	}
	tel, err := telemetry.Open(ctx, telemetry.Identity{Service: "heed-" + stage.Name, Instance: host.Instance, Version: host.Version})
	if err != nil {
		return nil, err
	}
	host.Meter, host.Tracer, host.Propagator = tel.Meter, tel.Tracer, tel.Propagator
	host.Meters, host.Traces = tel.Meters, tel.Traces
	listener, err := host.Listen("admin", sh.admin)
	if err != nil {
		_ = tel.Shutdown(ctx)
		return nil, fmt.Errorf("HEED_ADMIN_LISTEN: %w", err)
	}
	admin := &http.Server{Handler: host.adminHandler(tel.Metrics), ReadHeaderTimeout: 5 * time.Second, ErrorLog: host.ServerLog()}
	go func() { _ = admin.Serve(listener) }()

	ctx, cancel := context.WithCancel(ctx)
	r := &Running{host: host, stop: cancel, done: make(chan struct{})}
	context.AfterFunc(ctx, host.drain)
	go func() {
		defer close(r.done)
		defer cancel()
		host.Log.Info("started", "version", host.Version, "instance", host.Instance)
		for _, note := range stage.notes() {
			host.Log.Warn("note on the configuration", "note", note)
		}
		r.err = stage.Run(ctx, host)
		host.drain()
		flush, cancelFlush := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancelFlush()
		if err := tel.Shutdown(flush); err != nil {
			host.Log.Warn("telemetry was not flushed", "error", err)
		}
		_ = admin.Close()
		host.Log.Info("stopped")
	}()
	return r, nil
}

func (h *Host) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Addr waits until the stage listens under name and gives the address; "" when the stage ends
// first or ctx does.
func (r *Running) Addr(ctx context.Context, name string) string {
	for {
		r.host.mu.Lock()
		addr, changed := r.host.listening[name], r.host.changed
		r.host.mu.Unlock()
		if addr != "" {
			return addr
		}
		select {
		case <-changed:
		case <-r.done:
			return ""
		case <-ctx.Done():
			return ""
		}
	}
}

// Stop asks the stage to stop gracefully; Wait tells when it has.
func (r *Running) Stop() { r.stop() }

// Reload asks the stage to read its files again; stages that have none ignore it.
func (r *Running) Reload() {
	select {
	case r.host.reloads <- struct{}{}:
	default: // one is waiting already, and will see the files as they are now
	}
}

// Wait returns when the stage has ended, with its failure.
func (r *Running) Wait() error {
	<-r.done
	return r.err
}

// Done is closed when the stage has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// version is set by the linker: -X github.com/heedhq/heed/internal/service.version=…
var version string

// Version is the program's version: stamped by make, else the module's, else "devel".
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
