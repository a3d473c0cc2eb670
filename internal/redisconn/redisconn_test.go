package redisconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// node is an in-process Redis that answers INFO server with a run id, as the real one does.
func node(t *testing.T, runID string) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.RunT(t)
	m.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
		if cmd != "INFO" || runID == "" {
			return false
		}
		p.WriteBulk("# Server\r\nredis_version:7.4.0\r\nrun_id:" + runID + "\r\ntcp_port:6379\r\n")
		return true
	})
	return m
}

func open(t *testing.T, url string) *Conn {
	t.Helper()
	c, err := Open(Config{URL: url}, Options{Name: "consent"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask reads a key and the run id of the process that answered, in one round trip.
func ask(ctx context.Context, t *testing.T, c *Conn) (runID, value string, err error) {
	t.Helper()
	n, err := c.Node(ctx, "heed:{3}:at")
	if err != nil {
		return "", "", err
	}
	pipe := n.Pipeline()
	who := AskRunID(ctx, pipe)
	got := pipe.Get(ctx, "heed:{3}:at")
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return "", "", err
	}
	runID, err = RunIDOf(who)
	return runID, got.Val(), err
}

func TestRunIDOfTheProcessThatAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	first, second := node(t, "aaaa"), node(t, "bbbb")
	_ = first.Set("heed:{3}:at", "1")
	_ = second.Set("heed:{3}:at", "2")

	// An address behind which the process changes, as after a failover.
	address := relay(t, first.Addr())
	c := open(t, "redis://"+address.listener.Addr().String()+"?max_retries=5")
	if id, value, err := ask(ctx, t, c); err != nil || id != "aaaa" || value != "1" {
		t.Fatalf("before the failover: run id %q, value %q, %v", id, value, err)
	}
	address.switchTo(second.Addr())
	id, value, err := ask(ctx, t, c)
	for err != nil && ctx.Err() == nil { // the cut connection may fail the first
		id, value, err = ask(ctx, t, c)
	}
	if err != nil || id != "bbbb" || value != "2" {
		t.Fatalf("after the failover: run id %q, value %q, %v", id, value, err)
	}
}

func TestServerWithoutRunID(t *testing.T) {
	m := node(t, "")
	c := open(t, "redis://"+m.Addr())
	if id, _, err := ask(t.Context(), t, c); err != nil || id != NoRunID {
		t.Errorf("run id %q, %v; want %q", id, err, NoRunID)
	}
}

func TestInfoRefused(t *testing.T) {
	m := miniredis.RunT(t)
	m.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
		if cmd == "INFO" {
			p.WriteError("NOPERM this user has no permissions to run the 'info' command")
			return true
		}
		return false
	})
	c := open(t, "redis://"+m.Addr()+"?max_retries=-1")
	if err := c.Reachable(t.Context()); err == nil || !strings.Contains(err.Error(), "+info") {
		t.Errorf("got %v, want an error that names the missing permission", err)
	}
}

func TestReachable(t *testing.T) {
	m := node(t, "aaaa")
	c := open(t, "redis://"+m.Addr()+"?max_retries=-1&dial_timeout=200ms")
	if err := c.Reachable(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := c.Reachable(t.Context()); err != nil {
		t.Errorf("a reply of this moment is proof enough, got %v", err)
	}
	c.answered.Store(0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := c.Reachable(ctx); err == nil {
		t.Error("Redis is gone, and Reachable says nothing")
	}
}

func TestCloseTwice(t *testing.T) {
	c := open(t, "redis://127.0.0.1:1")
	_ = c.Close()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	one, err := parse("rediss://app:p%40ss@cache.example:6380/2?pool_size=40&read_timeout=250ms")
	if err != nil {
		t.Fatal(err)
	}
	o := one.single
	if o.Addr != "cache.example:6380" || o.Username != "app" || o.Password != "p@ss" || o.DB != 2 || o.TLSConfig == nil || o.PoolSize != 40 || o.ReadTimeout != 250*time.Millisecond {
		t.Errorf("single: got %s user %s db %d pool %d read %s tls %v", o.Addr, o.Username, o.DB, o.PoolSize, o.ReadTimeout, o.TLSConfig != nil)
	}

	sentinel, err := parse("redis+sentinel://app:secret@s1:26379,s2:26379,s3:26379/1?master=heed&sentinel_password=other")
	if err != nil {
		t.Fatal(err)
	}
	s := sentinel.sentinel
	if diff := cmp.Diff([]string{"s1:26379", "s2:26379", "s3:26379"}, s.SentinelAddrs); diff != "" {
		t.Error(diff)
	}
	if s.MasterName != "heed" || s.Username != "app" || s.Password != "secret" || s.SentinelPassword != "other" || s.SentinelUsername != "" || s.DB != 1 {
		t.Errorf("sentinel: got master %s user %s db %d", s.MasterName, s.Username, s.DB)
	}

	cluster, err := parse("rediss+cluster://:secret@c1:7000,c2:7001,[::1]:7002")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c1:7000", "c2:7001", "[::1]:7002"}, cluster.cluster.Addrs); diff != "" {
		t.Error(diff)
	}
	if cluster.cluster.Password != "secret" || cluster.cluster.TLSConfig == nil {
		t.Error("cluster: password or TLS lost")
	}
}

func TestParseRefuses(t *testing.T) {
	const password = "tops3cret"
	for _, text := range []string{
		"", "localhost:6379", "http://x", "redis://", "memcached://h:1",
		"redis://:" + password + "@a:1,b:2",
		"redis+sentinel://:" + password + "@a:1,b:2",
		"redis+cluster://:" + password + "@a:1/3",
		"redis+ring://:" + password + "@a:1",
		"redis://:" + password + "%zz@a:1",
		"redis://u:" + password + " x@a:1",
		"redis://:" + password + "@a:port",
		"redis://:" + password + "@a:1/db",
		"redis://:" + password + "@a:1?no_such_option=1",
	} {
		_, err := Open(Config{URL: text}, Options{})
		switch {
		case err == nil:
			t.Errorf("%q was taken", text)
		case strings.Contains(err.Error(), password):
			t.Errorf("the error shows the password: %v", err)
		case !strings.Contains(err.Error(), "HEED_REDIS_URL"):
			t.Errorf("the error does not name the variable: %v", err)
		}
	}
}

// wire forwards connections to a server that can be exchanged.
type wire struct {
	listener net.Listener
	to       chan string
}

func (w *wire) switchTo(addr string) { w.to <- addr }

func relay(t *testing.T, addr string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: make(chan string)}
	accepted := make(chan net.Conn)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		defer close(accepted)
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- in
		}
	}()
	go func() {
		var open []net.Conn
		for {
			select {
			case addr = <-w.to:
				for _, c := range open {
					_ = c.Close()
				}
				open = nil
			case in, ok := <-accepted:
				if !ok {
					return
				}
				out, err := net.Dial("tcp", addr)
				if err != nil {
					_ = in.Close()
					continue
				}
				open = append(open, in, out)
				go pump(out, in)
				go pump(in, out)
			}
		}
	}()
	return w
}

func pump(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if err != nil {
			_ = to.Close()
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
