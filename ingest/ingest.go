package ingest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/ingest/spool"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Stage is the program.
func Stage() service.Stage {
	c := &config{}
	return service.Stage{
		Name:        "ingest",
		Doc:         "ingest takes the callbacks that providers push and keeps them on heed.callbacks.",
		Known:       schemas.Variables(),
		AdminListen: ":9080",
		Declare:     c.declare,
		Check:       c.check,
		Notes:       c.notes,
		Run:         c.run,
		Memory:      c.memory,
	}
}

// run takes callbacks until ctx ends: it opens the way to Kafka and the spool, answers
// providers, drains what was spooled, writes the time marks and follows the endpoints file. It
// stops in the reverse order, so that whatever was answered 200 is kept.
func (c *config) run(ctx context.Context, host *service.Host) error {
	client, err := stream.Open(c.kafka, stream.Options{ClientID: "heed-ingest", Log: host.Log, Meter: host.Meter})
	if err != nil {
		return err
	}
	defer client.Close()
	writer := stream.NewWriter(client, stream.WriterOptions{})

	keep := &keeper{kafka: writer, after: answerBudget}
	over := &overflow{dir: c.spoolDir, options: spool.Options{Max: c.spoolMax}, kafka: writer, log: host.Log}
	if over.dir != "" {
		over.tryOpen()
		keep.spool, keep.after = over, c.spoolAfter
	}
	h := newHandler(c, host, keep)
	endpoints := &service.Followed{Host: host, Name: "endpoints", File: c.endpointsFile, Take: func(read func(string) ([]byte, error)) (int, error) {
		all, err := c.readEndpoints(read)
		if err != nil {
			return 0, err
		}
		return len(all), h.setRoutes(all)
	}}
	if err := endpoints.Load(); err != nil {
		return err
	}
	ticks := &marks{
		replica:    host.Instance,
		kafka:      writer,
		partitions: func(ctx context.Context) (int32, error) { return client.Partitions(ctx, schemas.TopicCallbacks) },
		before:     func() time.Time { return over.before(h.underway.before()) },
	}
	if err := h.report(host.Meter, endpoints, ticks); err != nil {
		return err
	}
	if err := over.report(host.Meter); err != nil {
		return err
	}
	host.Note("spool", over.note)
	host.Note("endpoints", endpoints.Note)

	server, err := c.serve(host, h)
	if err != nil {
		return err
	}
	host.Ready("kafka", func() error { return over.excuses(cmp.Or(reachable(client), ticks.silent())) })
	err = host.Run(ctx,
		server.run,
		over.run,
		ticks.run,
		endpoints.Run,
		func(ctx context.Context) error {
			// Nobody waits for it: what lasts is in the log.
			_ = client.WaitForTopics(ctx, schemas.TopicCallbacks, schemas.TopicCallbacksBulk)
			return nil
		},
	)
	return errors.Join(err, leave(writer, over, ticks))
}

// leave flushes what is underway, drains the spool as far as the time goes, and says that this
// replica has nothing left, if that is so: what waits in the spool is this replica's until it
// starts again.
func leave(writer *stream.Writer, over *overflow, ticks *marks) error {
	ctx, cancel := context.WithTimeout(context.Background(), flushBudget)
	defer cancel()
	drain, cancelDrain := context.WithTimeout(ctx, flushBudget/2)
	defer cancelDrain()
	over.drain(drain)
	if !over.Pending() {
		ticks.leave(ctx)
	}
	over.close()
	if err := writer.Close(ctx); err != nil {
		return fmt.Errorf("not everything was flushed; what was answered 200 is kept all the same: %w", err)
	}
	return nil
}

const (
	finishBudget = 5 * time.Second // for requests that are being handled when the server closes
	flushBudget  = 8 * time.Second
)

func newHandler(c *config, host *service.Host, keep *keeper) *handler {
	h := &handler{
		keep:     keep,
		calls:    newCalls(),
		inFlight: inFlight{max: c.maxInFlight},
		places:   places{max: int64(c.maxConnections)},
		heads:    inFlight{max: c.maxInFlight},
		peers:    peers{trusted: c.trusted, pseudo: c.pseudo},
		pseudo:   c.pseudo,
		tracing:  newTracing(host.Tracer, host.Propagator),
		log:      newRefusalLog(host.Log),
		maxBody:  c.maxBody,
		instance: host.Instance,
	}
	h.routes.Store(&routes{})
	return h
}

