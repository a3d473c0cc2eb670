package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/test/stack"
)

// TestDisk: Kafka hangs, and the spool's disk is read-only, then full: 503 within 2 s, and
// /readyz says what is wrong with both. With room on the disk callbacks are taken again, and
// whatever was answered 200 is on Kafka in the end.
func TestDisk(t *testing.T) {
	var disk *stack.Disk
	e := startOn(t, 1, func(dir, binary string) []string {
		disk = stack.NewDisk(t, dir)
		return disk.In("size=1m,ro", binary)
	})
	l := &ledger{accepted: map[int]bool{}, statuses: map[int]int{}}
	client := &http.Client{Timeout: 10 * time.Second}
	n := 0
	send := func() int {
		n++
		before := l.statuses[http.StatusOK]
		l.send(client, e.url, n, 0)
		if l.statuses[http.StatusOK] > before {
			return http.StatusOK
		}
		return http.StatusServiceUnavailable // check looks at what else there is
	}
	unready := func(why string) {
		t.Helper()
		e.until("unready with "+why, func() bool {
			status, text := e.look("/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(text, `"kafka":"`) && strings.Contains(text, why)
		})
	}
	e.cluster.Nodes[0].Stop()
	for range 3 {
		if send() != http.StatusServiceUnavailable {
			t.Error("taken with a read-only disk and no Kafka")
		}
	}
	unready("read-only file system")
	if log := e.program.Log(); !strings.Contains(log, "read-only file system") {
		t.Errorf("the log doesn't say why:\n%s", log)
	}

	disk.Remount(e.program, "rw,size=1m")
	e.until("the disk is writable", func() bool { return send() == http.StatusOK })
	e.until("ready with a disk", func() bool { return e.page("/readyz") != "" })
	e.until("the disk is full", func() bool { return send() == http.StatusServiceUnavailable })
	unready("no space left on device")
	if log := e.program.Log(); !strings.Contains(log, "no space left on device") {
		t.Errorf("the log doesn't say why:\n%s", log)
	}

	disk.Remount(e.program, "size=16m")
	e.until("there is room", func() bool { return send() == http.StatusOK })
	e.cluster.Nodes[0].Continue()
	e.drained()
	e.until("callbacks go to Kafka", func() bool { return send() == http.StatusOK })
	missing, twice, disorder := e.check(l)
	t.Logf("answers %v, longest %s; missing %d, twice %d, out of order %d", l.statuses, l.longest, missing, twice, disorder)
	if missing > 0 || l.over2s > 0 || l.statuses[0] > 0 || len(l.statuses) != 2 {
		t.Errorf("answers %v, over 2 s: %d, missing %d", l.statuses, l.over2s, missing)
	}
}
