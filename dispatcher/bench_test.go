package dispatcher_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heedhq/heed/dispatcher/dispatchertest"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

// cpu is what this process has used, in seconds.
func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

// BenchmarkDelivery delivers events that wait on the log to a sink on loopback that does
// nothing, and compares with the floor: a bare client that posts the same bytes to the same sink
// with as many requests at once. Broker, dispatcher and sink share the process, so CPU per
// delivery is that of all three; the floor's is client and sink.
func BenchmarkDelivery(b *testing.B) {
	const events, inFlight = 20000, 64
	var taken atomic.Int64
	done := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if taken.Add(1) == events {
			done <- struct{}{}
		}
	}))
	defer server.Close()
	cluster := streamtest.Cluster(b, devbroker.Options{Topics: dispatchertest.Topics(4)})
	s := dispatchertest.NewStand(b, cluster.ListenAddrs())
	for b.Loop() {
		src := dispatchertest.Source("bench")
		for n := 0; n < events; n += 1000 {
			s.Send(src, n, n+1000)
		}
		taken.Store(0)
		began, used := time.Now(), cpu()
		bare(b, server.URL, events, inFlight)
		<-done
		floorTime, floorCPU := time.Since(began).Seconds(), cpu()-used

		taken.Store(0)
		d := s.Start(dispatchertest.Subscription(src, src, server.URL, "start: earliest, in_flight: 64"))
		dispatchertest.Eventually(b, 30*time.Second, "the first delivery", func() bool { return taken.Load() > 0 })
		before := taken.Load()
		began, used = time.Now(), cpu()
		select {
		case <-done:
		case <-time.After(2 * time.Minute):
			b.Fatalf("%d of %d delivered", taken.Load(), events)
		}
		took, usedCPU := time.Since(began).Seconds(), cpu()-used
		n := float64(events - before)
		d.Halt()
		b.ReportMetric(n/took, "delivered/s")
		b.ReportMetric(n/took/(events/floorTime), "÷bare")
		b.ReportMetric(usedCPU/n*1e6, "cpu-µs/delivery")
		b.ReportMetric(usedCPU/n/(floorCPU/events), "cpu÷bare")
	}
}

// bare posts n small bodies, at once at a time.
func bare(b *testing.B, url string, n, at int) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: at, MaxConnsPerHost: at, DisableCompression: true}}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	body := []byte(`{"n":1}`)
	for range at {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				for _, h := range []string{"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "content-type", "webhook-id", "webhook-timestamp"} {
					request.Header.Set(h, "application/json")
				}
				response, err := client.Do(request)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		})
	}
	wg.Wait()
}
