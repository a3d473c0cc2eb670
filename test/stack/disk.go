package stack

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Disk is a small file system in memory that one program sees and a test may fill, or make
// read-only: what mode bits can't do to root, and a fake file can't do to a program. It lives in
// the program's own mount namespace and ends with it.
type Disk struct {
	t   testing.TB
	dir string
}

// NewDisk makes a disk to be mounted on dir.
func NewDisk(t testing.TB, dir string) *Disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &Disk{t, dir}
	probe := d.In("ro", "true")
	if out, err := exec.Command(probe[0], probe[1:]...).CombinedOutput(); err != nil {
		unavailable(t, &diskError{err, string(out)})
	}
	note(t, "ran", "a disk of its own")
	return d
}

type diskError struct {
	err error
	out string
}

func (e *diskError) Error() string {
	return "no file system can be mounted here: " + e.err.Error() + ": " + e.out
}

// In is the command that runs argv with the disk mounted with the options, such as "size=1m".
func (d *Disk) In(options string, argv ...string) []string {
	const script = `mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"`
	return append([]string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", options, d.dir}, argv...)
}

// Remount changes the options of the disk that the running program sees.
func (d *Disk) Remount(p *Program, options string) {
	d.t.Helper()
	p.process.mu.Lock()
	pid := strconv.Itoa(p.process.cmd.Process.Pid)
	p.process.mu.Unlock()
	out, err := exec.Command("nsenter", "--target", pid, "--user", "--mount", "--preserve-credentials", "mount", "-o", "remount,"+options, d.dir).CombinedOutput()
	if err != nil {
		d.t.Fatalf("stack: remount %s: %v: %s", options, err, out)
	}
}
