package road

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/test/stack"
)

// stages in the order in which they are started: readers first, so that the first callback
// finds everybody at home.
var stages = []string{"dispatcher", "consent", "normalizer", "ingest"}

// binaries builds the four programs, once per test binary, into .cache and returns their folder.
var binaries = sync.OnceValues(func() (string, error) {
	work, err := exec.Command("go", "env", "GOWORK").Output()
	if err != nil {
		return "", err
	}
	root := filepath.Dir(strings.TrimSpace(string(work)))
	dir := filepath.Join(root, ".cache", "test-bin")
	argv := []string{"build", "-o", dir + string(filepath.Separator)}
	for _, name := range stages {
		argv = append(argv, fmt.Sprintf("./%s/cmd/%s", name, name))
	}
	build := exec.Command("go", argv...)
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the stages: %w\n%s", err, output)
	}
	return dir, nil
})

// Processes starts real Kafka, real Redis and the four stages as programs, for one test.
func Processes(t testing.TB, o Options) *Road {
	t.Helper()
	stack.Require(t)
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	r := &Road{t: t, Sink: NewSink(t), Admin: map[string]string{}, Stages: map[string]*stack.Program{}}
	r.Kafka = stack.Kafka(t, stack.Nodes(max(o.Nodes, 1)))
	r.Brokers = r.Kafka.Brokers()
	r.Redis = stack.Redis(t)
	r.Flush = r.Redis.Flush
	r.createTopics(o)

	shared := append([]string{
		"HEED_KAFKA_BROKERS=" + strings.Join(r.Brokers, ","),
		"HEED_REDIS_URL=" + r.Redis.URL(),
		"HEED_PSEUDONYM_KEY=" + pseudonymKey,
		"HEED_DISPATCH_ALLOW_NETS=127.0.0.0/8",
		"HEED_INGEST_SPOOL_DIR=" + filepath.Join(t.TempDir(), "spool"),
		"HEED_INGEST_UNREADY_FOR=1ms", // no load balancer here that needs to notice
	}, o.files(t, r.Sink)...)
	ports := stack.Ports(t, 2*len(stages))
	for i, name := range stages {
		data, admin := fmt.Sprintf("127.0.0.1:%d", ports[2*i]), fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])
		r.Admin[name] = "http://" + admin
		switch name {
		case "ingest":
			r.Ingest = "http://" + data
		case "consent":
			r.Consent = "http://" + data
		case "dispatcher":
			r.Dispatcher = "http://" + data
		}
		environ := stack.Environ(append(shared[:len(shared):len(shared)], "HEED_LISTEN="+data, "HEED_ADMIN_LISTEN="+admin)...)
		r.Stages[name] = stack.NewProgram(t, name, environ, filepath.Join(dir, name))
		r.Stages[name].Start()
	}
	for _, name := range stages {
		r.AwaitReady(name)
	}
	return r
}

func (r *Road) createTopics(o Options) {
	r.t.Helper()
	client, err := stream.Open(stream.Config{Brokers: r.Brokers}, stream.Options{ClientID: "road"})
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), Patience)
	defer cancel()
	partitions := o.Partitions
	if partitions == 0 {
		partitions = 4
	}
	if _, err := topics.Apply(ctx, client, topics.Options{Replication: max(o.Nodes, 1), Partitions: partitions}); err != nil {
		r.t.Fatalf("create the topics: %v", err)
	}
}

// AwaitReady waits until a stage's /readyz says yes.
func (r *Road) AwaitReady(stage string) {
	r.t.Helper()
	began := time.Now()
	err := Until(r.t.Context(), func() (bool, string) {
		select {
		case <-r.Stages[stage].Ended():
			r.t.Fatalf("%s has ended:\n%s", stage, r.Stages[stage].Log())
		default:
		}
		response, err := client.Get(r.Admin[stage] + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK, response.Status
	})
	if err != nil {
		r.t.Fatalf("%s is not ready: %v\n%s", stage, err, r.Stages[stage].Log())
	}
	r.t.Logf("%s is ready after %s", stage, time.Since(began).Round(time.Millisecond))
}
