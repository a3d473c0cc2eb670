// Package consent is the stage that knows, at every moment, who has opted out: it reads the
// person's acts from heed.inbound, keeps them as facts on heed.consent.facts, folds the facts
// into a view in Redis, publishes what changed, and answers "may I send to this person?".
//
// It refuses to answer "allow" when it is not sure: a view that is missing, rebuilding, too old
// or silent denies, with that reason. cmd/consent and the all-in-one demo run it.
//
// Invariant: the facts are the truth and the view is their fold. Whatever happens to Redis, the
// view is whole only after every fact was folded in again, and until then nobody is allowed.
package consent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/redisconn"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Group is the stage's consumer group; all replicas share it.
const Group = "heed.consent"

const doc = `consent knows who has opted out, and answers "may I send to this person?".

It reads heed.inbound, appends every act of a person (STOP, START, a provider's opt-out) to
heed.consent.facts (and heed.consent.evidence, which is kept by time), folds the facts into Redis, publishes consent.changed, confirmation_due,
help.requested and review_needed to heed.consent, and serves:

  POST /v1/consent/check           may these messages be sent? (1 to 1,000 questions; role check)
  GET  /v1/consent/{user}          what is known of a person (role read)
  GET  /v1/consent/{user}/history  every act of the person (role read)
  POST /v1/consent                 an operator's or a form's act (role write)
  GET  /v1/consent/export          all facts as JSON lines (role export)

The facts are the truth; Redis is a view of them. A flushed, restarted, failed-over or restored
Redis is noticed within a second and rebuilt from the facts; until then checks are denied as
rebuilding. Without fresh time marks from ingest checks are denied as stale, without an answer
of Redis as unavailable. A caller that reads only "decision" is safe.

heed.inbound and heed.consent.facts must have the same number of partitions, and keep it: people
would move to other partitions, and every check is denied while the numbers differ.
Redis wants appendonly yes, maxmemory-policy noeviction, hash-max-listpack-entries 512 and
hash-max-listpack-value 512. Its user may run: @read @write @scripting @connection, info.

Run as many replicas as there is load, up to the number of partitions; each serves the API for
all of them. SIGTERM stops taking requests, finishes the batches in flight, commits, leaves the
group and ends with status 0.`

// Stage is consent as a program.
func Stage() service.Stage {
	cfg := &config{}
	return service.Stage{
		Name:        "consent",
		Doc:         doc,
		Known:       schemas.Variables(),
		AdminListen: ":9082",
		Declare:     func(v *env.Vars) { cfg.declare(v) },
		Check:       cfg.check,
		Run:         func(ctx context.Context, host *service.Host) error { return run(ctx, host, cfg, nil) },
	}
}

// run reads acts, writes facts, folds them into the view, publishes changes and answers checks.
func run(ctx context.Context, host *service.Host, cfg *config, faults func(step) error) error {
	client, err := stream.Open(cfg.kafka, stream.Options{ClientID: "heed-consent", Log: host.Log, Meter: host.Meter})
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := redisconn.Open(cfg.redis, redisconn.Options{Name: "consent", Meters: host.Meters})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	seals, err := newSealer(cfg.pseudonyms)
	if err != nil {
		return err
	}
	measured, err := newMetrics(host.Meter)
	if err != nil {
		return err
	}
	writer := stream.NewWriter(client, stream.WriterOptions{})
	partitions := func(ctx context.Context) (int32, error) { return client.Partitions(ctx, schemas.TopicConsentFacts) }
	s := &stage{
		host: host, cfg: cfg, client: client, writer: writer, metrics: measured, faults: faults,
		view: newView(conn, cfg.buckets, partitions),
		read: &reader{directory: cfg.directory, pseudonyms: cfg.pseudonyms, seals: seals, stopBrand: cfg.stopScope == "brand"},
	}
	host.Ready("kafka", reachable(ctx, client.Reachable))
	host.Ready("redis", reachable(ctx, conn.Reachable))
	host.Ready("group", s.joined)

	// The API listens at once: until the view is whole it denies, which is an answer.
	api, err := s.serve(ctx)
	if err != nil {
		return err
	}
	if err := s.waitForTopics(ctx); err != nil {
		_ = api.Close()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	err = host.Run(ctx,
		func(ctx context.Context) error {
			return stream.Consume(ctx, client, stream.GroupOptions{Group: Group, Topics: []string{schemas.TopicInbound}}, s.own)
		},
		func(ctx context.Context) error {
			<-ctx.Done()
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return api.Shutdown(closing)
		},
	)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return errors.Join(err, writer.Close(closing))
}

// stage is what the owners of all partitions and the API share.
type stage struct {
	host    *service.Host
	cfg     *config
	client  *stream.Client
	writer  *stream.Writer
	view    *view
	read    *reader
	metrics *metrics
	faults  func(step) error
	started atomic.Bool // a partition was assigned at least once
}

// own looks after one partition until it is taken away.
func (s *stage) own(ctx context.Context, part *stream.Assigned) error {
	s.started.Store(true)
	o := &owner{
		partition: part.Partition, in: part, log: s.host.Log, read: s.read, view: s.view, facts: s.client, out: s.writer,
		metrics: s.metrics, marks: newMarks(s.cfg.replicaAfter), now: time.Now, faults: s.faults, traces: map[int64][2]string{},
		published: -1,
	}
	o.committed.Store(-1)
	return o.work(ctx)
}

func (s *stage) joined() error {
	if !s.started.Load() {
		return errors.New("no partition is assigned yet")
	}
	return nil
}

// waitForTopics waits for the topics, and refuses numbers of partitions that don't belong
// together: a person's acts and facts must have one owner.
func (s *stage) waitForTopics(ctx context.Context) error {
	if err := s.client.WaitForTopics(ctx, schemas.TopicInbound, schemas.TopicConsentFacts, schemas.TopicConsent, schemas.TopicConsentEvidence); err != nil {
		return err
	}
	inbound, err := s.client.Partitions(ctx, schemas.TopicInbound)
	if err != nil {
		return err
	}
	facts, err := s.client.Partitions(ctx, schemas.TopicConsentFacts)
	if err != nil {
		return err
	}
	if inbound != facts {
		return fmt.Errorf("%s has %d partitions and %s %d: they must be equal (heed topics diff shows what should be)", schemas.TopicInbound, inbound, schemas.TopicConsentFacts, facts)
	}
	return nil
}

func reachable(ctx context.Context, check func(context.Context) error) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		return check(ctx)
	}
}

// serve opens the data port.
func (s *stage) serve(ctx context.Context) (*http.Server, error) {
	listener, err := s.host.Listen("data", s.cfg.listen)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler:           s.api(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.host.ServerLog(),
	}
	go func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.host.Log.Error("the API stopped", "error", err)
		}
	}()
	return server, nil
}
