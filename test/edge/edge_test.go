// Package edge_test breaks what stands behind ingest, and ingest itself, under load on real
// Kafka, and counts: what was answered 200 must be on heed.callbacks, in time and in order.
package edge_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// edge is an ingest process before a Kafka of its own.
type edge struct {
	t       *testing.T
	cluster *stack.Cluster
	client  *stream.Client
	program *stack.Program
	url     string
	admin   string
	spool   string
}

func start(t *testing.T, nodes int) *edge { return startOn(t, nodes, nil) }

// startOn starts ingest on a disk of its own, with these options, where there is one.
func startOn(t *testing.T, nodes int, disk func(spool, binary string) []string) *edge {
	t.Helper()
	e := &edge{t: t, cluster: stack.Kafka(t, stack.Nodes(nodes))}
	e.client = streamtest.Open(t, e.cluster.Brokers())
	ctx := streamtest.Context(t, time.Minute)
	if err := e.client.CreateTopics(ctx, topics.Specs(topics.Options{Replication: nodes, Partitions: 6})...); err != nil {
		t.Fatal(err)
	}
	if err := e.client.WaitForTopics(ctx, topics.Names()...); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "ingest")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/heedhq/heed/ingest/cmd/ingest").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "endpoints.yaml")
	if err := os.WriteFile(file, []byte("endpoints: [{id: open, provider: kaleyra, verify: [{scheme: none}]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data, admin := freeAddr(t), freeAddr(t)
	e.url, e.admin, e.spool = "http://"+data+"/v1/callbacks/open", "http://"+admin, filepath.Join(dir, "spool")
	argv := []string{binary}
	if disk != nil {
		e.spool = filepath.Join(dir, "disk", "spool")
		argv = disk(filepath.Dir(e.spool), binary)
	}
	e.program = stack.NewProgram(t, "ingest", []string{
		"PATH=" + os.Getenv("PATH"), "HEED_KAFKA_BROKERS=" + strings.Join(e.cluster.Brokers(), ","), "HEED_LISTEN=" + data, "HEED_ADMIN_LISTEN=" + admin,
		"HEED_ENDPOINTS_FILE=" + file, "HEED_PSEUDONYM_KEY=" + strings.Repeat("ab", 32), "HEED_INGEST_SPOOL_DIR=" + e.spool, "HEED_INGEST_UNREADY_FOR=1ms",
	}, argv...)
	e.program.Start()
	e.until("ready", func() bool { return e.page("/readyz") != "" })
	return e
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// page is an admin page that answers 200, else "".
func (e *edge) page(path string) string {
	if status, text := e.look(path); status == http.StatusOK {
		return text
	}
	return ""
}

// look gets an admin page; status 0: nobody answers.
func (e *edge) look(path string) (status int, text string) {
	resp, err := http.Get(e.admin + path)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(body)
}

func (e *edge) until(what string, holds func() bool) {
	e.t.Helper()
	limit := time.After(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			e.t.Fatalf("never: %s\n%s", what, e.program.Log())
		}
	}
}

// ledger is what a load knows of its callbacks.
type ledger struct {
	mu       sync.Mutex
	accepted map[int]bool
	statuses map[int]int // how often each was answered; 0: no answer
	longest  time.Duration
	over2s   int
}

const senders = 16 // people; each one's callbacks are sent one after the other

// load sends callbacks at a rate until stop is closed, each of one of a few people.
func (e *edge) load(rate int, stop <-chan struct{}) *ledger {
	l := &ledger{accepted: map[int]bool{}, statuses: map[int]int{}}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for person := range senders {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * senders / time.Duration(rate))
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				l.send(client, e.url, i*senders+person, person)
			}
		})
	}
	wg.Wait()
	return l
}

func (l *ledger) send(client *http.Client, url string, n, person int) {
	l.sendSized(client, url, n, person, 900)
}

