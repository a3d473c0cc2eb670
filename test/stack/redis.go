package stack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a Redis that keeps what it is told (appendonly, noeviction), as Heed asks for.
type Server struct {
	t   testing.TB
	url string
}

// OwnServer is a Redis that its test may break.
type OwnServer struct {
	Server
	data    string
	process *process
	remove  func()
}

// Redis starts a Redis for one test, to do with as it likes, and ends it after the test.
func Redis(t testing.TB) *OwnServer {
	t.Helper()
	program, err := findRedis()
	if err != nil {
		unavailable(t, err)
	}
	s, err := startRedis(program)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(func() {
		keepLogs(t, s.process)
		s.close()
	})
	note(t, "ran", "Redis")
	return s
}

func startRedis(run program) (*OwnServer, error) {
	dir, remove, err := workDir("redis")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(1)
	if err != nil {
		remove()
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		remove()
		return nil, err
	}
	name, addr := filepath.Base(dir), fmt.Sprintf("127.0.0.1:%d", ports[0])
	argv := run.command(name, dir,
		"--bind", "127.0.0.1", "--port", fmt.Sprint(ports[0]), "--dir", data,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
		"--hash-max-listpack-value", "512")
	s := &OwnServer{
		Server: Server{url: "redis://" + addr + "/0"}, data: data, remove: remove,
		process: &process{
			name: name, container: run.image != "", argv: argv,
			log: filepath.Join(dir, "redis.log"), ready: "Ready to accept connections",
		},
	}
	if err := s.process.start(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *OwnServer) lend(t testing.TB) *Server {
	t.Cleanup(func() { keepLogs(t, s.process) })
	note(t, "ran", "Redis")
	return &Server{t: t, url: s.url}
}

func (s *OwnServer) close() {
	s.process.kill()
	s.remove()
}

// URL is the server's address as HEED_REDIS_URL takes it.
func (s *Server) URL() string { return s.url }

// Flush empties the server (FLUSHALL).
func (s *Server) Flush() {
	if err := flush(s.url); err != nil {
		s.t.Errorf("stack: flush Redis: %v", err)
	}
}

func flush(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", u.Host, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	commands := []string{"FLUSHALL"}
	if password, ok := u.User.Password(); ok {
		commands = []string{strings.TrimSpace("AUTH " + u.User.Username() + " " + password), "FLUSHALL"}
	}
	answers := bufio.NewReader(conn)
	for _, command := range commands {
		if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
			return err
		}
		answer, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(answer, "+OK") {
			return errors.New(strings.TrimSpace(answer))
		}
	}
	return nil
}

// Kill ends the server as kill -9 does.
func (s *OwnServer) Kill() { s.process.kill() }

// Stop freezes the server (SIGSTOP): connections stay open, nothing answers.
func (s *OwnServer) Stop() { s.signal(syscall.SIGSTOP) }

// Continue lets a stopped server go on.
func (s *OwnServer) Continue() { s.signal(syscall.SIGCONT) }

func (s *OwnServer) signal(sig syscall.Signal) {
	if err := s.process.signal(sig); err != nil {
		s.t.Error(err)
	}
}

// Restart kills the server if it runs and starts it again on its port with what its append-only
// file kept.
func (s *OwnServer) Restart() {
	s.process.kill()
	if err := s.process.start(); err != nil {
		s.t.Error(err)
	}
}

// RestartEmpty is Restart after the data were lost.
func (s *OwnServer) RestartEmpty() {
	s.process.kill()
	entries, err := os.ReadDir(s.data)
	if err != nil {
		s.t.Error(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(s.data, e.Name())); err != nil {
			s.t.Error(err)
		}
	}
	if err := s.process.start(); err != nil {
		s.t.Error(err)
	}
}

// Save copies what the server has on disk. The function that it returns kills the server and
// starts it again with that: an old snapshot, restored.
func (s *OwnServer) Save() (restore func()) {
	s.t.Helper()
	saved := s.t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(s.data)); err != nil {
		s.t.Fatalf("stack: copying Redis's files: %v", err)
	}
	return func() {
		s.t.Helper()
		s.Kill()
		err := os.RemoveAll(s.data)
		if err == nil {
			err = os.CopyFS(s.data, os.DirFS(saved))
		}
		if err != nil {
			s.t.Fatalf("stack: restoring Redis's files: %v", err)
		}
		s.Restart()
	}
}
