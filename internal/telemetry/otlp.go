package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// plan says what is pushed: the OTLP protocol per signal, "" for not at all.
type plan struct{ traces, metrics string }

// The OTLP protocols; the specification's third, http/json, is one that the Go exporters lack.
const (
	overHTTP = "http/protobuf"
	overGRPC = "grpc"
)

// readPlan reads what the exporters' own packages do not: which exporter, which protocol, or
// none. Endpoints, headers, certificates and time limits are theirs. One thing differs from the
// specification: without an endpoint nothing is pushed (its default would be localhost:4318,
// and a program that nobody told about a receiver should not complain that it is away).
func readPlan(getenv func(string) string) (plan, error) {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return plan{}, nil
	}
	var p plan
	var errs []error
	for _, signal := range []struct {
		name string
		to   *string
	}{{"TRACES", &p.traces}, {"METRICS", &p.metrics}} {
		exporter := "OTEL_" + signal.name + "_EXPORTER"
		var push bool
		for word := range strings.SplitSeq(getenv(exporter), ",") {
			switch word = strings.TrimSpace(word); {
			case word == "" || word == "otlp":
				push = true
			case word == "none", word == "prometheus" && signal.name == "METRICS": // the page is always there
			default:
				errs = append(errs, fmt.Errorf("%s: want otlp or none, got %q", exporter, word))
			}
		}
		endpoint := first(getenv, "OTEL_EXPORTER_OTLP_"+signal.name+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
		if !push || endpoint == "" {
			continue
		}
		protocol := first(getenv, "OTEL_EXPORTER_OTLP_"+signal.name+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
		if protocol == "" {
			protocol = overHTTP
		}
		if !slices.Contains([]string{overHTTP, overGRPC}, protocol) {
			errs = append(errs, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: want %s or %s, got %q", overHTTP, overGRPC, protocol))
		}
		*signal.to = protocol
	}
	return p, errors.Join(errs...)
}

func first(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return ""
}

func spanExporter(ctx context.Context, protocol string) (sdktrace.SpanExporter, error) {
	if protocol == overGRPC {
		return otlptracegrpc.New(ctx)
	}
	return otlptracehttp.New(ctx)
}

func metricExporter(ctx context.Context, protocol string) (sdkmetric.Exporter, error) {
	if protocol == overGRPC {
		return otlpmetricgrpc.New(ctx)
	}
	return otlpmetrichttp.New(ctx)
}

// HandleErrors logs what OpenTelemetry cannot return to anybody (a receiver that is away), at
// most once a minute. It is process-wide: only a program's main calls it.
func HandleErrors(log *slog.Logger) {
	otel.SetErrorHandler(&errorLog{log: log, every: time.Minute})
}

// errorLog guards its members with mu: exporters report from several goroutines.
type errorLog struct {
	log   *slog.Logger
	every time.Duration

	mu      sync.Mutex
	last    time.Time
	dropped int
}

func (e *errorLog) Handle(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); now.Sub(e.last) < e.every {
		e.dropped++
		return
	} else {
		e.last = now
	}
	e.log.Warn("telemetry could not be exported", "error", err, "more_since_last", e.dropped)
	e.dropped = 0
}
