// Package redisconn opens and instruments connections to Redis: one node, Sentinel or Cluster,
// named by one URL. It also answers the question that consent's safety rests on: which server
// process gave this reply?
//
// It refuses to know keys and scripts; those belong to consent (the fold) and to nobody else.
//
// Invariant: no command travels over a connection before the run id of the server process at
// its other end is known, so a reply can never be taken for another process's.
package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/heedhq/heed/internal/env"
)

// Config says how to reach Redis.
type Config struct {
	URL string // parsed by Open; see Declare
}

// Declare declares HEED_REDIS_URL (and HEED_REDIS_URL_FILE, since the URL carries the password).
func (c *Config) Declare(v *env.Vars) {
	v.Secret(&c.URL, "HEED_REDIS_URL", "Redis, in one of four forms: redis://[USER:PASSWORD@]HOST:PORT[/DB], rediss://... for TLS, "+
		"redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT.../[DB]?master=NAME, redis+cluster://[USER:PASSWORD@]HOST:PORT,HOST:PORT... "+
		"(rediss+sentinel and rediss+cluster for TLS). Pool and time limits can be set as the query (pool_size=, read_timeout=, ...).")
}

// Options are what a connection needs beside its Config. Nil providers mean no instruments.
type Options struct {
	Name   string // shown by CLIENT LIST, e.g. "consent"
	Meters metric.MeterProvider
	Traces trace.TracerProvider
}

// Conn is a pool of connections to Redis.
type Conn struct {
	redis.UniversalClient
	closed   chan struct{}
	answered atomic.Int64 // UnixNano of the last reply
}

// NoRunID stands for the run id of a server that has none, such as an in-process fake. Such a
// server is taken never to fail over: what it holds is trusted until its data are gone.
const NoRunID = "none"

// fresh is for how long a reply counts as proof that Redis can be reached.
const fresh = 2 * time.Second

// Open opens a pool. It does not wait for Redis: Reachable tells. The error never shows the URL,
// which carries the password.
func Open(cfg Config, o Options) (*Conn, error) {
	target, err := parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("HEED_REDIS_URL: %w", err)
	}
	// The library's own logger writes plain lines to standard error; all that it has to say
	// comes back as errors as well, which the callers log with their context.
	redis.SetLogger(silent{})
	name := o.Name
	if name == "" {
		name = "heed"
	}
	c := &Conn{closed: make(chan struct{})}
	c.UniversalClient = target.open(func(ctx context.Context, cn *redis.Conn) error { return introduce(ctx, cn, name) })
	c.AddHook(witness{&c.answered})
	if err := c.instrument(o); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) instrument(o Options) error {
	if o.Traces != nil {
		// No statements: a command's arguments are data.
		err := redisotel.InstrumentTracing(c.UniversalClient, redisotel.WithTracerProvider(o.Traces),
			redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false), redisotel.WithDialFilter(true))
		if err != nil {
			return err
		}
	}
	if o.Meters != nil {
		return redisotel.InstrumentMetrics(c.UniversalClient, redisotel.WithMeterProvider(o.Meters),
			redisotel.WithSemConvCompliantMetrics(true), redisotel.WithCloseChan(c.closed))
	}
	return nil
}

// Close closes the pool.
func (c *Conn) Close() error {
	select {
	case <-c.closed:
		return nil
	default:
		close(c.closed)
	}
	return c.UniversalClient.Close()
}

// Reachable returns nil when Redis has replied within the last 2 s or replies now; it never
// blocks longer than ctx. Readiness checks call it.
func (c *Conn) Reachable(ctx context.Context) error {
	if time.Since(time.Unix(0, c.answered.Load())) < fresh {
		return nil
	}
	if err := c.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis does not answer: %w", err)
	}
	return nil
}

// Node is the client of the one node that holds key and all keys with its hash tag. What must
// come from one process in one round trip goes through a pipeline of it, together with AskRunID;
// in a cluster such a pipeline does not follow redirections, but fails with MOVED, after which
// the next call knows better.
func (c *Conn) Node(ctx context.Context, key string) (*redis.Client, error) {
	switch client := c.UniversalClient.(type) {
	case *redis.Client:
		return client, nil
	case *redis.ClusterClient:
		node, err := client.MasterForKey(ctx, key)
		if err != nil {
			client.ReloadState(ctx)
		}
		return node, err
	}
	return nil, fmt.Errorf("redisconn: %T has no nodes", c.UniversalClient)
}

// Moved says that err means "ask another node", and makes the next Node look again.
func (c *Conn) Moved(ctx context.Context, err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	text := answer.Error()
	if !strings.HasPrefix(text, "MOVED ") && !strings.HasPrefix(text, "ASK ") && !strings.HasPrefix(text, "READONLY ") {
		return false
	}
	if cluster, ok := c.UniversalClient.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
	return true
}

// AskRunID adds to a pipeline the question which server process answers it. The answer is read
// with RunIDOf after Exec, and holds for every reply of the same pipeline of one node.
//
// It costs no more than a PING: the run id is asked for once per connection (introduce) and
// kept as the connection's name on the server, so asking for the name is asking over exactly
// this connection. A map from address to run id would be wrong behind an address that moves.
func AskRunID(ctx context.Context, p redis.Pipeliner) *redis.StringCmd { return p.ClientGetName(ctx) }

// RunIDOf reads the answer to AskRunID.
func RunIDOf(answer *redis.StringCmd) (string, error) {
	name, err := answer.Result()
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(name, ":")
	if !ok || id == "" {
		return "", errors.New("redisconn: the connection has lost its name")
	}
	return id, nil
}

// introduce runs on every new connection before anything else: it learns the run id and makes
// it the connection's name, "consent:0123…".
func introduce(ctx context.Context, cn *redis.Conn, name string) error {
	id := NoRunID
	info, err := cn.Info(ctx, "server").Result()
	var answer redis.Error
	switch {
	case errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "NOPERM"):
		return fmt.Errorf("redis: the user may not run INFO, by which a failover is noticed (ACL: +info +client|setname +client|getname): %v", err) //nolint:errorlint // not %w: the library unwraps once
	case errors.As(err, &answer): // a server without that section
	case err != nil:
		return err
	default:
		if found := field(info, "run_id"); found != "" {
			id = found
		}
	}
	return cn.ClientSetName(ctx, name+":"+id).Err()
}

// field reads one field of an INFO reply.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\n") {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// witness remembers when Redis replied last; an error reply is a reply.
type witness struct{ at *atomic.Int64 }

func (w witness) saw(err error) {
	var answer redis.Error
	if err == nil || errors.As(err, &answer) {
		w.at.Store(time.Now().UnixNano())
	}
}

func (w witness) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w witness) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		w.saw(err)
		return err
	}
}

func (w witness) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		w.saw(err)
		return err
	}
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
