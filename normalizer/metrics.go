package normalizer

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// Label values. Providers are those that have an adapter, and unknownProvider.
const (
	unknownProvider = "unknown"

	produced  = "produced"  // handed to Kafka; after a crash or a rebalance once more
	duplicate = "duplicate" // dropped by the window

	forwarded  = "forwarded"
	coalesced  = "coalesced"
	unreadable = "unreadable"
)

// metrics are the stage's instruments.
type metrics struct {
	callbacks, events, deads, marks metric.Int64Counter
	age                             metric.Float64Histogram
	byProvider                      map[string][]metric.RecordOption // made once: they are used for every callback
}

// newMetrics makes the instruments; lag observes how far each owned partition is behind.
func newMetrics(m metric.Meter, providers []string, lag func(func(topic string, partition int32, records int64, age time.Duration))) (*metrics, error) {
	var errs [7]error
	ms := metrics{byProvider: map[string][]metric.RecordOption{}}
	for _, provider := range append(providers, unknownProvider) {
		ms.byProvider[provider] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("provider", provider)))}
	}
	ms.callbacks, errs[0] = m.Int64Counter("heed_normalizer_callbacks", metric.WithDescription("Callbacks read, by provider and what became of them: events, partial (some items dead), dead, ignored, nothing."))
	ms.events, errs[1] = m.Int64Counter("heed_normalizer_events", metric.WithDescription("Events, by provider, kind and outcome: produced, or duplicate (dropped by the window)."))
	ms.deads, errs[2] = m.Int64Counter("heed_normalizer_dead", metric.WithDescription("Dead letters, by provider and class."))
	ms.marks, errs[3] = m.Int64Counter("heed_normalizer_marks", metric.WithDescription("Time marks, by outcome: forwarded, coalesced (a newer one says it too), unreadable."))
	ms.age, errs[4] = m.Float64Histogram("heed_normalizer_age", metric.WithUnit("s"), metric.WithDescription("Time from a callback's receipt until its events are acknowledged."),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600))
	records, err := m.Int64ObservableGauge("heed_normalizer_lag", metric.WithDescription("Raw records that are not yet done, by partition that this replica owns."))
	errs[5] = err
	seconds, err := m.Float64ObservableGauge("heed_normalizer_lag_age", metric.WithUnit("s"), metric.WithDescription("Age of the oldest raw record that is not yet done."))
	errs[6] = err
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	_, err = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		lag(func(topic string, partition int32, behind int64, age time.Duration) {
			labels := metric.WithAttributes(attribute.String("topic", topic), attribute.String("partition", strconv.Itoa(int(partition))))
			o.ObserveInt64(records, behind, labels)
			o.ObserveFloat64(seconds, age.Seconds(), labels)
		})
		return nil
	}, records, seconds)
	return &ms, err
}

// lag tells how far the owned partitions are behind.
func (n *normalizer) lag(tell func(topic string, partition int32, records int64, age time.Duration)) {
	for _, p := range n.partitions() {
		records, age := p.in.Lag()
		tell(p.topic, p.number, records, age)
	}
}

func (m *metrics) acknowledged(provider string, age time.Duration) {
	m.age.Record(context.Background(), age.Seconds(), m.byProvider[provider]...)
}

func (m *metrics) mark(outcome string) {
	m.marks.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

// tally counts what one batch gave, so that counters are added to once a batch. Most callbacks
// of a batch are like the one before, whose counts are at hand without a look into the maps.
type tally struct {
	callbacks counts // provider, outcome
	events    counts // provider, kind, outcome
	deads     map[[2]string]*died
}

type counts struct {
	of   map[[3]string]*int64
	last [3]string
	n    *int64
}

func (c *counts) add(key [3]string) {
	if c.n == nil || c.last != key {
		if c.of == nil {
			c.of = map[[3]string]*int64{}
		}
		if c.of[key] == nil {
			c.of[key] = new(int64)
		}
		c.last, c.n = key, c.of[key]
	}
	*c.n++
}

type died struct {
	count int64
	first int64 // offset of the first
}

func newTally() *tally { return &tally{deads: map[[2]string]*died{}} }

func (t *tally) callback(provider, outcome string) { t.callbacks.add([3]string{provider, outcome}) }

func (t *tally) event(provider string, kind schemas.Kind, outcome string) {
	t.events.add([3]string{provider, string(kind), outcome})
}

func (t *tally) dead(provider string, class adapter.Class, offset int64) {
	d := t.deads[[2]string{provider, string(class)}]
	if d == nil {
		d = &died{first: offset}
		t.deads[[2]string{provider, string(class)}] = d
	}
	d.count++
}

// report counts a batch, and logs its dead letters: one line a provider and class.
func (p *partition) report(t *tally) {
	ctx := context.Background()
	for k, n := range t.callbacks.of {
		p.n.metrics.callbacks.Add(ctx, *n, metric.WithAttributes(attribute.String("provider", k[0]), attribute.String("outcome", k[1])))
	}
	for k, n := range t.events.of {
		p.n.metrics.events.Add(ctx, *n, metric.WithAttributes(attribute.String("provider", k[0]), attribute.String("kind", k[1]), attribute.String("outcome", k[2])))
	}
	for k, d := range t.deads {
		p.n.metrics.deads.Add(ctx, d.count, metric.WithAttributes(attribute.String("provider", k[0]), attribute.String("class", k[1])))
		p.n.log.Warn("callbacks dead-lettered: look at them with heed dead list", "provider", k[0], "class", k[1], "count", d.count, "topic", p.topic, "partition", p.number, "first_offset", d.first)
	}
}

// outcome names what became of a callback.
func outcome(outs []translate.Out, failures []adapter.Failure, ignored string) string {
	switch {
	case len(outs) > 0 && len(failures) > 0:
		return "partial"
	case len(outs) > 0:
		return "events"
	case len(failures) > 0:
		return "dead"
	case ignored != "":
		return "ignored"
	}
	return "nothing"
}