func (l *ledger) sendSized(client *http.Client, url string, n, person, size int) {
	body := fmt.Sprintf(`{"type":"USER_MESSAGE","from":"9199999%05d","n":"%d","pad":"%s"}`, person, n, strings.Repeat("x", size))
	began := time.Now()
	status := 0
	resp, err := client.Post(url, "application/json", strings.NewReader(body))
	if err == nil {
		status = resp.StatusCode
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses[status]++
	l.accepted[n] = status == http.StatusOK
	l.longest = max(l.longest, took)
	if took > 2*time.Second {
		l.over2s++
	}
}

// check reads the topic: every accepted callback is there; of one person the first appearance of
// each stands in the order in which they were sent.
func (e *edge) check(l *ledger) (missing, twice, disorder int) {
	e.t.Helper()
	seen := map[int]int{}
	last := map[int]int{}
	for _, rec := range streamtest.Read(e.t, e.client, schemas.TopicCallbacks) {
		_, rest, ok := bytes.Cut(rec.Value, []byte(`"n":"`))
		if !ok {
			continue // a mark
		}
		digits, _, _ := bytes.Cut(rest, []byte(`"`))
		n, err := strconv.Atoi(string(digits))
		if err != nil {
			e.t.Fatal(err)
		}
		if seen[n]++; seen[n] > 1 {
			twice++
			continue
		}
		if before, ok := last[n%senders]; ok && n < before {
			disorder++
		}
		last[n%senders] = n
	}
	for n, accepted := range l.accepted {
		if accepted && seen[n] == 0 {
			missing++
		}
	}
	return missing, twice, disorder
}

// during runs a load while something happens, and for a while after.
func (e *edge) during(rate int, happens func()) *ledger {
	stop := make(chan struct{})
	done := make(chan *ledger)
	go func() { done <- e.load(rate, stop) }()
	wait(time.Second)
	happens()
	wait(time.Second)
	close(stop)
	return <-done
}

// wait lets the load run; there is nothing to wait for but time.
func wait(d time.Duration) { <-time.After(d) }

func (e *edge) drained() {
	e.t.Helper()
	e.until("the spool is drained", func() bool { return strings.Contains(e.page("/metrics"), "\nheed_ingest_spool_records 0") })
}

// away is how long Kafka is away: HEED_EDGE_AWAY=60s for the figures of a release.
func away(t *testing.T) time.Duration {
	d, err := time.ParseDuration(os.Getenv("HEED_EDGE_AWAY"))
	if err != nil {
		return 8 * time.Second
	}
	t.Logf("Kafka is away for %s", d)
	return d
}

// TestKafkaAway: a broker that hangs for longer than any client waits.
func TestKafkaAway(t *testing.T) {
	e := start(t, 1)
	var drain time.Duration
	var before, after int
	l := e.during(500, func() {
		before = memory(e.page("/metrics"))
		e.cluster.Nodes[0].Stop()
		wait(away(t))
		after = memory(e.page("/metrics"))
		e.cluster.Nodes[0].Continue()
		began := time.Now()
		e.drained()
		drain = time.Since(began)
	})
	e.drained()
	missing, twice, disorder := e.check(l)
	t.Logf("answers %v, longest %s, over 2 s: %d; drained in %s, resident %d MiB before and %d MiB at the end; missing %d, twice %d, out of order %d", l.statuses, l.longest, l.over2s, drain, before, after, missing, twice, disorder)
	if len(l.statuses) != 1 || l.statuses[200] == 0 || l.over2s > 0 || missing > 0 || disorder > 0 {
		t.Errorf("answers %v, over 2 s: %d, missing %d, out of order %d", l.statuses, l.over2s, missing, disorder)
	}
	if drain > 30*time.Second {
		t.Errorf("the spool was drained in %s", drain)
	}
	if after > before+32 {
		t.Errorf("memory grew from %d to %d MiB while callbacks went to the disk", before, after)
	}
}

// memory is what the process has of it, in MiB.
func memory(metrics string) int {
	_, rest, _ := strings.Cut(metrics, "\nprocess_resident_memory_bytes ")
	value, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseFloat(value, 64)
	return int(n / (1 << 20))
}

// TestIngestIsKilled: kill -9 while the spool fills, and a start on the same directory.
func TestIngestIsKilled(t *testing.T) {
	e := start(t, 1)
	l := e.during(200, func() {
		e.cluster.Nodes[0].Stop()
		wait(3 * time.Second)
		e.program.Kill()
		e.program.Start()
		wait(2 * time.Second)
		e.cluster.Nodes[0].Continue()
		e.drained()
	})
	e.drained()
	missing, twice, _ := e.check(l)
	t.Logf("answers %v (0: the process was away), longest %s; missing %d, twice %d", l.statuses, l.longest, missing, twice)
	if missing > 0 || l.statuses[200] == 0 {
		t.Errorf("missing %d", missing)
	}
	for status := range l.statuses {
		if !slices.Contains([]int{0, 200}, status) {
			t.Errorf("answers %v", l.statuses)
		}
	}
}

// TestBrokerIsKilled: one of three, by kill -9: acks=all waits for it for some nine seconds.
func TestBrokerIsKilled(t *testing.T) {
	e := start(t, 3)
	l := e.during(200, func() {
		e.cluster.Nodes[1].Kill()
		wait(away(t))
	})
	e.drained()
	missing, twice, disorder := e.check(l)
	t.Logf("answers %v, longest %s, over 2 s: %d; missing %d, twice %d, out of order %d", l.statuses, l.longest, l.over2s, missing, twice, disorder)
	if len(l.statuses) != 1 || l.statuses[200] == 0 || l.over2s > 0 || missing > 0 || disorder > 0 {
		t.Errorf("answers %v, over 2 s: %d, missing %d, out of order %d", l.statuses, l.over2s, missing, disorder)
	}
}

// TestLarge: everybody sends bodies of nearly 1 MiB while Kafka hangs: memory stays under 256 MiB,
// what doesn't fit is answered 503, and what was answered 200 is kept.
func TestLarge(t *testing.T) {
	e := start(t, 1)
	l, most := e.large(2*time.Second, 3*time.Second)
	e.drained()
	missing, twice, _ := e.check(l)
	t.Logf("answers %v, longest %s, resident at most %d MiB; missing %d, twice %d", l.statuses, l.longest, most, missing, twice)
	if most == 0 || most > 256 || missing > 0 || l.statuses[200] == 0 {
		t.Errorf("resident at most %d MiB, missing %d, answers %v", most, missing, l.statuses)
	}
	for status := range l.statuses {
		if !slices.Contains([]int{200, 503}, status) {
			t.Errorf("answers %v", l.statuses)
		}
	}
}

// large sends bodies of nearly 1 MiB on 64 connections, for so long with Kafka and for so long with
// Kafka hanging; most is what memory ingest had at most, in MiB.
func (e *edge) large(with, without time.Duration) (l *ledger, most int) {
	l = &ledger{accepted: map[int]bool{}, statuses: map[int]int{}}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for c := range 64 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				l.sendSized(client, e.url, (i*64+c)*senders, 0, 1_000_000)
			}
		})
	}
	look := func(d time.Duration) {
		for limit, tick := time.After(d), time.NewTicker(20*time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, memory(e.page("/metrics")))
			case <-limit:
				tick.Stop()
				return
			}
		}
	}
	look(with)
	e.cluster.Nodes[0].Stop()
	look(without)
	close(stop)
	wg.Wait()
	e.cluster.Nodes[0].Continue()
	return l, most
}

