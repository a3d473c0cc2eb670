// Package stack starts real Apache Kafka and real Redis for tests, and ends them.
//
// Servers listen on free loopback ports and keep their data in temporary folders. Kafka's jars
// are fetched once by Maven into the checkout's .cache; where there is no Java or redis-server,
// Docker runs the same programs. A server dies with the test binary that started it, however
// that ends, and its log is kept in .cache/logs when the test failed.
//
// Kafka and Redis give a test servers of its own, to kill, stop and restart at will.
// SharedKafka and SharedRedis give the ones that all tests of a binary share; these are the
// servers of HEED_TEST_KAFKA (host:port,…) and HEED_TEST_REDIS (a redis:// URL) where they are set.
//
// A test must never pass quietly because a server could not be had: Require is the one place
// that skips, and with HEED_REAL=required it fails instead.
package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables of the test run. They are nothing to the stages: a test that starts one
// passes its environment on without them (see Environ).
const (
	envKafka = "HEED_TEST_KAFKA"
	envRedis = "HEED_TEST_REDIS"
	envReal  = "HEED_REAL"
)

// readyTimeout bounds a server's start. Alone on a machine Kafka takes 2 s and Redis 50 ms; the
// rest is for machines where everything runs at once.
const readyTimeout = 90 * time.Second

// Main is for TestMain: it runs the tests and ends the shared servers.
//
//	func TestMain(m *testing.M) { stack.Main(m) }
func Main(m *testing.M) {
	defer shared.close()
	m.Run()
}

// Require says that a test goes on only with real Kafka and Redis. Where they cannot be had it
// fails the test if HEED_REAL=required (as in CI), else skips it and leaves a note that make test
// prints in its last lines.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv(envKafka) == "" {
		if _, err := findKafka(); err != nil {
			unavailable(t, err)
		}
	}
	if os.Getenv(envRedis) == "" {
		if _, err := findRedis(); err != nil {
			unavailable(t, err)
		}
	}
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	note(t, "NOT RUN", err.Error())
	if os.Getenv(envReal) == "required" {
		t.Fatalf("%s=required, but %v", envReal, err)
	}
	t.Skipf("NOT PROVED ON REAL SERVERS: %v", err)
}

// note appends a line to .cache/real.log, which make test sums up: what ran, or did not, of which
// package and test, on what or why.
func note(t testing.TB, outcome, what string) {
	dir, err := cacheDir()
	if err != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, "real.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	at, _ := os.Getwd() // a test runs in its package's folder
	at, _ = filepath.Rel(filepath.Dir(dir), at)
	fmt.Fprintf(f, "%s\t%s\t%s\t%s\n", outcome, at, t.Name(), what)
}

// Environ is the process's environment without every HEED_ variable: what a test hands to a
// program of ours, plus that program's own variables.
func Environ(own ...string) []string {
	var out []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "HEED_") {
			out = append(out, entry)
		}
	}
	return append(out, own...)
}

// shared are the servers that a test binary starts at most once.
var shared sharedServers

type sharedServers struct {
	mu    sync.Mutex
	kafka *Cluster
	redis *OwnServer
}

func (s *sharedServers) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kafka != nil {
		s.kafka.close()
	}
	if s.redis != nil {
		s.redis.close()
	}
}

// SharedKafka is the test binary's one broker, without TLS or SASL, or the cluster of
// HEED_TEST_KAFKA. Tests use topics and groups of their own on it and never break it.
func SharedKafka(t testing.TB) *Cluster {
	t.Helper()
	if brokers := os.Getenv(envKafka); brokers != "" {
		note(t, "ran", "Kafka of "+envKafka)
		return &Cluster{t: t, brokers: strings.Split(brokers, ",")}
	}
	program, err := findKafka()
	if err != nil {
		unavailable(t, err)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.kafka == nil {
		cluster, err := startKafka(program, kafkaConfig{nodes: 1})
		if err != nil {
			t.Fatal(err)
		}
		shared.kafka = cluster
	}
	return shared.kafka.lend(t)
}

// SharedRedis is the test binary's one Redis, or the one of HEED_TEST_REDIS. Tests may flush it.
func SharedRedis(t testing.TB) *Server {
	t.Helper()
	if url := os.Getenv(envRedis); url != "" {
		note(t, "ran", "Redis of "+envRedis)
		return &Server{t: t, url: url}
	}
	program, err := findRedis()
	if err != nil {
		unavailable(t, err)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.redis == nil {
		server, err := startRedis(program)
		if err != nil {
			t.Fatal(err)
		}
		shared.redis = server
	}
	return shared.redis.lend(t)
}

// keepLogs copies the servers' logs to .cache/logs when the test has failed.
func keepLogs(t testing.TB, processes ...*process) {
	if !t.Failed() {
		return
	}
	dir, err := cacheDir()
	if err != nil {
		return
	}
	dir = filepath.Join(dir, "logs", strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Logf("stack: the logs could not be kept: %v", err)
		return
	}
	for _, p := range processes {
		data, err := os.ReadFile(p.log)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(p.log)), data, 0o644)
		}
		if err != nil {
			t.Logf("stack: the log of %s could not be kept: %v", p.name, err)
		}
	}
	t.Logf("stack: the servers' logs are in %s", dir)
}
