package normalizer

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/telemetry"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// headerTraceparent is the Kafka header of the last hop's span. The event's extension of the
// same name stays that of the first hop (CloudEvents distributed tracing extension).
const headerTraceparent = "traceparent"

// span begins the span of a sampled callback, as a child of the span that wrote the record, and
// gives the header that the callback's events carry on. An unsampled callback costs a look at
// one byte.
func (n *normalizer) span(ctx context.Context, rec *stream.Record, env translate.Envelope, provider string) (trace.Span, string) {
	parent := string(rec.Header(headerTraceparent))
	if parent == "" {
		parent = env.Traceparent
	}
	if !sampled(parent) {
		return nil, ""
	}
	carrier := propagation.MapCarrier{"traceparent": parent}
	if env.Tracestate != "" {
		carrier["tracestate"] = env.Tracestate
	}
	ctx, span := n.tracer.Start(n.propagator.Extract(ctx, carrier), "process "+rec.Topic,
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String(telemetry.MessagingSystem, "kafka"),
			attribute.String(telemetry.MessagingOperationName, "process"),
			attribute.String(telemetry.MessagingOperationType, "process"),
			attribute.String(telemetry.MessagingDestination, rec.Topic),
			attribute.String(telemetry.MessagingGroup, Group),
			attribute.Int64(telemetry.MessagingKafkaOffset, rec.Offset),
			attribute.String(telemetry.EventID, strings.Clone(env.CallbackID)), // the span outlives the record
			attribute.String(telemetry.EventType, schemas.CallbackReceived.Type()),
			attribute.String("heed.provider", provider),
		))
	onward := propagation.MapCarrier{}
	n.propagator.Inject(ctx, onward)
	return span, onward["traceparent"]
}

// sampled reads the flag of a traceparent (W3C Trace Context §3.2.2.5): 00-<32>-<16>-<2>.
func sampled(traceparent string) bool {
	if len(traceparent) < 55 {
		return false
	}
	switch traceparent[54] {
	case '1', '3', '5', '7', '9', 'b', 'd', 'f':
		return true
	}
	return false
}
