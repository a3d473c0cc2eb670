package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/service/servicetest"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/schemas"
)

const (
	pseudonymKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	user         = "+919876501234"
	text         = "please STOP writing to me"
	token        = "t0ken-of-the-provider"
)

// running is a stage on a broker of its own.
type running struct {
	*service.Running
	cluster *kfake.Cluster
	away    atomic.Bool // produce requests are cut off
	url     string
	file    string
	spool   string
	logs    *servicetest.Logs
}

func start(t *testing.T, endpoints string, environ ...string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{file: filepath.Join(dir, "endpoints.yaml"), spool: filepath.Join(dir, "spool"), logs: &servicetest.Logs{}}
	write(t, filepath.Join(dir, "token"), token)
	write(t, r.file, strings.ReplaceAll(endpoints, "DIR", dir))
	r.cluster = streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: schemas.TopicCallbacks, Partitions: 3}, {Name: schemas.TopicCallbacksBulk, Partitions: 2}}})
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		return nil, errors.New("cut off"), r.away.Load()
	})
	r.run(t, environ...)
	return r
}

// run starts a process on the same broker and files.
func (r *running) run(t *testing.T, environ ...string) {
	t.Helper()
	var err error
	r.Running, err = service.Start(t.Context(), ingest.Stage(), append([]string{
		"HEED_KAFKA_BROKERS=" + strings.Join(r.cluster.ListenAddrs(), ","), "HEED_LISTEN=127.0.0.1:0", "HEED_ADMIN_LISTEN=127.0.0.1:0",
		"HEED_ENDPOINTS_FILE=" + r.file, "HEED_PSEUDONYM_KEY=" + pseudonymKey, "HEED_INGEST_SPOOL_DIR=" + r.spool,
		"HEED_INGEST_SPOOL_AFTER=150ms", "HEED_INGEST_UNREADY_FOR=1ms", "HEED_LOG_LEVEL=debug",
	}, environ...), r.logs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(); _ = r.Wait() })
	r.url = "http://" + r.Addr(t.Context(), "data") + "/v1/callbacks/"
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (r *running) post(t *testing.T, endpoint, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// records splits what is on the topics into callbacks and marks.
func (r *running) records(t *testing.T) (callbacks []stream.Record, marks []schemas.Mark) {
	t.Helper()
	client := streamtest.Open(t, r.cluster.ListenAddrs())
	for _, topic := range []string{schemas.TopicCallbacks, schemas.TopicCallbacksBulk} {
		for _, rec := range streamtest.Read(t, client, topic) {
			if stream.EventType(&rec) != schemas.TimeMark.Type() {
				callbacks = append(callbacks, rec)
				continue
			}
			var m schemas.Mark
			if err := json.Unmarshal(rec.Value, &m); err != nil {
				t.Fatal(err)
			}
			marks = append(marks, m)
		}
	}
	return callbacks, marks
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("never: " + what)
		}
	}
}

const twoEndpoints = `
endpoints:
  - {id: open, provider: kaleyra, channel: rcs, agent: mmx, verify: [{scheme: none}]}
  - {id: shut, provider: kaleyra, lane: bulk, verify: [{scheme: bearer, secret_file: DIR/token}]}
`

// TestStage: the program on a broker: callbacks arrive on their lanes, marks beside them, a
// leaving mark at the end, and nothing personal or secret is said anywhere.
func TestStage(t *testing.T) {
	r := start(t, twoEndpoints)
	body := `{"type":"USER_MESSAGE","from":"` + strings.TrimPrefix(user, "+") + `","userMessage":{"type":"TEXT","text":"` + text + `"}}`
	if status, answer := r.post(t, "open", body); status != 200 || answer != "" {
		t.Errorf("answer %d %q", status, answer)
	}
	if status, _ := r.post(t, "shut", body, "Authorization", "Bearer "+token); status != 200 {
		t.Errorf("bulk: %d", status)
	}
	if status, _ := r.post(t, "shut", body, "Authorization", "Bearer "+token+"x"); status != 401 {
		t.Errorf("wrong token: %d", status)
	}
	if status, _ := r.post(t, "shut?token="+token, body); status != 401 {
		t.Errorf("token in the wrong place: %d", status)
	}
	if status, page := servicetest.Page(t.Context(), t, r.Running, "/readyz"); status != 200 {
		t.Errorf("readyz %d %s", status, page)
	}
	_, metrics := servicetest.Page(t.Context(), t, r.Running, "/metrics")
	for _, want := range []string{
		`heed_ingest_callbacks_total{endpoint="open",outcome="appended",provider="kaleyra"} 1`, `heed_ingest_refused_total{endpoint="shut",reason="mismatch"} 1`,
		`heed_ingest_refused_total{endpoint="shut",reason="missing"} 1`, "heed_ingest_seconds_count{", "heed_ingest_spool_records 0", "heed_ingest_endpoints 2",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics don't have %s", want)
		}
	}
	eventually(t, "marks", func() bool { return strings.Contains(pageOf(t, r, "/metrics"), "heed_ingest_marks_total 3") })
	r.Stop()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	callbacks, marks := r.records(t)
	topics := map[string]int{}
	for _, c := range callbacks {
		topics[c.Topic]++
		servicetest.NothingPersonal(t, "the key", string(c.Key), user)
		for _, h := range c.Headers {
			servicetest.NothingPersonal(t, "a header", string(h.Value), user, text, token)
		}
		if strings.Contains(string(c.Value), token) {
			t.Error("the record holds the provider's token")
		}
		if capture, err := schemas.ParseCapture(c.Value); err != nil || string(capture.Body) != body {
			t.Errorf("captured %q, %v", capture.Body, err)
		}
	}
	if topics[schemas.TopicCallbacks] != 1 || topics[schemas.TopicCallbacksBulk] != 1 {
		t.Errorf("callbacks: %v", topics)
	}
	leaving := map[int32]bool{}
	for _, m := range marks {
		if m.Leaving {
			leaving[m.Partition] = true
		}
	}
	if len(leaving) != 3 {
		t.Errorf("leaving marks on partitions %v", leaving)
	}
	servicetest.NothingPersonal(t, "the log", r.logs.String(), user, text, token)
	servicetest.NothingPersonal(t, "the metrics", metrics, user, text, token)
}

