package normalizer

import (
	"strings"
	"testing"
	"testing/synctest"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	ingestSpan  = "b7ad6b7169203331"
	sampledBy   = "00-" + traceID + "-" + ingestSpan + "-01"
	unsampledBy = "00-" + traceID + "-" + ingestSpan + "-00"
)

func traced(offset int64, parent string) stream.Record {
	rec := text(offset, "a")
	rec.Headers = append(rec.Headers, stream.Header{Key: "ce_traceparent", Value: []byte(parent)})
	return rec
}

// A sampled callback has one span, a child of the span that took the callback, open until its
// events are acknowledged. The event's extension stays that of the first hop, the header is ours.
func TestSampledCallbackContinuesTheTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		r.tracer = provider.Tracer("")
		r.out.hold = true
		in := newFeed([]stream.Record{traced(1, sampledBy)})
		close(in.batches)
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		if len(spans.Started()) != 1 || len(spans.Ended()) != 0 {
			t.Fatalf("%d spans begun, %d ended before the acknowledgement", len(spans.Started()), len(spans.Ended()))
		}
		r.out.release(nil, 0)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		span := spans.Ended()[0]
		if span.Parent().TraceID().String() != traceID || span.Parent().SpanID().String() != ingestSpan || span.SpanKind() != trace.SpanKindConsumer || span.Name() != "process heed.callbacks" {
			t.Errorf("span %q of kind %v, parent %v", span.Name(), span.SpanKind(), span.Parent())
		}
		event := r.out.on(schemas.TopicInbound)[0]
		if got := header(event, "ce_traceparent"); got != sampledBy {
			t.Errorf("ce_traceparent %q, want the first hop's", got)
		}
		if got := header(event, "traceparent"); !strings.Contains(got, traceID) || !strings.Contains(got, span.SpanContext().SpanID().String()) {
			t.Errorf("traceparent %q, want this span's", got)
		}
		for _, a := range span.Attributes() {
			if strings.Contains(a.Value.String(), "9999912345") {
				t.Errorf("attribute %s carries a number", a.Key)
			}
		}
	})
}

func TestUnsampledCallbackHasNoSpan(t *testing.T) {
	for _, parent := range []string{unsampledBy, "", "nonsense"} {
		r := newRig(t)
		spans := tracetest.NewSpanRecorder()
		r.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("")
		if _, err := r.run(t, []stream.Record{traced(1, parent)}); err != nil {
			t.Fatal(err)
		}
		event := r.out.on(schemas.TopicInbound)[0]
		if len(spans.Started()) != 0 || header(event, "traceparent") != "" || header(event, "ce_traceparent") != parent {
			t.Errorf("%q: %d spans, traceparent %q, ce_traceparent %q", parent, len(spans.Started()), header(event, "traceparent"), header(event, "ce_traceparent"))
		}
	}
}
