package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// GroupOptions say how to consume. Zero values take the defaults.
type GroupOptions struct {
	Group  string
	Topics []string
	// MaxBytes bounds the bytes of one partition's fetch (default 1 MiB). A partition holds at
	// most two fetches and, where they are compressed, as much again decompressed: memory is at
	// most partitions × 4 × MaxBytes, as long as no single batch is larger than MaxBytes.
	MaxBytes int
	// Window bounds records that are handed out but not done, per partition (default 65,536).
	Window int
	// DrainTimeout bounds how long workers may finish after a partition is taken away or the
	// program stops (default 10 s).
	DrainTimeout time.Duration
	// ManualOffsets: the group only decides who owns which partition; it commits nothing, and a
	// worker says itself where to start (Assigned.StartAt before the first Next).
	ManualOffsets bool
	// Joined, when set, is called as each generation begins, with the number of partitions that
	// this member has in it. A member with none is as ready as any: readiness needs to know.
	Joined func(partitions int)
}

// Worker owns one partition for as long as it runs. It reads with part.Next until that returns
// ErrRevoked, then finishes what it holds, declares it done and returns nil. ctx ends when the
// drain's time is over. After an error it is started again from the first record that is not
// done, with a log line and a pause.
type Worker func(ctx context.Context, part *Assigned) error

const (
	defaultFetchBytes = 1 << 20
	defaultWindow     = 65_536
	defaultDrain      = 10 * time.Second

	// The session is the time after which a crashed member's partitions go to others. Heartbeats
	// are how a member learns of a rebalance.
	sessionTimeout    = 10 * time.Second
	heartbeatInterval = 500 * time.Millisecond

	commitInterval = time.Second
	commitTimeout  = 5 * time.Second // for the last commit of a generation
	joinBackoff    = 500 * time.Millisecond
	groupTimeout   = 5 * time.Second
	partitionWatch = 5 * time.Second
	topicWait      = 10 * time.Second // between complaints about topics that are not there
)

// Consume joins the group and runs one worker per assigned partition until ctx ends; then it
// drains, commits, leaves the group and returns nil. It goes on through every failure of Kafka.
//
// The group lives in generations: each is one distribution of the partitions. A generation
// ends when members come or go, and its workers are drained and its offsets committed before
// this member agrees to the next. So nobody reads a partition that another is still working
// on, and no commit of a past generation overtakes one of the next.
func Consume(ctx context.Context, c *Client, o GroupOptions, work Worker) error {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultFetchBytes
	}
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = defaultDrain
	}
	// kafka-go would rejoin in a tight loop while a topic is missing.
	for {
		wait, cancel := context.WithTimeout(ctx, topicWait)
		err := c.WaitForTopics(wait, o.Topics...)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		c.log.Warn("waiting before joining the group", "group", o.Group, "error", err)
	}
	m := &membership{client: c, o: o, work: work, fetcher: newFetcher(c), owned: map[*Assigned]bool{}}
	defer m.fetcher.close()
	stopMetrics, err := m.observe()
	if err != nil {
		return err
	}
	defer stopMetrics()
	for ctx.Err() == nil {
		if err := m.member(ctx); err != nil {
			return err
		}
	}
	return nil
}

// membership is one call of Consume.
type membership struct {
	client  *Client
	o       GroupOptions
	work    Worker
	fetcher *fetcher

	mu    sync.Mutex
	owned map[*Assigned]bool
}

