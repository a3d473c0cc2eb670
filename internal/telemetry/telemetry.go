// Package telemetry sets up OpenTelemetry for one program: metrics that Prometheus scrapes on
// the admin port, traces by OTLP where the OTEL_ variables name a receiver.
//
// It is the only importer of the OTel SDK and its exporters; everybody else uses the API. It
// refuses process-wide providers, so that several programs can live in one process.
package telemetry

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Identity names the program that reports.
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
	Propagator propagation.TextMapPropagator
	Metrics    http.Handler // the Prometheus page

	shutdown []func(context.Context) error
}

// Open sets up the program's telemetry.
func Open(ctx context.Context, id Identity) (*Telemetry, error) {
	res, err := resource.Merge(resource.Default(), resource.NewSchemaless(
		attribute.String("service.name", id.Service),
		attribute.String("service.instance.id", id.Instance),
		attribute.String("service.version", id.Version),
	))
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(res))
	t := &Telemetry{
		Meters:     meters,
		Meter:      meters.Meter("github.com/heedhq/heed"),
		Propagator: propagation.TraceContext{},
		Metrics:    promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		shutdown:   []func(context.Context) error{meters.Shutdown},
	}
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "" {
		spans, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, err
		}
		options = append(options, sdktrace.WithBatcher(spans))
	} else {
		options = append(options, sdktrace.WithSampler(sdktrace.NeverSample()))
	}
	traces := sdktrace.NewTracerProvider(options...)
	t.Traces = traces
	t.Tracer = traces.Tracer("github.com/heedhq/heed")
	t.shutdown = append(t.shutdown, traces.Shutdown)
	return t, nil
}

// Shutdown flushes what has not been exported yet.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.shutdown {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}
