// Package ingest_test measures ingest against a bare handler, in processes of their own on the
// same machine, broker included: what keeping a callback costs beside answering one.
//
// It prints ratios, because absolute figures are the machine's. Bars (issue 3): accepted/s at
// least 0.45 of the bare handler's at 256 connections, CPU per request at most 2.0 times.
package ingest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/stack"
)

const (
	connections = 256
	secret      = "s3cr3t-of-the-bench"
	envServer   = "HEED_BENCH_SERVER" // not for a stage: taken away before one starts
)

// body is a callback of 1 KB, as wide as WhatsApp's.
var body = `{"whatsapp":{"messages":[{"callback_type":"incoming_message","sid":"b5c3bdff-2d44-4f74-8a8e-3792fa57dfc8","from":"+919999912345","to":"+918000000000",` +
	`"timestamp":"2024-12-07T17:00:00.000+05:30","content":{"type":"text","text":{"body":"` + strings.Repeat("what a person writes ", 37) + `"}}}]}}`

func TestMain(m *testing.M) {
	if mode := os.Getenv(envServer); mode != "" {
		_ = os.Unsetenv(envServer)
		serve(mode)
		return
	}
	stack.Main(m)
}

// BenchmarkIngest runs the servers in turn, three rounds, and reports medians.
func BenchmarkIngest(b *testing.B) {
	brokers := stack.Kafka(b).Brokers()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	client, err := stream.Open(stream.Config{Brokers: brokers}, stream.Options{ClientID: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if err := client.CreateTopics(ctx, topics.Specs(topics.Options{Partitions: 8})...); err != nil {
		b.Fatal(err)
	}
	if err := client.WaitForTopics(ctx, schemas.TopicCallbacks); err != nil {
		b.Fatal(err)
	}
	length := 3 * time.Second
	if testing.Short() {
		length = time.Second
	}
	measured := map[string][]figures{}
	for range b.N {
		for range 3 {
			for _, mode := range []string{"bare", "open", "signed"} {
				measured[mode] = append(measured[mode], run(ctx, b, mode, brokers, length))
			}
		}
	}
	bare := median(measured["bare"])
	for _, mode := range []string{"open", "signed"} {
		m := median(measured[mode])
		b.ReportMetric(m.rate/bare.rate, mode+"/bare-rate")
		b.ReportMetric(m.cpu/bare.cpu, mode+"/bare-cpu")
		b.Logf("%-6s %7.0f/s  %5.1f µs CPU, bare %7.0f/s  %5.1f µs: rate %.2f (bar 0.45), CPU %.2f (bar 2.0)", mode, m.rate, m.cpu, bare.rate, bare.cpu, m.rate/bare.rate, m.cpu/bare.cpu)
	}
	b.ReportMetric(0, "ns/op")
}

type figures struct {
	rate float64 // accepted per second
	cpu  float64 // of the server, µs per request
}

func median(all []figures) figures {
	pick := func(of func(figures) float64) float64 {
		var values []float64
		for _, f := range all {
			values = append(values, of(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{pick(func(f figures) float64 { return f.rate }), pick(func(f figures) float64 { return f.cpu })}
}

// run starts a server, loads it, and ends it.
func run(ctx context.Context, b *testing.B, mode string, brokers []string, length time.Duration) figures {
	b.Helper()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), envServer+"="+mode, "BENCH_BROKERS="+strings.Join(brokers, ","), "BENCH_DIR="+b.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	ask := func() string {
		if !lines.Scan() {
			b.Fatalf("the %s server ended", mode)
		}
		return lines.Text()
	}
	addr := ask()
	used := func() float64 {
		if _, err := io.WriteString(in, "\n"); err != nil {
			b.Fatal(err)
		}
		micros, err := strconv.ParseFloat(ask(), 64)
		if err != nil {
			b.Fatal(err)
		}
		return micros
	}
	load(b, addr, mode, length/3) // connections, buffers, metadata
	before := used()
	accepted, took := load(b, addr, mode, length)
	f := figures{float64(accepted) / took.Seconds(), (used() - before) / float64(accepted)}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	return f
}

// load posts the body over the connections, each as fast as it is answered: with wrk where it is
// installed, since that takes the least of the two cores.
func load(b *testing.B, addr, mode string, length time.Duration) (accepted int64, took time.Duration) {
	b.Helper()
	header := http.Header{}
	if mode == "signed" {
		if err := signature.Sign(schemas.Verify{Scheme: schemas.SchemeExotel, Secrets: []schemas.Secret{schemas.NewSecret(secret)}}, header, []byte(body), "", time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	if wrk, err := exec.LookPath("wrk"); err == nil {
		return loadWithWrk(b, wrk, addr, mode, header, length)
	}
	request := fmt.Appendf(nil, "POST /v1/callbacks/%s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", mode, len(body))
	for name, values := range header {
		request = fmt.Appendf(request, "%s: %s\r\n", name, values[0])
	}
	request = append(append(request, "\r\n"...), body...)
	var count, refused atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range connections {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			r := bufio.NewReader(conn)
			for time.Since(began) < length {
				if _, err := conn.Write(request); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.StatusCode == http.StatusOK {
					count.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := refused.Load(); n > 0 {
		b.Errorf("%d requests were refused", n)
	}
	return count.Load(), time.Since(began)
}

func loadWithWrk(b *testing.B, wrk, addr, mode string, header http.Header, length time.Duration) (int64, time.Duration) {
	b.Helper()
	var script strings.Builder
	fmt.Fprintf(&script, "wrk.method = \"POST\"\nwrk.body = [==[%s]==]\nwrk.headers[\"Content-Type\"] = \"application/json\"\n", body)
	for name, values := range header {
		fmt.Fprintf(&script, "wrk.headers[%q] = %q\n", name, values[0])
	}
	script.WriteString("done = function(s) io.write(string.format(\"HEED %d %d %d\\n\", s.requests - s.errors.status, s.duration, s.errors.status + s.errors.read + s.errors.write + s.errors.timeout + s.errors.connect)) end\n")
	path := filepath.Join(b.TempDir(), "post.lua")
	if err := os.WriteFile(path, []byte(script.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	seconds := max(int(length.Seconds()+.5), 1)
	out, err := exec.Command(wrk, "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(seconds)+"s", "-s", path, "http://"+addr+"/v1/callbacks/"+mode).CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	_, line, ok := strings.Cut(string(out), "HEED ")
	var accepted, micros, refused int64
	if _, err := fmt.Sscan(line, &accepted, &micros, &refused); !ok || err != nil {
		b.Fatalf("wrk said: %s", out)
	}
	if refused > 0 {
		b.Errorf("%s: %d requests were refused or failed", mode, refused)
	}
	return accepted, time.Duration(micros) * time.Microsecond
}

// serve is the child: it says where it listens, then, for each line on its input, how many
// microseconds of CPU it has used.
func serve(mode string) {
	addr, stop, err := startServer(mode)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(addr)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println((used.Utime.Nano() + used.Stime.Nano()) / 1000)
	}
	stop()
}

func startServer(mode string) (addr string, stop func(), err error) {
	if mode == "bare" {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			w.WriteHeader(http.StatusOK)
		}))
		return s.Listener.Addr().String(), s.Close, nil
	}
	dir := os.Getenv("BENCH_DIR")
	file := filepath.Join(dir, "endpoints.yaml")
	secretFile := filepath.Join(dir, "secret")
	endpoints := "endpoints:\n- {id: open, provider: exotel, kind: inbound, verify: [{scheme: none}]}\n- {id: signed, provider: exotel, kind: inbound, verify: [{scheme: exotel, secret_file: " + secretFile + "}]}\n"
	if err := os.WriteFile(file, []byte(endpoints), 0o600); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(secretFile, []byte(secret), 0o600); err != nil {
		return "", nil, err
	}
	addr, err = freeAddr()
	if err != nil {
		return "", nil, err
	}
	for name, value := range map[string]string{
		"HEED_KAFKA_BROKERS": os.Getenv("BENCH_BROKERS"), "HEED_LISTEN": addr, "HEED_ADMIN_LISTEN": "127.0.0.1:0", "HEED_ENDPOINTS_FILE": file,
		"HEED_PSEUDONYM_KEY": strings.Repeat("ab", 32), "HEED_INGEST_SPOOL_DIR": filepath.Join(dir, "spool"), "HEED_INGEST_UNREADY_FOR": "1ms", "HEED_LOG_LEVEL": "error",
	} {
		if err := os.Setenv(name, value); err != nil {
			return "", nil, err
		}
	}
	os.Args = os.Args[:1]
	go service.Main(ingest.Stage()) // ends the process, after stop or with what is wrong
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return addr, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM); select {} }, nil
		}
		<-time.After(10 * time.Millisecond)
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
