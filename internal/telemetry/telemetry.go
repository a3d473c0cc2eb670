// Package telemetry sets up OpenTelemetry and logs for one program: metrics that Prometheus
// scrapes on the admin port, traces and metrics pushed by OTLP where the OTEL_ variables name a
// receiver, JSON log lines that carry the ids of their trace.
//
// It is the only importer of the OTel SDK, its exporters and the semantic conventions; everybody
// else uses the API and the names in semconv.go. It refuses process-wide providers, so that
// several programs can live in one process.
//
// Invariant: no label set grows without bound. An instrument keeps at most CardinalityLimit
// attribute sets; the rest is counted under otel_metric_overflow="true".
package telemetry

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	goruntime "go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const scope = "github.com/heedhq/heed"

// CardinalityLimit is how many attribute sets one instrument keeps: 1,000 endpoints or
// subscriptions with two outcomes each. The SDK's own default, written down because dashboards
// and I9 rest on it.
const CardinalityLimit = 2000

// Identity names the program that reports. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
// outrank it.
type Identity struct {
	Service  string // service.name
	Instance string // service.instance.id
	Version  string // service.version
}

// Telemetry is what one program reports through.
type Telemetry struct {
	Meters     metric.MeterProvider // for instrumentation libraries
	Traces     trace.TracerProvider
	Meter      metric.Meter // the program's own
	Tracer     trace.Tracer
	Propagator propagation.TextMapPropagator // W3C trace context; no baggage: it would carry anything
	Metrics    http.Handler                  // the Prometheus page

	shutdown []func(context.Context) error
}

// Open sets up the program's telemetry. Where the environment names no OTLP receiver nothing is
// pushed and spans cost nothing; the Prometheus page is always there.
func Open(ctx context.Context, id Identity) (*Telemetry, error) {
	plan, err := readPlan(os.Getenv)
	if err != nil {
		return nil, err
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String(serviceName, id.Service),
		attribute.String(serviceInstanceID, id.Instance),
		attribute.String(serviceVersion, id.Version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Propagator: propagation.TraceContext{}}
	if err := t.openMetrics(ctx, plan, res, id); err != nil {
		return nil, err
	}
	if err := t.openTraces(ctx, plan, res); err != nil {
		_ = t.Shutdown(ctx)
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) openMetrics(ctx context.Context, plan plan, res *resource.Resource, id Identity) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})); err != nil {
		return err
	}
	page, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return err
	}
	options := []sdkmetric.Option{sdkmetric.WithReader(page), sdkmetric.WithResource(res), sdkmetric.WithCardinalityLimit(CardinalityLimit)}
	if plan.metrics != "" {
		exporter, err := metricExporter(ctx, plan.metrics)
		if err != nil {
			return err
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	meters := sdkmetric.NewMeterProvider(options...)
	t.Meters = meters
	t.Meter = meters.Meter(scope)
	// OpenMetrics, because only that format carries exemplars: the trace of one request behind a
	// histogram's bucket.
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	t.shutdown = append(t.shutdown, meters.Shutdown)
	if err := goruntime.Start(goruntime.WithMeterProvider(meters)); err != nil {
		return err
	}
	_, err = t.Meter.Int64ObservableGauge("heed_build_info", metric.WithDescription("Always 1; the labels say what runs."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, metric.WithAttributes(attribute.String("service", id.Service), attribute.String("version", id.Version),
				attribute.String("revision", revision()), attribute.String("goversion", runtime.Version())))
			return nil
		}))
	return err
}

func (t *Telemetry) openTraces(ctx context.Context, plan plan, res *resource.Resource) error {
	if plan.traces == "" {
		t.Traces = noop.NewTracerProvider()
		t.Tracer = t.Traces.Tracer(scope)
		return nil
	}
	exporter, err := spanExporter(ctx, plan.traces)
	if err != nil {
		return err
	}
	// No sampler here: the SDK takes OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, by default
	// parentbased_always_on. Under load say parentbased_traceidratio and 0.01.
	traces := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	t.Traces = traces
	t.Tracer = traces.Tracer(scope)
	t.shutdown = append(t.shutdown, traces.Shutdown)
	return nil
}

// Shutdown flushes what has not been exported yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.shutdown {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

// revision is the commit that the program was built from, "" when the build did not stamp it.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
