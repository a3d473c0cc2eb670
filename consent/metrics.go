package consent

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/schemas"
)

// metrics are the stage's instruments; every label is of a closed list.
type metrics struct {
	facts, changes, reviews, passed, strangers, rebuilds, losses, checks metric.Int64Counter
	latency                                                              metric.Float64Histogram
	checking                                                             metric.Float64Histogram
	age                                                                  atomic.Int64 // ns, of the view as the last check saw it
}

func newMetrics(m metric.Meter) (*metrics, error) {
	x := &metrics{}
	var err error
	for _, c := range []struct {
		to         *metric.Int64Counter
		name, help string
	}{
		{&x.facts, "heed_consent_facts", "Facts appended, by act, rule and who acted."},
		{&x.changes, "heed_consent_changes", "Changes of somebody's state that were published, by act."},
		{&x.reviews, "heed_consent_reviews", "Messages that somebody should look at, by reason."},
		{&x.passed, "heed_consent_passed_by", "Records of heed.inbound that could not be understood."},
		{&x.strangers, "heed_consent_strangers", "Events whose subject is not the pseudonym that this stage makes of their address: the pseudonym keys of normalizer and consent differ, or a key has been retired too early."},
		{&x.rebuilds, "heed_consent_rebuilds", "Times that a partition's view was made whole, by whether it began anew."},
		{&x.losses, "heed_consent_view_losses", "Times that an owner found its view flushed, moved or restarted."},
		{&x.checks, "heed_consent_checks", "Answers of the check API, by decision and reason."},
	} {
		if *c.to, err = m.Int64Counter(c.name, metric.WithDescription(c.help)); err != nil {
			return nil, err
		}
	}
	if x.latency, err = m.Float64Histogram("heed_consent_stop_to_deny_seconds", metric.WithUnit("s"), metric.WithDescription("From ingest's receipt of a STOP to the moment from which checks deny."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60)); err != nil {
		return nil, err
	}
	if x.checking, err = m.Float64Histogram("heed_consent_check_seconds", metric.WithUnit("s"), metric.WithDescription("Time that a request to the check API took."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5)); err != nil {
		return nil, err
	}
	_, err = m.Float64ObservableGauge("heed_consent_view_age_seconds", metric.WithUnit("s"), metric.WithDescription("Age of the view's time mark as the last check saw it."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(time.Duration(x.age.Load()).Seconds())
			return nil
		}))
	return x, err
}

func (x *metrics) fact(ctx context.Context, f *schemas.Fact) {
	x.facts.Add(ctx, 1, metric.WithAttributes(attribute.String("act", string(f.Act)), attribute.String("rule", f.Cause.Rule), attribute.String("by", f.Cause.By)))
}

func (x *metrics) changed(ctx context.Context, a schemas.Act) {
	x.changes.Add(ctx, 1, metric.WithAttributes(attribute.String("act", string(a))))
}

func (x *metrics) review(ctx context.Context, r schemas.ReviewReason) {
	x.reviews.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(r))))
}

func (x *metrics) passedBy(ctx context.Context) { x.passed.Add(ctx, 1) }
func (x *metrics) stranger(ctx context.Context) { x.strangers.Add(ctx, 1) }
func (x *metrics) lost(ctx context.Context)     { x.losses.Add(ctx, 1) }

func (x *metrics) rebuilt(ctx context.Context, fresh bool) {
	x.rebuilds.Add(ctx, 1, metric.WithAttributes(attribute.Bool("fresh", fresh)))
}

// merged measures STOPs from receipt to the view.
func (x *metrics) merged(ctx context.Context, list []placed, now time.Time) {
	for i := range list {
		if f := &list[i].fact; f.Act == schemas.ActStop && !f.Cause.ReceivedAt.IsZero() {
			x.latency.Record(ctx, max(now.Sub(f.Cause.ReceivedAt).Seconds(), 0))
		}
	}
}

func (x *metrics) checked(ctx context.Context, results []schemas.CheckResult, took time.Duration) {
	x.checking.Record(ctx, took.Seconds())
	type label struct {
		d schemas.Decision
		r schemas.CheckReason
	}
	counts := map[label]int64{}
	for i := range results {
		counts[label{results[i].Decision, results[i].Reason}]++
	}
	for l, n := range counts {
		x.checks.Add(ctx, n, metric.WithAttributes(attribute.String("decision", string(l.d)), attribute.String("reason", string(l.r))))
	}
}
