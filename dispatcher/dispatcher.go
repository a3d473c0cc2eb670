// Package dispatcher delivers events to their subscribers over HTTP: each subscription is a lane
// of its own, with its own place in the log, budget, connections, rate and circuit.
//
// It reads the family topics and the retry tiers, and refuses to follow redirects, to connect to
// addresses that are not public unless the operator allows them, and to count an endpoint's
// outage against an event. Its users are the subscribers, and whoever runs them.
//
// Invariant: a lane's committed offset never passes an event that the subscriber has not taken,
// that does not stand in a retry tier and that is not a dead letter.
package dispatcher

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Stage is the program.
func Stage() service.Stage {
	c := &config{}
	return service.Stage{
		Name:        "dispatcher",
		Doc:         "dispatcher delivers events to their subscribers.",
		Known:       schemas.Variables(),
		AdminListen: ":9083",
		Declare:     c.declare,
		Check:       c.check,
		Notes:       c.notes,
		Run:         c.run,
	}
}

// The groups that share out partitions among dispatchers. Neither says how far a subscription
// got: that is in the groups of its lanes.
const (
	groupOwners = "heed.dispatcher"
	groupTiers  = "heed.dispatcher.retry"
)

// dispatcher is the stage at work.
type dispatcher struct {
	config   *config
	host     *service.Host
	client   *stream.Client
	writer   *stream.Writer
	guard    guard
	book     *book
	metrics  *metrics
	switches switches
	hard     context.Context  // ends when what is still in flight is given up
	tasks    sync.WaitGroup   // writes that go on by themselves
	turns    chan struct{}    // lanes that read by themselves at once
	memory   atomic.Int64     // bytes of events that subscribers hold
	file     service.Followed // the subscriptions

	mu         sync.Mutex
	roster     *roster
	partitions map[*partition]struct{}
	ends       map[stream.TopicPartition]int64
}

// readersAtOnce bounds how many lanes read by themselves at once: 16 fetches of 1 MiB.
const readersAtOnce = 16

// run delivers events until ctx ends: it takes its share of the partitions and shows their
// records to the lanes, retries what waits in the tiers, commits how far each lane got, serves
// the API and follows the subscriptions file. Stopping, it begins no attempt, lets those in
// flight end within 10 s (stream's drain), commits and leaves the groups, then flushes.
func (c *config) run(ctx context.Context, host *service.Host) error {
	client, err := stream.Open(c.kafka, stream.Options{ClientID: "heed-dispatcher", Log: host.Log, Meter: host.Meter})
	if err != nil {
		return err
	}
	defer client.Close()
	writer := stream.NewWriter(client, stream.WriterOptions{})
	hard, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	d := &dispatcher{
		config: c, host: host, client: client, writer: writer, guard: guard{c.allowed}, hard: hard,
		book:       &book{kafka: client, starts: map[string]time.Time{}},
		switches:   switches{set: map[string]schemas.SubscriptionSwitch{}},
		turns:      make(chan struct{}, readersAtOnce),
		roster:     newRoster(nil),
		partitions: map[*partition]struct{}{},
	}
	if d.metrics, err = newMetrics(host.Meter); err != nil {
		return err
	}
	if err := d.observe(host.Meter); err != nil {
		return err
	}
	d.file = service.Followed{Host: host, Name: "subscriptions", File: c.file, Take: d.loadFile, Reloaded: d.countReload}
	if err := d.file.Load(); err != nil {
		return err
	}
	host.Ready("kafka", func() error { return reachable(client) })
	host.Note("subscriptions", d.file.Note)
	serve, err := d.api()
	if err != nil {
		return err
	}

	err = host.Run(ctx, serve, func(ctx context.Context) error {
		next, ok := d.switchesSoFar(ctx)
		if !ok {
			return nil
		}
		return host.Run(ctx,
			func(ctx context.Context) error {
				return stream.Consume(ctx, client, stream.GroupOptions{Group: groupOwners, Topics: schemas.DeliveredTopics(), ManualOffsets: true}, d.own)
			},
			func(ctx context.Context) error {
				return stream.Consume(ctx, client, stream.GroupOptions{Group: groupTiers, Topics: tierTopics()}, d.retry)
			},
			d.commit,
			d.measure,
			d.file.Run,
			d.followSwitches(next),
		)
	})
	for _, s := range d.current().subs {
		s.close()
	}
	stop()
	d.tasks.Wait()
	flush, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, writer.Close(flush))
}

func tierTopics() []string {
	var topics []string
	for _, t := range schemas.RetryTiers() {
		topics = append(topics, t.Topic)
	}
	return topics
}

