// Package normalizer is the stage between raw callbacks and events: it reads what ingest wrote,
// lets the provider's adapter understand it, and writes CloudEvents to the family topics.
//
// It refuses to drop a callback: what cannot be understood becomes a dead letter with its bytes
// and headers untouched, and what cannot be written (Kafka away) stalls and is tried again.
// cmd/normalizer and the all-in-one demo run it.
//
// Invariant: a raw record is committed only after every event and dead letter that it gave is
// acknowledged by all in-sync replicas, and so is everything before it.
package normalizer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/providers"
	"github.com/heedhq/heed/schemas"
)

// Group is the stage's consumer group; all replicas share it.
const Group = schemas.GroupNormalizer

const doc = `normalizer turns raw callbacks into CloudEvents.

It reads heed.callbacks and heed.callbacks.bulk, writes events to heed.inbound, heed.status,
heed.calls and heed.account, and what it cannot understand to heed.callbacks.dead. Run as many
replicas as there is load, up to the number of partitions of both topics together.

Events have deterministic ids: after a crash, a rebalance or a provider's retry an event may
stand twice, with the same source and id. While Kafka is away nothing is lost and nothing is
dead-lettered: the stage waits, says so once in the log, and goes on.

SIGTERM finishes what is in flight, commits, leaves the group and ends with status 0.`

// Stage is the normalizer as a program.
func Stage() service.Stage {
	cfg := &config{}
	return service.Stage{
		Name:        "normalizer",
		Doc:         doc,
		Known:       schemas.Variables(),
		AdminListen: ":9081",
		Declare:     func(v *env.Vars) { cfg.declare(v) },
		Check:       cfg.check,
		Run:         func(ctx context.Context, host *service.Host) error { return run(ctx, host, cfg) },
	}
}

// run reads callbacks, translates them, writes the events, and commits what is written.
func run(ctx context.Context, host *service.Host, cfg *config) error {
	client, err := stream.Open(cfg.kafka, stream.Options{ClientID: "heed-normalizer", Log: host.Log, Meter: host.Meter})
	if err != nil {
		return err
	}
	defer client.Close()

	// Each lane has a writer of its own, so that a flood of receipts never fills the queue
	// that a STOP has to go through.
	fast := stream.NewWriter(client, stream.WriterOptions{})
	bulk := stream.NewWriter(client, stream.WriterOptions{})
	n, err := newNormalizer(host, cfg, providers.All(), fast, bulk)
	if err != nil {
		return err
	}
	n.inbound = func(ctx context.Context) (int32, error) { return client.Partitions(ctx, schemas.TopicInbound) }
	host.Ready("kafka", func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return client.Reachable(ctx)
	})
	host.Ready("group", n.joined)

	if err := client.WaitForTopics(ctx, schemas.TopicCallbacks, schemas.TopicCallbacksBulk, schemas.TopicCallbacksDead,
		schemas.TopicInbound, schemas.TopicStatus, schemas.TopicCalls, schemas.TopicAccount); err != nil {
		return nil // stopped while waiting
	}
	options := stream.GroupOptions{Group: Group, Topics: []string{schemas.TopicCallbacks, schemas.TopicCallbacksBulk}, Joined: n.join}
	err = host.Run(ctx,
		func(ctx context.Context) error {
			return stream.Consume(ctx, client, options, func(ctx context.Context, part *stream.Assigned) error {
				return n.work(ctx, part.Topic, part.Partition, part)
			})
		},
		n.watch,
	)
	// The workers have waited for their acknowledgements; what is left belongs to nobody.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, fast.Close(closing), bulk.Close(closing))
}

// normalizer is what the workers of all partitions share.
type normalizer struct {
	log        *slog.Logger
	version    string
	adapters   map[string]adapter.Adapter
	pseudonyms *schemas.Pseudonymizer
	windowSize int
	fast, bulk writer
	inbound    func(context.Context) (int32, error) // number of partitions of heed.inbound
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	metrics    *metrics
	now        func() time.Time

	marksTo atomic.Int32 // partitions of heed.inbound, when last known

	mu     sync.Mutex
	active map[*partition]struct{}
	member bool // the group was joined
}

