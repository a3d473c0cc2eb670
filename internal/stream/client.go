package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Client is one program's connection to a Kafka cluster, shared by its writers and readers.
type Client struct {
	brokers   []string
	bootstrap net.Addr
	clientID  string
	security  security
	log       *slog.Logger
	metrics   *metrics

	transport *kafka.Transport
	admin     *kafka.Client // over the same transport, for what kafka-go does well enough
	meta      *metadata
	answered  atomic.Int64 // when a broker last answered, Unix nanoseconds

	stop  context.CancelFunc
	parts sync.WaitGroup
}

// Options are what a Client needs beside its Config. Zero values are usable.
type Options struct {
	ClientID string
	Log      *slog.Logger
	Meter    metric.Meter
}

// The time spans of the connection.
const (
	dialTimeout     = 3 * time.Second
	tryTimeout      = 2 * time.Second // one metadata or offsets request, before another broker is asked
	adminTimeout    = 10 * time.Second
	refreshInterval = 4 * time.Second // metadata in the background: new partitions and moved leaders
	reachableWithin = 10 * time.Second
)

// now is the clock of deadlines and ages.
func now() time.Time { return time.Now() }

// Open makes a client. It does not wait for Kafka: Reachable tells.
func Open(cfg Config, o Options) (*Client, error) {
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("HEED_KAFKA_BROKERS names no broker")
	}
	security, err := cfg.security()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	if o.ClientID == "" {
		o.ClientID = "heed"
	}
	metrics, err := newMetrics(o.Meter)
	if err != nil {
		return nil, err
	}
	c := &Client{
		brokers:   slices.Clone(cfg.Brokers),
		bootstrap: kafka.TCP(cfg.Brokers...),
		clientID:  o.ClientID,
		security:  security,
		log:       o.Log,
		metrics:   metrics,
		transport: &kafka.Transport{
			Dial:        (&net.Dialer{Timeout: dialTimeout}).DialContext,
			DialTimeout: dialTimeout,
			// Longer than any pause between requests, shorter than the broker's own 10 min.
			IdleTimeout: 5 * time.Minute,
			// The transport only needs to know the brokers; topics are ours to watch.
			MetadataTTL:    2 * time.Second,
			MetadataTopics: []string{},
			ClientID:       o.ClientID,
			TLS:            security.tls,
			SASL:           security.sasl,
		},
	}
	c.admin = &kafka.Client{Addr: c.bootstrap, Transport: c.transport, Timeout: adminTimeout}
	c.meta = newMetadata()
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.parts.Go(func() { c.refreshForever(ctx) })
	return c, nil
}

// Close closes all connections. Writers and readers of the client must have ended.
func (c *Client) Close() {
	c.stop()
	c.parts.Wait()
	c.transport.CloseIdleConnections()
}

// Reachable returns nil when a broker has answered within the last 10 s or answers now.
// It never blocks longer than ctx; readiness checks call it.
func (c *Client) Reachable(ctx context.Context) error {
	if now().UnixNano()-c.answered.Load() < int64(reachableWithin) {
		return nil
	}
	if err := c.refresh(ctx); err != nil {
		return fmt.Errorf("no Kafka broker of %s answers: %w", strings.Join(c.brokers, ","), err)
	}
	return nil
}

// sayWaiting is how long topics may be missing before the log says so: at a start in common,
// Kafka is a few seconds later than its users.
const sayWaiting = 3 * time.Second

// WaitForTopics returns when every topic exists with a leader for each partition, or ctx ends;
// the error names the missing ones and how to create them. A wait that lasts is logged once.
func (c *Client) WaitForTopics(ctx context.Context, topics ...string) error {
	c.meta.want(topics...)
	pause := backoff{floor: 50 * time.Millisecond, ceiling: time.Second}
	began, said := time.Now(), false
	var known error // what the brokers answered last; a look that ctx cut short says less
	for {
		err := c.refresh(ctx)
		switch {
		case err == nil:
			var missing []string
			if missing = c.meta.load().incomplete(topics); len(missing) == 0 {
				return nil
			}
			err = fmt.Errorf("topics without a leader or not there: %s (create them with: heed topics apply)", strings.Join(missing, ", "))
			known = err
		case ctx.Err() != nil && known != nil:
			return known
		default:
			err = fmt.Errorf("waiting for topics %s: no Kafka broker of %s answers: %w", strings.Join(topics, ", "), strings.Join(c.brokers, ","), err)
		}
		if !said && time.Since(began) >= sayWaiting && ctx.Err() == nil {
			said = true
			c.log.Warn("waiting for Kafka and its topics", "error", err)
		}
		if !pause.wait(ctx) {
			return err
		}
	}
}

// Partitions is the number of partitions of a topic (from metadata at most a few seconds old).
func (c *Client) Partitions(ctx context.Context, topic string) (int32, error) {
	t, err := c.topic(ctx, topic)
	if err != nil {
		return 0, err
	}
	return int32(len(t.leaders)), nil
}