func pageOf(t *testing.T, r *running, path string) string {
	t.Helper()
	_, page := servicetest.Page(t.Context(), t, r.Running, path)
	return page
}

// TestKafkaGoesAndComes: from accepted to Kafka by way of the disk, also across a restart.
func TestKafkaGoesAndComes(t *testing.T) {
	r := start(t, twoEndpoints)
	if status, _ := r.post(t, "open", "before"); status != 200 {
		t.Fatalf("answer %d", status)
	}
	r.away.Store(true)
	for range 20 {
		began := time.Now()
		if status, answer := r.post(t, "open", "while away"); status != 200 || time.Since(began) > 2*time.Second {
			t.Fatalf("answer %d after %s: %s", status, time.Since(began), answer)
		}
	}
	status, page := servicetest.Page(t.Context(), t, r.Running, "/readyz")
	if status != 200 || !strings.Contains(page, "callbacks (") {
		t.Errorf("readyz %d %s", status, page)
	}
	r.away.Store(false)
	eventually(t, "drained", func() bool { return strings.Contains(pageOf(t, r, "/metrics"), "heed_ingest_spool_records 0") })
	if status, _ := r.post(t, "open", "after"); status != 200 {
		t.Fatalf("answer %d", status)
	}
	callbacks, _ := r.records(t)
	bodies := map[string]int{}
	for _, c := range callbacks {
		capture, err := schemas.ParseCapture(c.Value)
		if err != nil {
			t.Fatal(err)
		}
		bodies[string(capture.Body)]++
	}
	// The first of those sent while Kafka was away may stand twice: its outcome was unknown.
	if bodies["before"] != 1 || bodies["after"] != 1 || bodies["while away"] < 20 || bodies["while away"] > 25 {
		t.Errorf("on Kafka: %v", bodies)
	}
}

// TestNothingIsKept: a Kafka that answers and takes nothing, and no spool: callbacks are answered
// 503, so the replica is unready and says why, until Kafka takes something again.
func TestNothingIsKept(t *testing.T) {
	r := start(t, twoEndpoints, "HEED_INGEST_SPOOL_DIR=")
	if status, page := servicetest.Page(t.Context(), t, r.Running, "/readyz"); status != 200 {
		t.Errorf("readyz %d %s", status, page)
	}
	r.away.Store(true)
	if status, answer := r.post(t, "open", "{}"); status != 503 {
		t.Errorf("answer %d %s", status, answer)
	}
	eventually(t, "unready", func() bool {
		status, page := servicetest.Page(t.Context(), t, r.Running, "/readyz")
		return status == 503 && strings.Contains(page, "kafka has acknowledged nothing for") && strings.Contains(page, "there is no spool")
	})
	r.away.Store(false)
	eventually(t, "ready again", func() bool {
		status, _ := servicetest.Page(t.Context(), t, r.Running, "/readyz")
		return status == 200
	})
	if status, answer := r.post(t, "open", "{}"); status != 200 {
		t.Errorf("answer %d %s", status, answer)
	}
}