// reachable asks for at most a quarter of a second: a readiness check must not block.
func reachable(client *stream.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	return client.Reachable(ctx)
}

// commit commits the lanes' progress until ctx ends; what a partition has left, its owner
// commits when it goes. What was delivered since the last commit is delivered again after a
// crash, so it commits as often as is cheap: a round may take a tenth of the time, ten rounds a
// second at most. A thousand busy lanes take most of a second, and are committed once a second.
func (d *dispatcher) commit(ctx context.Context) error {
	swept := time.Now()
	for wait := commitSoonest; until(ctx, time.Now().Add(wait)); {
		began := time.Now()
		lanes := d.book.takeMoved()
		if began.Sub(swept) >= commitPassEvery {
			swept, lanes = began, d.lanes()
		}
		d.book.save(ctx, lanes, false)
		wait = min(max(10*time.Since(began), commitSoonest), commitEvery)
	}
	return nil
}

// measure keeps the ends of the partitions, by which lag is told.
func (d *dispatcher) measure(ctx context.Context) error {
	for {
		d.readEnds(ctx)
		if !until(ctx, time.Now().Add(5*time.Second)) {
			return nil
		}
	}
}

func (d *dispatcher) readEnds(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ends := map[stream.TopicPartition]int64{}
	for _, topic := range schemas.DeliveredTopics() {
		bounds, err := d.client.OffsetBounds(ctx, topic)
		if err != nil {
			return // the old ones stand
		}
		for p, b := range bounds {
			ends[stream.TopicPartition{Topic: topic, Partition: p}] = b.End
		}
	}
	d.mu.Lock()
	d.ends = ends
	d.mu.Unlock()
}

func (d *dispatcher) end(at stream.TopicPartition) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ends[at]
}

// standing is how a subscription stands on this dispatcher's partitions.
type standing struct {
	state, reason string
	lag           int64
	age           time.Duration
	inFlight      int
}

// standings tells how all subscriptions stand.
func (d *dispatcher) standings() map[*subscriber]*standing {
	now := time.Now()
	all := map[*subscriber]*standing{}
	for _, s := range d.current().subs {
		x := &standing{}
		x.state, x.reason = s.state()
		s.mu.Lock()
		x.inFlight = s.inFlight
		s.mu.Unlock()
		all[s] = x
	}
	for _, p := range d.owned() {
		p.mu.Lock()
		tail := p.pos
		p.mu.Unlock()
		end := max(d.end(stream.TopicPartition{Topic: p.topic, Partition: p.number}), tail)
		for _, l := range p.live() {
			x := all[l.s]
			if x == nil {
				continue
			}
			records, age, behind := l.lag(end, tail, now)
			x.lag += records
			x.age = max(x.age, age)
			if behind && x.state == "live" {
				x.state = "catching_up"
			}
		}
	}
	return all
}

// observe registers what is read off when somebody asks.
func (d *dispatcher) observe(m metric.Meter) error {
	var errs [6]error
	var lag, inFlight, held, stale metric.Int64ObservableGauge
	var age metric.Float64ObservableGauge
	lag, errs[0] = m.Int64ObservableGauge("heed_dispatch_lag_records", metric.WithDescription("Records that a subscription has not got done, on this dispatcher's partitions."))
	age, errs[1] = m.Float64ObservableGauge("heed_dispatch_lag_seconds", metric.WithDescription("Age of the oldest event that a subscription has not taken."))
	inFlight, errs[2] = m.Int64ObservableGauge("heed_dispatch_in_flight", metric.WithDescription("Events being delivered."))
	held, errs[3] = m.Int64ObservableGauge("heed_dispatch_held", metric.WithDescription("1 for a subscription that is held, paused or disabled; the label says which."))
	stale, errs[4] = m.Int64ObservableGauge("heed_dispatch_subscriptions_stale", metric.WithDescription("1 while the subscriptions file is bad and the subscriptions are those of the last good one."))
	_, errs[5] = m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for s, x := range d.standings() {
			id := attribute.String("subscription", s.sub.ID)
			o.ObserveInt64(lag, x.lag, metric.WithAttributes(id))
			o.ObserveFloat64(age, x.age.Seconds(), metric.WithAttributes(id))
			o.ObserveInt64(inFlight, int64(x.inFlight), metric.WithAttributes(id))
			if x.state == "held" || x.state == "paused" || x.state == "disabled" {
				o.ObserveInt64(held, 1, metric.WithAttributes(id, attribute.String("state", x.state)))
			}
		}
		o.ObserveInt64(stale, d.file.Stale())
		return nil
	}, lag, age, inFlight, held, stale)
	return errors.Join(errs[:]...)
}