// TestCrowd: ten thousand connections that say nothing, two hundred that dribble, uploads of
// 100 MB and chunks without end: others are answered, and memory stays under 256 MiB.
func TestCrowd(t *testing.T) {
	e := start(t, 1)
	l, resident := e.crowd()
	t.Logf("answers %v, longest %s, resident %d MiB", l.statuses, l.longest, resident)
	if l.statuses[200] != 200 {
		t.Errorf("answers %v", l.statuses)
	}
	if resident == 0 || resident > 256 {
		t.Errorf("resident: %d MiB", resident)
	}
	e.program.End(40 * time.Second)
}

// TestFloods: one kind of flood right after the other, on what the first left to be collected.
func TestFloods(t *testing.T) {
	e := start(t, 1)
	for range 2 {
		first, most := e.large(time.Second, time.Second)
		then, resident := e.crowd()
		t.Logf("large bodies: answers %v, resident at most %d MiB; a crowd: answers %v, resident %d MiB", first.statuses, most, then.statuses, resident)
		if then.statuses[200] != 200 || most == 0 || max(most, resident) > 256 {
			t.Errorf("resident %d MiB, then %d MiB, answers %v", most, resident, then.statuses)
		}
	}
	e.program.End(40 * time.Second)
}

// crowd is the crowd of TestCrowd; l are 200 callbacks among it, resident is what memory ingest has then,
// in MiB.
func (e *edge) crowd() (l *ledger, resident int) {
	t := e.t
	host := strings.TrimPrefix(strings.Split(e.url, "/v1/")[0], "http://")
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	const head = "POST /v1/callbacks/open HTTP/1.1\r\nHost: x\r\n"
	for i := range 10_000 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		open = append(open, conn)
		switch {
		case i%50 == 0: // dribbles its body
			_, _ = io.WriteString(conn, head+"Content-Length: 1000000\r\n\r\n{")
		case i%500 == 1: // uploads without end
			go func() {
				_, _ = io.WriteString(conn, head+"Transfer-Encoding: chunked\r\n\r\n")
				chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", 32<<10, strings.Repeat("a", 32<<10))
				for {
					if _, err := conn.Write(chunk); err != nil {
						return
					}
				}
			}()
		case i%500 == 2:
			_, _ = io.WriteString(conn, head+"Content-Length: 104857600\r\n\r\n{")
		case i%2 == 0: // was served once, now idle
			_, _ = io.WriteString(conn, head+"Content-Length: 2\r\n\r\n{}")
		}
	}
	l = &ledger{accepted: map[int]bool{}, statuses: map[int]int{}}
	client := &http.Client{Timeout: 10 * time.Second}
	for n := range 200 {
		l.send(client, e.url, n, n%senders)
	}
	return l, memory(e.page("/metrics"))
}
