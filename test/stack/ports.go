package stack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Ports come from below the range that Linux (32768) and macOS (49152) give to outgoing
// connections, so that nobody takes a killed server's port before it is restarted.
const firstPort, lastPort = 21000, 31999

// freePorts reserves n loopback ports for as long as this binary runs, against other test
// binaries too: each is held by a lock file.
func freePorts(n int) ([]int, error) {
	dir := filepath.Join(os.TempDir(), "heed-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		unlock, err := lock(filepath.Join(dir, strconv.Itoa(port)), false)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			unlock()
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	return nil, errors.New("stack: no free ports")
}

// Ports reserves n loopback ports for as long as this test binary runs.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	ports, err := freePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

// lock takes the lock file's exclusive lock, which ends with this process at the latest; where
// another holds it, lock waits or fails.
func lock(path string, wait bool) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
	}
}