// writer is what the stage needs of stream.Writer. done is called exactly once, from another
// goroutine, when Enqueue returned nil.
type writer interface {
	Enqueue(ctx context.Context, m stream.Message, done func(stream.Position, error)) error
}

// source is what a worker needs of stream.Assigned.
type source interface {
	Next(context.Context) (*stream.Batch, error)
	Done(offset int64)
	Lag() (records int64, age time.Duration)
}

func newNormalizer(host *service.Host, cfg *config, adapters []adapter.Adapter, fast, bulk writer) (*normalizer, error) {
	n := &normalizer{
		log: host.Log, version: host.Version,
		adapters:   make(map[string]adapter.Adapter, len(adapters)),
		pseudonyms: cfg.pseudonyms, windowSize: cfg.window,
		fast: fast, bulk: bulk,
		tracer: host.Tracer, propagator: host.Propagator,
		now:    time.Now,
		active: map[*partition]struct{}{},
	}
	for _, a := range adapters {
		if _, twice := n.adapters[a.Provider()]; twice {
			return nil, fmt.Errorf("two adapters are called %q", a.Provider())
		}
		n.adapters[a.Provider()] = a
	}
	var err error
	n.metrics, err = newMetrics(host.Meter, slices.Collect(maps.Keys(n.adapters)), n.lag)
	return n, err
}

// join notes that the group was joined; with more replicas than partitions some have none.
func (n *normalizer) join(int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.member = true
}

// joined is why the stage is not ready as a member of its group, or nil.
func (n *normalizer) joined() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.member {
		return errors.New("the consumer group " + Group + " is not joined yet")
	}
	return nil
}

// work reads one partition until it is taken away, then waits until everything that it read is
// acknowledged. An append that failed ends it with an error: the partition is then read again
// from its last commit, so nothing is skipped and order holds.
func (n *normalizer) work(ctx context.Context, topic string, number int32, in source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := newPartition(n, topic, number, in, cancel)
	n.enter(p)
	defer n.leave(p)
	forwarding := make(chan struct{})
	go func() { defer close(forwarding); p.forwardMarks(ctx) }()
	defer func() { cancel(nil); <-forwarding }()

	for {
		batch, err := in.Next(ctx)
		switch {
		case errors.Is(err, stream.ErrRevoked):
			return p.drain(ctx)
		case err != nil:
			return failure(ctx, err)
		}
		err = p.batch(ctx, batch.Records)
		batch.Release()
		if err != nil {
			return failure(ctx, err)
		}
	}
}

// failure is what ended ctx where something did, else err.
func failure(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (n *normalizer) enter(p *partition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.active[p] = struct{}{}
}

func (n *normalizer) leave(p *partition) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.active, p)
}

func (n *normalizer) partitions() []*partition {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*partition, 0, len(n.active))
	for p := range n.active {
		all = append(all, p)
	}
	return all
}

// stallAfter is how long the oldest unacknowledged callback of a partition may wait before the
// log says so: three times what a broker's crash costs every acks=all write (about 10 s).
const stallAfter = 30 * time.Second

// watch says once when acknowledgements stop coming, and once when they come again.
func (n *normalizer) watch(ctx context.Context) error {
	tick := time.NewTicker(stallAfter / 10)
	defer tick.Stop()
	stalled := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		count, oldest := 0, time.Duration(0)
		for _, p := range n.partitions() {
			if waiting := p.waiting(n.now()); waiting > stallAfter {
				count, oldest = count+1, max(oldest, waiting)
			}
		}
		switch {
		case count > 0 && !stalled:
			n.log.Warn("stalled: Kafka does not acknowledge events; nothing is lost, trying on", "partitions", count, "waiting", oldest.Round(time.Second).String())
		case count == 0 && stalled:
			n.log.Info("flowing again: Kafka acknowledges events")
		}
		stalled = count > 0
	}
}
