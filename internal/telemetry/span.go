package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Start starts a span where it will be recorded, and costs next to nothing where it won't: with
// tracing off, or inside a trace that the sampler left out, it neither asks the sampler nor
// builds options. options is called only for a span that is started; it may be nil.
//
// At the head of a trace (no parent in ctx) the sampler decides, so Start always asks it.
func Start(ctx context.Context, tracer trace.Tracer, name string, options func() []trace.SpanStartOption) (context.Context, trace.Span) {
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() && !parent.IsSampled() {
		return ctx, noop.Span{}
	}
	if _, off := tracer.(noop.Tracer); off {
		return ctx, noop.Span{}
	}
	if options == nil {
		return tracer.Start(ctx, name)
	}
	return tracer.Start(ctx, name, options()...)
}

// Resume puts the trace of a record's traceparent (W3C, "00-…-…-01") into ctx, for a span that
// continues it. A trace that the sampler left out stays left out: Start opens nothing below it.
func Resume(ctx context.Context, traceparent, tracestate string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, &carrier{traceparent, tracestate})
}

// Traceparent is ctx's span as W3C traceparent and tracestate; empty when there is none.
func Traceparent(ctx context.Context) (traceparent, tracestate string) {
	var c carrier
	propagation.TraceContext{}.Inject(ctx, &c)
	return c.parent, c.state
}

// carrier holds the two headers of W3C trace context without a map.
type carrier struct{ parent, state string }

// Get implements propagation.TextMapCarrier.
func (c *carrier) Get(key string) string {
	switch key {
	case "traceparent":
		return c.parent
	case "tracestate":
		return c.state
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c *carrier) Set(key, value string) {
	switch key {
	case "traceparent":
		c.parent = value
	case "tracestate":
		c.state = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (c *carrier) Keys() []string { return []string{"traceparent", "tracestate"} }
