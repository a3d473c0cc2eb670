package stack

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Program is a program of ours that a test runs as a process of its own, and may break. It ends
// with the test, and with the test binary.
type Program struct {
	t       testing.TB
	process *process
}

// NewProgram makes a program that Start starts. Its environment is environ alone.
func NewProgram(t testing.TB, name string, environ []string, argv ...string) *Program {
	t.Helper()
	p := &Program{t: t, process: &process{
		name: name, argv: argv, environ: environ, log: filepath.Join(t.TempDir(), name+".log"),
	}}
	t.Cleanup(func() {
		p.process.kill()
		keepLogs(t, p.process)
	})
	return p
}

// Start starts the program and does not wait until it serves.
func (p *Program) Start() {
	if _, _, err := p.process.launch(); err != nil {
		p.t.Errorf("stack: start %s: %v", p.process.name, err)
	}
}

// Kill ends the program as kill -9 does and waits until it is gone.
func (p *Program) Kill() { p.process.kill() }

// End asks the program to stop (SIGTERM) and waits until it has; an exit status that is not 0,
// or a stop that takes longer than limit, fails the test.
func (p *Program) End(limit time.Duration) {
	if err := p.process.signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.process.ended():
		if p.process.failed != nil {
			p.t.Errorf("stack: %s ended with %v:\n%s", p.process.name, p.process.failed, tail(p.process.log))
		}
	case <-timer.C:
		p.t.Errorf("stack: %s has not ended %s after SIGTERM", p.process.name, limit)
		p.process.kill()
	}
}

// Ended is closed when the program, as it was started last, has ended.
func (p *Program) Ended() <-chan struct{} { return p.process.ended() }

// Log is the end of what the program has printed.
func (p *Program) Log() string { return tail(p.process.log) }
