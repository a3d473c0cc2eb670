package allinone_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/heedhq/heed/deploy/allinone"
	"github.com/heedhq/heed/internal/service/servicetest"
)

// TestNothingPersonalAndOneTrace runs two of every stage in one process, sends a STOP through
// all of them, and looks at everything that they say about their work: no address and no text in
// logs, metrics and spans (I8); one trace from the provider's request to the subscriber's answer.
func TestNothingPersonalAndOneTrace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	collector := &collector{spans: map[string]map[string]string{}}
	receiver := httptest.NewServer(collector)
	defer receiver.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", receiver.URL+"/v1/traces")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")

	delivered := make(chan *http.Request, 100)
	subscriber := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		delivered <- r
	}))
	defer subscriber.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	logs := &servicetest.Logs{}
	stack, err := allinone.Start(ctx, allinone.Options{Replicas: 2, Partitions: 2, Logs: logs, Environ: []string{
		"HEED_LOG_LEVEL=debug",
		"HEED_ENDPOINTS_FILE=" + write("endpoints.yaml", "endpoints:\n- {id: k9-rcs, provider: kaleyra, channel: rcs, default_country: IN, verify: [{scheme: none}]}\n"),
		"HEED_SUBSCRIPTIONS_FILE=" + write("subscriptions.yaml", fmt.Sprintf("subscriptions:\n- {id: crm, sink: %q, types: [io.heed.consent.changed.v1], config: {start: earliest}}\n- {id: inbox, sink: %q, types: [io.heed.message.received.v1], config: {start: earliest}}\n", subscriber.URL, subscriber.URL)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 40*time.Second)
		defer cancel()
		if err := stack.Stop(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	defer stop()

	const number, words = "+919999912345", "STOP sending me offers"
	for i, body := range []string{
		`{"type":"USER_MESSAGE","from":"` + number + `","messageId":"Mx-1","botId":"acme","userMessage":{"type":"TEXT","text":"STOP"}}`,
		`{"type":"USER_MESSAGE","from":"` + number + `","messageId":"Mx-2","botId":"acme","userMessage":{"type":"TEXT","text":"` + words + `"}}`,
		`{"type":"USER_MESSAGE","from":"` + number + `","userMessage":{"text":"` + words + `"`, // broken: a dead letter
		words + number, // no JSON at all
	} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, stack.IngestURL+"/v1/callbacks/k9-rcs?from="+number[1:], strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("callback %d: %s", i, resp.Status)
		}
	}
	types := map[string]*http.Request{}
	for types["io.heed.consent.changed.v1"] == nil || types["io.heed.message.received.v1"] == nil {
		select {
		case r := <-delivered:
			types[r.Header.Get("Ce-Type")] = r
		case <-ctx.Done():
			t.Fatalf("delivered so far: %v\n%s", slices.Collect(maps.Keys(types)), logs)
		}
	}
	for name, url := range stack.AdminURLs {
		for _, page := range []string{"/metrics", "/readyz", "/version"} {
			resp, err := http.Get(url + page)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			servicetest.NothingPersonal(t, name+page, string(body), number, words)
		}
	}
	for name, values := range types["io.heed.message.received.v1"].Header {
		servicetest.NothingPersonal(t, "a delivery's header "+name, strings.Join(values, " "), number, words)
	}
	stop() // flushes the spans
	servicetest.NothingPersonal(t, "the log", logs.String(), number, words)

	text, traces := collector.all()
	t.Logf("looked at %d bytes of log and %d bytes of spans", len(logs.String()), len(text))
	servicetest.NothingPersonal(t, "the spans", text, number, words)
	whole := false
	for _, services := range traces {
		whole = whole || services["heed-ingest"] != "" && services["heed-normalizer"] != "" && services["heed-dispatcher"] != ""
	}
	if !whole {
		t.Errorf("no trace goes from ingest over the normalizer to the dispatcher; traces by service: %v", traces)
	}
}

// collector receives spans by OTLP over HTTP: by trace, the services with a span's name each.
type collector struct {
	mu    sync.Mutex
	text  strings.Builder
	spans map[string]map[string]string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req tracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &req); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(&c.text, "%v\n", &req)
	for _, rs := range req.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				id := fmt.Sprintf("%x", s.TraceId)
				if c.spans[id] == nil {
					c.spans[id] = map[string]string{}
				}
				c.spans[id][service] += s.Name + "; "
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (c *collector) all() (string, map[string]map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String(), c.spans
}