// TestTrustedProxies: who may say where a callback comes from, over the wire.
func TestTrustedProxies(t *testing.T) {
	const byAddress = "endpoints:\n  - {id: ip, provider: kaleyra, verify: [{scheme: ip, allow: [203.0.113.0/24]}]}\n"
	for trusted, want := range map[string]int{"127.0.0.0/8": 200, "10.0.0.0/8": 401, "": 401} {
		r := start(t, byAddress, "HEED_INGEST_TRUSTED_PROXIES="+trusted)
		if code, answer := r.post(t, "ip", "{}", "X-Forwarded-For", "198.51.100.1, 203.0.113.5"); code != want {
			t.Errorf("trusted %q: answered %d %s, want %d", trusted, code, answer, want)
		}
		if code, _ := r.post(t, "ip", "{}", "X-Forwarded-For", "203.0.113.5, 198.51.100.1"); code != 401 {
			t.Errorf("trusted %q: what the caller wrote before the proxy is believed: %d", trusted, code)
		}
		if code, _ := r.post(t, "ip", "{}"); code != 401 {
			t.Errorf("trusted %q: without the header: %d", trusted, code)
		}
	}
}

// TestReload: a good file is taken on SIGHUP and on change, a bad one is not, and shows.
func TestReload(t *testing.T) {
	r := start(t, twoEndpoints)
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, r.file, string(good)+"  - {id: third, provider: nobody}\n")
	r.Reload()
	eventually(t, "the bad file shows", func() bool {
		return strings.Contains(pageOf(t, r, "/metrics"), "heed_ingest_endpoints_stale 1")
	})
	status, page := servicetest.Page(t.Context(), t, r.Running, "/readyz")
	if status != 200 || !strings.Contains(page, `provider \"nobody\" is not known`) || !strings.Contains(page, "line 5") {
		t.Errorf("readyz %d %s", status, page)
	}
	if status, _ := r.post(t, "open", "{}"); status != 200 {
		t.Errorf("the old endpoint answers %d", status)
	}
	write(t, r.file, string(good)+"  - {id: third, provider: kaleyra, verify: [{scheme: none}]}\n")
	eventually(t, "the good file is taken without a signal", func() bool {
		status, _ := r.post(t, "third", "{}")
		return status == 200
	})
	if page := pageOf(t, r, "/readyz"); strings.Contains(page, "nobody") {
		t.Errorf("readyz %s", page)
	}
	write(t, filepath.Join(filepath.Dir(r.file), "token"), "another-token")
	eventually(t, "a secret file is taken", func() bool {
		status, _ := r.post(t, "shut", "{}", "Authorization", "Bearer another-token")
		return status == 200
	})
}

// TestReloadUnderLoad: whatever happens to the file, no callback of an endpoint that stands in
// every good version meets a moment without it.
func TestReloadUnderLoad(t *testing.T) {
	r := start(t, twoEndpoints)
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan map[int]int)
	go func() {
		codes := map[int]int{}
		for ctx.Err() == nil {
			code, _ := r.post(t, "open", "{}")
			codes[code]++
		}
		answers <- codes
	}()
	for i := range 20 {
		version, shows := string(good)+fmt.Sprintf("  - {id: more%d, provider: kaleyra, verify: [{scheme: none}]}\n", i), "heed_ingest_endpoints_stale 0"
		if i%2 == 1 {
			version, shows = "endpoints: [", "heed_ingest_endpoints_stale 1"
		}
		// By renaming, as ENDPOINTS.md says.
		write(t, r.file+".new", version)
		if err := os.Rename(r.file+".new", r.file); err != nil {
			t.Fatal(err)
		}
		r.Reload()
		eventually(t, "version is looked at", func() bool { return strings.Contains(pageOf(t, r, "/metrics"), shows) })
	}
	cancel()
	if codes := <-answers; len(codes) != 1 || codes[200] == 0 {
		t.Errorf("answers %v", codes)
	}
}

// TestRefusesToStart: everything that is wrong at once, in the operator's words.
func TestRefusesToStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "endpoints.yaml")
	write(t, file, "endpoints:\n- {id: a, provider: nobody, verify: [{scheme: none}]}\n- {id: a, provider: kaleyra}\n")
	_, err := service.Start(t.Context(), ingest.Stage(), []string{
		"HEED_ENDPOINTS_FILE=" + file, "HEED_PSEUDONYM_KEY=abc", "HEED_INGEST_TRUSTED_PROXIES=here", "HEED_INGEST_TLS_CERT_FILE=x", "HEED_INGEST_SPOOL_AFTER=5s",
	}, io.Discard)
	if err == nil {
		t.Fatal("it starts")
	}
	for _, want := range []string{
		`line 2: endpoint (a): provider "nobody" is not known`, "line 3: endpoint (a): the id stands already in line 2", "line 3: endpoint (a): verify is missing",
		"HEED_PSEUDONYM_KEY: pseudonym key 1 is not 64 hex digits", `"here" is no network`, "HEED_INGEST_TLS_KEY_FILE", "at most 1500ms",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it doesn't say %q:\n%v", want, err)
		}
	}
	if _, err := service.Start(t.Context(), ingest.Stage(), []string{"HEED_INGEST_SPOOLDIR=x"}, io.Discard); err == nil || !strings.Contains(err.Error(), "HEED_INGEST_SPOOL_DIR") {
		t.Errorf("an unknown variable: %v", err)
	}
}