// member is one membership in the group, from joining to leaving. It ends with ctx, or when
// the coordinator cannot be reached: then the next one begins at another broker.
func (m *membership) member(ctx context.Context) error {
	c := m.client
	brokers := slices.Clone(c.brokers)
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:      m.o.Group,
		Brokers: brokers,
		Topics:  m.o.Topics,
		Dialer: &kafka.Dialer{
			ClientID: c.clientID, Timeout: dialTimeout, DualStack: true, KeepAlive: 30 * time.Second,
			TLS: c.security.tls, SASLMechanism: c.security.sasl,
		},
		HeartbeatInterval:      heartbeatInterval,
		SessionTimeout:         sessionTimeout,
		RebalanceTimeout:       m.o.DrainTimeout + 10*time.Second, // others wait for our drain
		JoinGroupBackoff:       joinBackoff,
		Timeout:                groupTimeout,
		StartOffset:            kafka.FirstOffset,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: partitionWatch,
	})
	if err != nil {
		return fmt.Errorf("group %s: %w", m.o.Group, err)
	}
	// Close ends the generation, waits for its drain and last commit, and leaves the group. What
	// of it fails is logged where it happens; Close itself always returns nil.
	defer func() { _ = group.Close() }()
	for failures := 0; ; {
		generation, err := group.Next(ctx)
		switch {
		case err == nil:
			failures = 0
			m.begin(generation)
		case ctx.Err() != nil:
			return nil
		default:
			failures++
			m.complain(err, failures)
			if failures >= 3 && !errors.Is(err, kafka.RebalanceInProgress) {
				return nil
			}
		}
	}
}

// complain logs why the group could not be joined: loudly when it lasts. A new group's
// coordinator is always unavailable at first.
func (m *membership) complain(err error, failures int) {
	level := m.client.log.Debug
	if failures >= 3 {
		level = m.client.log.Warn
	}
	level("joining the group", "group", m.o.Group, "error", err, "failures", failures)
}

// generation is one distribution of the partitions.
type generation struct {
	m       *membership
	kafka   *kafka.Generation
	parts   []*Assigned
	revoked chan struct{}   // the same for all of its partitions
	ctx     context.Context // of the workers: ends when the drain's time is over
	cancel  context.CancelFunc
	workers sync.WaitGroup

	committed map[*Assigned]int64
}

// begin starts a generation's workers and its committer.
func (m *membership) begin(k *kafka.Generation) {
	g := &generation{m: m, kafka: k, revoked: make(chan struct{}), committed: map[*Assigned]int64{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	var names []string
	for topic, assignments := range k.Assignments {
		for _, p := range assignments {
			a := newAssigned(m.fetcher, topic, int32(p.ID), p.Offset, m.o, g.revoked)
			g.parts = append(g.parts, a)
			g.committed[a] = p.Offset
			names = append(names, fmt.Sprintf("%s/%d", topic, p.ID))
		}
	}
	slices.Sort(names)
	m.client.metrics.generations.Add(g.ctx, 1, metric.WithAttributes(attribute.String("group", m.o.Group)))
	if m.o.Joined != nil {
		m.o.Joined(len(g.parts))
	}
	m.client.log.Info("partitions assigned", "group", m.o.Group, "generation", k.ID, "partitions", strings.Join(names, " "))
	m.mu.Lock()
	for _, a := range g.parts {
		m.owned[a] = true
	}
	m.mu.Unlock()
	for _, a := range g.parts {
		g.workers.Go(func() { g.run(a) })
	}
	k.Start(func(ctx context.Context) { g.attend(ctx) })
}

// run runs a partition's worker, again after an error, until the partition is taken away.
func (g *generation) run(a *Assigned) {
	defer g.m.fetcher.remove(a.feed)
	pause := backoff{floor: 100 * time.Millisecond, ceiling: 5 * time.Second}
	for {
		err := g.m.work(g.ctx, a)
		select {
		case <-g.revoked:
			if err != nil && !errors.Is(err, ErrRevoked) && !errors.Is(err, context.Canceled) {
				g.m.client.log.Warn("a worker ended with an error; what it had not done is read again", "group", g.m.o.Group, "topic", a.Topic, "partition", a.Partition, "error", err)
			}
			return
		default:
		}
		if err == nil {
			err = errors.New("the worker ended before its partition was taken away")
		}
		g.m.client.log.Error("a worker failed; it is started again", "group", g.m.o.Group, "topic", a.Topic, "partition", a.Partition, "error", err, "at", a.Committed())
		wait := time.NewTimer(pause.next())
		select {
		case <-g.revoked:
			wait.Stop()
			return
		case <-wait.C:
		}
		a.feed.disown()
		a.StartAt(a.Committed())
	}
}

// attend commits while the generation lasts, then sees it off: it tells the workers, waits for
// them, and commits what they have done. kafka-go keeps the generation's connection, and the
// coordinator its members' places, until this returns.
func (g *generation) attend(ctx context.Context) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if err := g.commit(); err != nil {
				g.m.client.log.Warn("committing offsets", "group", g.m.o.Group, "error", err)
			}
		}
	}
	began := now()
	close(g.revoked)
	drained := make(chan struct{})
	go func() {
		g.workers.Wait()
		close(drained)
	}()
	over := time.AfterFunc(g.m.o.DrainTimeout, g.cancel)
	defer over.Stop()
	for waiting := true; waiting; {
		select {
		case <-drained:
			waiting = false
		case <-tick.C:
			g.keepPlace()
			if err := g.commit(); err != nil {
				g.m.client.log.Debug("committing offsets while draining", "group", g.m.o.Group, "error", err)
			}
		}
	}
	g.cancel()
	err := g.lastCommit()
	m := g.m
	m.mu.Lock()
	for _, a := range g.parts {
		delete(m.owned, a)
	}
	m.mu.Unlock()
	switch {
	case err != nil:
		m.client.log.Warn("the last commit of a generation failed; records since the one before are read again", "group", m.o.Group, "generation", g.kafka.ID, "error", err)
	default:
		m.client.log.Info("partitions given back", "group", m.o.Group, "generation", g.kafka.ID, "partitions", len(g.parts), "drained_ms", now().Sub(began).Milliseconds())
	}
}

