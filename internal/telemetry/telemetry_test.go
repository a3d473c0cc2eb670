package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestReadPlan(t *testing.T) {
	for _, c := range []struct {
		name    string
		environ map[string]string
		want    plan
		wrong   string
	}{
		{name: "nothing said, nothing pushed"},
		{name: "one endpoint for all", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, want: plan{traces: overHTTP, metrics: overHTTP}},
		{name: "grpc", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, want: plan{traces: overGRPC, metrics: overGRPC}},
		{name: "traces only", environ: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, want: plan{traces: overHTTP}},
		{name: "metrics are scraped", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "prometheus"}, want: plan{traces: overHTTP}},
		{name: "both ways", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "otlp,prometheus", "OTEL_TRACES_EXPORTER": "none"}, want: plan{metrics: overHTTP}},
		{name: "a protocol per signal", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, want: plan{traces: overGRPC, metrics: overHTTP}},
		{name: "off", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}},
		{name: "an exporter that we have not", environ: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, wrong: `OTEL_TRACES_EXPORTER: want otlp or none, got "zipkin"`},
		{name: "a protocol that we have not", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, wrong: "http/json"},
	} {
		got, err := readPlan(func(name string) string { return c.environ[name] })
		switch {
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.wrong)
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.wrong == "" && got != c.want:
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// collector is an OTLP receiver over both protocols.
type collector struct {
	tracepb.UnimplementedTraceServiceServer
	metricspb.UnimplementedMetricsServiceServer
	spans, metrics chan string
}

func (c *collector) takeSpans(r *tracepb.ExportTraceServiceRequest) {
	for _, rs := range r.ResourceSpans {
		service := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans <- service + " " + s.Name
			}
		}
	}
}

func (c *collector) Export(_ context.Context, r *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	c.takeSpans(r)
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.URL.Path {
	case "/v1/traces":
		var req tracepb.ExportTraceServiceRequest
		if proto.Unmarshal(body, &req) == nil {
			c.takeSpans(&req)
		}
	case "/v1/metrics":
		var req metricspb.ExportMetricsServiceRequest
		if proto.Unmarshal(body, &req) == nil {
			for _, rm := range req.ResourceMetrics {
				for _, sm := range rm.ScopeMetrics {
					for _, m := range sm.Metrics {
						c.metrics <- m.Name
					}
				}
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func TestPushOverHTTP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := &collector{spans: make(chan string, 10), metrics: make(chan string, 1000)}
	server := httptest.NewServer(c)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	tel, err := Open(ctx, Identity{Service: "heed-ingest", Instance: "i", Version: "v"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer.Start(ctx, "POST /v1/callbacks/{endpoint}")
	span.End()
	if err := tel.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-c.spans; got != "heed-ingest POST /v1/callbacks/{endpoint}" {
		t.Errorf("got span %q", got)
	}
	close(c.metrics)
	seen := map[string]bool{}
	for name := range c.metrics {
		seen[name] = true
	}
	if !seen["heed_build_info"] || !seen["go.goroutine.count"] {
		t.Errorf("pushed metrics: %v", seen)
	}
}

func TestPushOverGRPC(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{spans: make(chan string, 10)}
	server := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "named-by-the-operator")
	tel, err := Open(ctx, Identity{Service: "heed-ingest"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer.Start(ctx, "send heed.callbacks")
	span.End()
	if err := tel.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-c.spans; got != "named-by-the-operator send heed.callbacks" {
		t.Errorf("got span %q", got)
	}
}

func TestSamplerOfTheEnvironment(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.URL)
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tel, err := Open(t.Context(), Identity{Service: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tel.Shutdown(context.WithoutCancel(t.Context())) }()
	if _, span := tel.Tracer.Start(t.Context(), "root"); span.SpanContext().IsSampled() {
		t.Error("ratio 0 samples a root")
	}
	ctx := remote(t, tel)
	if _, span := tel.Tracer.Start(ctx, "child"); !span.SpanContext().IsSampled() || span.SpanContext().TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Error("a sampled parent is not followed")
	}
}

// remote is a context with a sampled span of another process.
func remote(t *testing.T, tel *Telemetry) context.Context {
	t.Helper()
	return tel.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
}

func page(t *testing.T, tel *Telemetry) string {
	t.Helper()
	req := httptest.NewRequest("GET", "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, req)
	return w.Body.String()
}

func TestExemplarsAndCardinality(t *testing.T) {
	tel, err := Open(t.Context(), Identity{Service: "heed-ingest", Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(tracetest.NewInMemoryExporter()))
	ctx, span := traces.Tracer("").Start(t.Context(), "request")
	defer span.End()
	seconds, err := tel.Meter.Float64Histogram("heed_ingest_request", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	seconds.Record(ctx, 0.003)
	count, err := tel.Meter.Int64Counter("heed_ingest_callbacks")
	if err != nil {
		t.Fatal(err)
	}
	for i := range CardinalityLimit + 500 {
		count.Add(ctx, 1, metric.WithAttributes(attribute.Int("hostile", i)))
	}
	got := page(t, tel)
	if want := `# {span_id="` + span.SpanContext().SpanID().String(); !strings.Contains(got, want) && !strings.Contains(got, `trace_id="`+span.SpanContext().TraceID().String()) {
		t.Error("no exemplar on the page")
	}
	if n := strings.Count(got, "heed_ingest_callbacks_total{"); n > CardinalityLimit || !strings.Contains(got, `otel_metric_overflow="true"`) {
		t.Errorf("%d series of one counter", n)
	}
	if !strings.Contains(got, `version="1.2.3"`) {
		t.Error("heed_build_info lacks the version")
	}
}

func TestLogLinesCarryTheirTrace(t *testing.T) {
	var b bytes.Buffer
	log := NewLogger(&b, slog.LevelInfo).With("service", "ingest").WithGroup("request")
	ctx := remote(t, &Telemetry{Propagator: propagation.TraceContext{}})
	log.InfoContext(ctx, "accepted", "bytes", 12)
	var line struct {
		Service string
		Request struct {
			Bytes   int
			TraceID string `json:"trace_id"`
			SpanID  string `json:"span_id"`
		}
	}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line.Service != "ingest" || line.Request.Bytes != 12 || line.Request.TraceID != "4bf92f3577b34da6a3ce929d0e0e4736" || line.Request.SpanID != "00f067aa0ba902b7" {
		t.Errorf("got %s", &b)
	}
	b.Reset()
	log.Info("no trace")
	if strings.Contains(b.String(), "trace_id") {
		t.Errorf("got %s", &b)
	}
}

func TestErrorLogIsLimited(t *testing.T) {
	var b bytes.Buffer
	e := &errorLog{log: NewLogger(&b, slog.LevelInfo), every: time.Hour}
	for range 5 {
		e.Handle(errors.New("collector is away"))
	}
	if n := strings.Count(b.String(), "\n"); n != 1 || e.dropped != 4 {
		t.Errorf("%d lines, %d dropped", n, e.dropped)
	}
}

func TestNamesAreOfOneVersion(t *testing.T) {
	if diff := cmp.Diff("https://opentelemetry.io/schemas/1.43.0", SchemaURL); diff != "" {
		t.Errorf("dashboards and docs name this version too: %s", diff)
	}
}
