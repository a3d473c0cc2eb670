package stack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A program is a way to run one kind of server: on this machine, or in a container that shares
// the machine's network and the server's folder, so that nothing else differs.
type program struct {
	executable string // found on PATH; the entrypoint in a container
	image      string // "" on this machine
	classpath  string // Java only
}

// command is the command line that runs the program in dir; name is the container's.
func (p program) command(name, dir string, args ...string) []string {
	if p.image == "" {
		return append([]string{p.executable}, args...)
	}
	// The shell ends the server when its standard input ends, which is when the docker client,
	// and so the test binary, is gone.
	const script = `exec 3<&0; "$@" </dev/null & pid=$!; (cat <&3 >/dev/null; kill -9 $pid) & wait $pid`
	return append([]string{"docker", "run", "--rm", "-i", "--init", "--name", name, "--network", "host",
		"-v", dir + ":" + dir, "--user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()),
		"--entrypoint", "sh", p.image, "-c", script, "sh", p.executable}, args...)
}

// process is a program that this test binary runs: a process group of its own, ended by its id.
type process struct {
	name      string // unique; the container's name
	container bool
	argv      []string
	environ   []string // nil: this binary's
	log       string   // file that gets what the server prints, over all its starts
	ready     string   // what the server prints once it serves

	mu     sync.Mutex
	cmd    *exec.Cmd
	done   chan struct{} // closed when cmd has ended
	failed error         // how it ended; read after done
}

// start starts the server and waits until it says that it serves.
func (p *process) start() error {
	ready, done, err := p.launch()
	if err != nil {
		return fmt.Errorf("stack: start %s: %w", p.name, err)
	}
	timeout := time.NewTimer(readyTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
		return nil
	case <-done:
		return fmt.Errorf("stack: %s ended before it was ready:\n%s", p.name, tail(p.log))
	case <-timeout.C:
		p.kill()
		return fmt.Errorf("stack: %s was not ready after %s:\n%s", p.name, readyTimeout, tail(p.log))
	}
}

func (p *process) launch() (ready, ended <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	output, input, err := os.Pipe()
	if err != nil {
		log.Close()
		return nil, nil, err
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Env = p.environ
	cmd.Stdout, cmd.Stderr = input, input
	cmd.SysProcAttr = dieWithParent()
	if p.container {
		// A pipe that is never written to: it ends when this binary does.
		if _, err := cmd.StdinPipe(); err != nil {
			return nil, nil, errors.Join(err, output.Close(), input.Close(), log.Close())
		}
	}
	if err := fromLastingThread(cmd.Start); err != nil {
		return nil, nil, errors.Join(err, output.Close(), input.Close(), log.Close())
	}
	input.Close()
	seen := make(chan struct{})
	go func() {
		defer output.Close()
		defer log.Close()
		lines := bufio.NewReader(output)
		found := false
		for {
			line, err := lines.ReadString('\n')
			io.WriteString(log, line)
			if !found && strings.Contains(line, p.ready) {
				found = true
				close(seen)
			}
			if err != nil {
				return
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		p.failed = cmd.Wait()
		close(done)
	}()
	p.cmd, p.done = cmd, done
	return seen, done, nil
}

// signal sends a signal to the server and all its children.
func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("stack: %s does not run", p.name)
	}
	select {
	case <-p.done:
		return fmt.Errorf("stack: %s has ended", p.name)
	default:
	}
	if p.container {
		verb := map[syscall.Signal][]string{
			syscall.SIGKILL: {"kill"}, syscall.SIGSTOP: {"pause"}, syscall.SIGCONT: {"unpause"},
		}[s]
		if output, err := exec.Command("docker", append(verb, p.name)...).CombinedOutput(); err != nil {
			return fmt.Errorf("stack: docker %s %s: %w: %s", verb[0], p.name, err, output)
		}
		return nil
	}
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		return fmt.Errorf("stack: %s to %s: %w", s, p.name, err)
	}
	return nil
}

// kill ends the server as kill -9 does and waits until it is gone. Killing what has ended is fine.
func (p *process) kill() {
	if p.signal(syscall.SIGKILL) != nil {
		return
	}
	<-p.ended()
}

// ended is closed when what was started last has ended.
func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// spawner starts processes from one thread that never ends. Linux sends a child its parent-death
// signal when the parent's *thread* is gone, not the process (prctl(2), PR_SET_PDEATHSIG).
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func fromLastingThread(start func() error) error {
	result := make(chan error)
	spawner() <- func() { result <- start() }
	return <-result
}

// tail is the end of a log file, for an error message.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return string(data)
}

// workDir makes a folder for one server's data, held by a lock for as long as this binary runs,
// and removes those whose binary was killed before it could.
func workDir(kind string) (dir string, remove func(), err error) {
	const prefix = "heed-stack-"
	unlock, err := lock(filepath.Join(os.TempDir(), prefix+"lock"), true)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*-*"))
	for _, dir := range old {
		if unlock, err := lock(filepath.Join(dir, "lock"), false); err == nil {
			os.RemoveAll(dir)
			unlock()
		}
	}
	dir, err = os.MkdirTemp("", prefix+kind+"-")
	if err != nil {
		return "", nil, err
	}
	release, err := lock(filepath.Join(dir, "lock"), true)
	if err != nil {
		return "", nil, err
	}
	return dir, func() { os.RemoveAll(dir); release() }, nil
}