// commit commits what has moved.
func (g *generation) commit() error {
	if g.m.o.ManualOffsets {
		return nil
	}
	offsets := map[string]map[int]int64{}
	moved := map[*Assigned]int64{}
	for _, a := range g.parts {
		at := a.Committed()
		if at < 0 || at == g.committed[a] {
			continue
		}
		if offsets[a.Topic] == nil {
			offsets[a.Topic] = map[int]int64{}
		}
		offsets[a.Topic][int(a.Partition)] = at
		moved[a] = at
	}
	if len(moved) == 0 {
		return nil
	}
	if err := g.kafka.CommitOffsets(offsets); err != nil {
		return err
	}
	for a, at := range moved {
		g.committed[a] = at
	}
	return nil
}

// lastCommit tries for a while: what it misses is read twice.
func (g *generation) lastCommit() error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	pause := backoff{floor: 50 * time.Millisecond, ceiling: 500 * time.Millisecond}
	for {
		err := g.commit()
		// Without its connection or its membership the generation cannot commit any more.
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) {
			return err
		}
		if !pause.wait(ctx) {
			return err
		}
	}
}

// keepPlace sends a heartbeat while workers drain: kafka-go has ended its own by then, and a
// drain may take longer than the session.
func (g *generation) keepPlace() {
	ctx, cancel := context.WithTimeout(context.Background(), tryTimeout)
	defer cancel()
	_, _ = g.m.client.admin.Heartbeat(ctx, &kafka.HeartbeatRequest{GroupID: g.m.o.Group, GenerationID: g.kafka.ID, MemberID: g.kafka.MemberID})
}

// observe reports the lag of the partitions that this member owns.
func (m *membership) observe() (stop func(), err error) {
	meter := m.client.metrics.meter
	records, err := meter.Int64ObservableGauge("heed_kafka_lag_records", metric.WithDescription("Records not yet done, per owned partition."))
	if err != nil {
		return nil, err
	}
	seconds, err := meter.Float64ObservableGauge("heed_kafka_lag_seconds", metric.WithDescription("Age of the oldest record not yet done, per owned partition."))
	if err != nil {
		return nil, err
	}
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for a := range m.owned {
			n, age := a.Lag()
			labels := metric.WithAttributes(attribute.String("group", m.o.Group), attribute.String("topic", a.Topic), attribute.Int("partition", int(a.Partition)))
			o.ObserveInt64(records, n, labels)
			o.ObserveFloat64(seconds, age.Seconds(), labels)
		}
		return nil
	}, records, seconds)
	if err != nil {
		return nil, err
	}
	return func() { _ = registration.Unregister() }, nil
}