// report registers the stage's metrics.
func (h *handler) report(meter metric.Meter, endpoints *service.Followed, ticks *marks) error {
	var err error
	h.took, err = meter.Float64Histogram("heed_ingest_seconds", metric.WithUnit("s"),
		metric.WithDescription("From the last byte of an accepted callback to its answer."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, .75, 1, 1.5, 2, 5))
	if err != nil {
		return err
	}
	gauges := []struct {
		name, help string
		value      func() int64
	}{
		{"heed_ingest_in_flight_bytes", "Bytes of callbacks that are being handled.", h.inFlight.held.Load},
		{"heed_ingest_header_bytes", "Bytes of headers over 4 KiB that are still being read.", h.heads.held.Load},
		{"heed_ingest_places", "Connections, and HTTP/2 requests on them, of HEED_INGEST_MAX_CONNECTIONS.", h.places.taken.Load},
		{"heed_ingest_endpoints", "Endpoints in use.", func() int64 { return int64(len(*h.routes.Load())) }},
		{"heed_ingest_endpoints_stale", "1 while the endpoints file is bad and the endpoints are those of the last good one.", endpoints.Stale},
	}
	counters := []struct {
		name, help string
		value      func() int64
	}{
		{"heed_ingest_places_refused", "Connections closed, and HTTP/2 requests answered 503, because no place was left, or no room for their headers.", h.places.refused.Load},
		{"heed_ingest_endpoints_loads", "Times that the endpoints file was taken.", h.loads.Load},
		{"heed_ingest_marks", "Time marks acknowledged.", ticks.written.Load},
		{"heed_ingest_marks_failed", "Time marks that were not acknowledged in time.", ticks.failed.Load},
	}
	for _, g := range gauges {
		if _, err := meter.Int64ObservableGauge(g.name, metric.WithDescription(g.help), metric.WithInt64Callback(observe(g.value))); err != nil {
			return err
		}
	}
	for _, g := range counters {
		if _, err := meter.Int64ObservableCounter(g.name, metric.WithDescription(g.help), metric.WithInt64Callback(observe(g.value))); err != nil {
			return err
		}
	}
	return h.tallies.report(meter)
}

// reachable asks for at most a quarter of a second: a readiness check must not block.
func reachable(client *stream.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	return client.Reachable(ctx)
}

// server is the data port.
type server struct {
	http     *http.Server
	listener *boundedListener
	tls      bool
	linger   time.Duration
}

func (c *config) serve(host *service.Host, h *handler) (*server, error) {
	listener, err := host.Listen("data", c.listen)
	if err != nil {
		return nil, err
	}
	s := &server{listener: &boundedListener{Listener: listener, places: &h.places, heads: &h.heads}, linger: c.unreadyFor}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // from a proxy that ends TLS
	s.http = &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: c.headerTimeout,
		ReadTimeout:       c.readTimeout,
		WriteTimeout:      c.readTimeout + answerBudget + finishBudget, // for who sends and never reads
		IdleTimeout:       c.idleTimeout,
		MaxHeaderBytes:    int(c.maxHeader),
		ErrorLog:          host.ServerLog(),
		ConnContext:       withConnection,
		ConnState:         watchConnection,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 250, MaxReceiveBufferPerConnection: 2 << 20},
	}
	if c.certFile != "" {
		s.tls = true
		own := &certificate{certFile: c.certFile, keyFile: c.keyFile}
		host.Note("certificate", own.note)
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own.get}
	}
	return s, nil
}

// run serves until ctx ends, then goes on for as long as load balancers need to notice, then
// finishes the requests that are being handled.
func (s *server) run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() {
		if s.tls {
			failed <- s.http.ServeTLS(s.listener, "", "")
		} else {
			failed <- s.http.Serve(s.listener)
		}
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-failed:
		return err
	case <-time.After(s.linger):
	}
	finish, cancel := context.WithTimeout(context.Background(), finishBudget)
	defer cancel()
	if err := s.http.Shutdown(finish); err != nil {
		_ = s.http.Close() // slow clients; what they sent isn't kept, and they know it
	}
	return nil
}

func observe(value func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(value())
		return nil
	}
}
