package dispatcher

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/telemetry"
	"github.com/heedhq/heed/schemas"
)

// park writes a delivery to a retry tier.
func (d *dispatcher) park(ctx context.Context, one *delivery, tier schemas.RetryTier) error {
	err := d.append(ctx, retryMessage(one, tier.Topic))
	if err == nil {
		d.metrics.parked.Add(ctx, 1, metric.WithAttributes(attribute.String("tier", tier.Delay.String())))
	}
	return err
}

// bury writes a delivery to the dead-letter topic.
func (d *dispatcher) bury(ctx context.Context, one *delivery, class schemas.DeadReason) error {
	err := d.append(ctx, deadMessage(one, class, d.host.Version))
	if err == nil {
		d.metrics.dead.Add(ctx, 1, metric.WithAttributes(attribute.String("subscription", one.subscription), attribute.String("class", string(class))))
		d.host.Log.Warn("event given up", "subscription", one.subscription, "class", class, "reason", one.lastReason, "attempts", one.attempts,
			"event_id", one.item.event.ID, "event_source", one.item.event.Source, "event_type", one.item.event.Type,
			"topic", one.item.topic, "partition", one.item.partition, "offset", one.item.offset)
	}
	return err
}

// buryRecord writes a record that is no CloudEvent to the dead-letter topic.
func (d *dispatcher) buryRecord(ctx context.Context, r *stream.Record, why error) error {
	err := d.append(ctx, undecodableMessage(r, why, time.Now(), d.host.Version))
	if err == nil {
		d.metrics.dead.Add(ctx, 1, metric.WithAttributes(attribute.String("subscription", ""), attribute.String("class", string(schemas.DeadDecode))))
		d.host.Log.Warn("record is no event", "class", schemas.DeadDecode, "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "error", why)
	}
	return err
}

// append writes one message, again and again until it is acknowledged or ctx ends. What can't be
// written is not done: the lane waits, rather than lose it. A record that the topic can't take
// would wait for ever; its value is left out then, and where it stands is on its headers.
func (d *dispatcher) append(ctx context.Context, m stream.Message) error {
	return d.insist(ctx, "writing to "+m.Topic, func(ctx context.Context) error {
		_, err := d.writer.Append(ctx, m)
		if errors.Is(err, stream.ErrTooLarge) && m.Value != nil {
			m.Value = nil
			_, err = d.writer.Append(ctx, m)
		}
		return err
	})
}

// insist does something until it succeeds or ctx ends; each failure is logged once a minute at
// most by what it does not do more often than that.
func (d *dispatcher) insist(ctx context.Context, doing string, do func(context.Context) error) error {
	for n := 0; ; n++ {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := do(try)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errStopping
		}
		if n%20 == 0 {
			d.host.Log.Warn("Kafka does not answer as it should; trying on", "doing", doing, "tries", n+1, "error", err)
		}
		if !until(ctx, time.Now().Add(fullJitter(100*time.Millisecond, 3*time.Second, n, 0.5))) {
			return errStopping
		}
	}
}

// attempted reports an ended attempt: one log line, metrics, and an event for those who ask
// later. A success is logged at debug: it stands on heed.dispatch.attempts, and a busy
// dispatcher has thousands a second.
func (d *dispatcher) attempted(one *delivery, a attempt) {
	ctx := context.Background()
	d.metrics.attempt(ctx, one.subscription, a.outcome.verdict)
	if a.outcome.verdict == taken {
		d.metrics.age.Record(ctx, max(a.started.Add(a.duration).Sub(recorded(one.item)).Seconds(), 0))
	}
	level := slog.LevelInfo
	if a.outcome.verdict == taken {
		level = slog.LevelDebug
	}
	if d.host.Log.Enabled(ctx, level) {
		d.host.Log.LogAttrs(ctx, level, "attempt",
			slog.String("subscription", one.subscription), slog.String("outcome", a.outcome.verdict.String()), slog.String("reason", a.outcome.reason),
			slog.Int("status", a.outcome.status), slog.String("next", a.decision.step.String()), slog.Int("attempt", a.number), slog.Bool("probe", a.probe),
			slog.Duration("retry_after", a.outcome.retryAfter), slog.Duration("duration", a.duration),
			slog.String("event_id", one.item.event.ID), slog.String("event_source", one.item.event.Source), slog.String("event_type", one.item.event.Type),
			slog.String("topic", one.item.topic), slog.Int("partition", int(one.item.partition)), slog.Int64("offset", one.item.offset))
	}
	data, err := json.Marshal(schemas.DeliveryAttempt{
		Subscription: one.subscription,
		Event:        schemas.AttemptedEvent{ID: one.item.event.ID, Source: one.item.event.Source, Type: one.item.event.Type},
		Attempt:      a.number, Outcome: schemas.AttemptOutcome(a.outcome.verdict.String()), Reason: a.outcome.reason, Status: a.outcome.status,
		Next: a.decision.step.String(), StartedAt: a.started.UTC(), Duration: a.duration.Seconds(),
		Position: schemas.AttemptPosition{Topic: one.item.topic, Partition: one.item.partition, Offset: one.item.offset},
	})
	if err != nil {
		return
	}
	event := stream.Event{
		ID: rand.Text(), Source: "heed/dispatcher/" + one.subscription, Type: schemas.DeliveryAttempted.Type(), Time: a.started,
		ContentType: "application/json", Data: data,
		Extensions: []stream.Extension{{Name: schemas.ExtCausationID, Value: one.item.event.ID}},
	}
	err = d.writer.Enqueue(d.hard, event.Message(schemas.TopicDispatchAttempts, []byte(one.subscription)), func(_ stream.Position, err error) {
		if err != nil {
			d.metrics.unreported.Add(ctx, 1)
		}
	})
	if err != nil { // full: deliveries go on, their record is counted as missing
		d.metrics.unreported.Add(ctx, 1)
	}
}

// recorded is when the event was recorded first, as far as it says so.
func recorded(it *item) time.Time {
	if t, err := time.Parse(time.RFC3339Nano, it.event.Extension(schemas.ExtRecordedTime)); err == nil {
		return t
	}
	return it.time
}

// tracer continues an event's trace to its subscriber.
type tracer struct {
	tracer trace.Tracer
	w3c    propagation.TextMapPropagator
}

// start begins the span of an attempt if the event's trace is sampled. Else the event's own
// trace context is passed on as it is, which costs nothing.
func (t tracer) start(ctx context.Context, s *schemas.Subscription, e *stream.Event) (context.Context, string, func(outcome)) {
	parent := e.Extension(schemas.ExtTraceparent)
	if t.tracer == nil || len(parent) != 55 || parent[54]&1 == 0 {
		return ctx, parent, func(outcome) {}
	}
	carrier := propagation.MapCarrier{"traceparent": parent, "tracestate": e.Extension(schemas.ExtTracestate)}
	ctx, span := t.tracer.Start(t.w3c.Extract(ctx, carrier), "deliver "+s.ID, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String(telemetry.EventID, e.ID), attribute.String(telemetry.EventSource, e.Source), attribute.String(telemetry.EventType, e.Type),
		attribute.String("heed.subscription", s.ID), attribute.String(telemetry.HTTPMethod, s.Settings.Method)))
	if span.SpanContext().IsSampled() {
		t.w3c.Inject(ctx, carrier)
		parent = carrier["traceparent"]
	}
	return ctx, parent, func(o outcome) {
		if o.status != 0 {
			span.SetAttributes(attribute.Int(telemetry.HTTPStatusCode, o.status))
		}
		if o.verdict != taken {
			span.SetAttributes(attribute.String(telemetry.ErrorType, o.reason))
			span.SetStatus(codes.Error, o.reason)
		}
		span.End()
	}
}

// metrics are what the dispatcher counts.
type metrics struct {
	attempts   metric.Int64Counter
	parked     metric.Int64Counter
	dead       metric.Int64Counter
	unreported metric.Int64Counter
	reloads    metric.Int64Counter
	age        metric.Float64Histogram
}

func newMetrics(m metric.Meter) (*metrics, error) {
	var x metrics
	var errs [6]error
	x.attempts, errs[0] = m.Int64Counter("heed_dispatch_attempts", metric.WithDescription("Attempts to deliver, by subscription and outcome (taken, refused, suspect, down, gone)."))
	x.parked, errs[1] = m.Int64Counter("heed_dispatch_parked", metric.WithDescription("Events that went to a retry tier."))
	x.dead, errs[2] = m.Int64Counter("heed_dispatch_dead", metric.WithDescription("Events that went to the dead-letter topic, by class (refused, exhausted, decode, removed)."))
	x.unreported, errs[3] = m.Int64Counter("heed_dispatch_attempts_unreported", metric.WithDescription("Attempts whose event could not be written to heed.dispatch.attempts."))
	x.reloads, errs[4] = m.Int64Counter("heed_dispatch_reloads", metric.WithDescription("Times the subscriptions file was read anew, by result (taken, refused)."))
	x.age, errs[5] = m.Float64Histogram("heed_dispatch_end_to_end_seconds", metric.WithDescription("Age of events when their subscriber took them, since they were recorded."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200))
	return &x, errors.Join(errs[:]...)
}

func (x *metrics) attempt(ctx context.Context, subscription string, v verdict) {
	x.attempts.Add(ctx, 1, metric.WithAttributes(attribute.String("subscription", subscription), attribute.String("outcome", v.String())))
}
