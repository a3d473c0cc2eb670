package consent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/consent/consenttest"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/schemas"
)

// inProcess gives each test a broker and a Redis in this process. The Redis names a run id as a
// real one does, and can be restarted: empty, or with what it held at a snapshot.
type inProcess struct {
	mu    sync.Mutex
	redis *miniredis.Miniredis
	run   int
}

func (p *inProcess) open(t testing.TB) ([]string, string) {
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	p.mu.Lock()
	p.redis = m
	p.mu.Unlock()
	p.hook()
	return streamtest.Kfake(t), "redis://" + m.Addr()
}

func (p *inProcess) hook() {
	p.redis.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd != "INFO" {
			return false
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		c.WriteBulk(fmt.Sprintf("# Server\r\nrun_id:%040d\r\n", p.run))
		return true
	})
}

// restart ends the process and starts another at its address, after change has been at the data.
func (p *inProcess) restart(t testing.TB, change func()) {
	p.redis.Close()
	p.mu.Lock()
	p.run++
	p.mu.Unlock()
	change()
	if err := p.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	p.hook()
}

func (p *inProcess) restartEmpty(t testing.TB) { p.restart(t, func() { p.redis.FlushAll() }) }

// snapshot is what a server writes to disk, all of one moment: the stage goes on while it is
// read, so it is read until two readings in a row agree.
func (p *inProcess) snapshot(t testing.TB) (restore func(testing.TB)) {
	saved, again := p.reading(), p.reading()
	for !cmp.Equal(saved, again) {
		saved, again = again, p.reading()
	}
	return func(t testing.TB) {
		p.restart(t, func() {
			p.redis.FlushAll()
			for key, fields := range saved {
				for f, v := range fields {
					p.redis.HSet(key, f, v)
				}
			}
		})
	}
}

func (p *inProcess) reading() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, key := range p.redis.Keys() {
		fields, err := p.redis.HKeys(key)
		if err != nil {
			continue // it went meanwhile: an outbox that was emptied
		}
		all[key] = map[string]string{}
		for _, f := range fields {
			all[key][f] = p.redis.HGet(key, f)
		}
	}
	return all
}

func TestRoad(t *testing.T) {
	p := &inProcess{}
	consenttest.Run(t, consenttest.Servers{Open: p.open, Stage: Stage, RestartEmpty: p.restartEmpty, Snapshot: p.snapshot})
}

// faulty is the stage with a fault at every step of its owners.
func faulty(faults func(step) error) func() service.Stage {
	return func() service.Stage {
		cfg := &config{}
		s := Stage()
		s.Declare, s.Check = cfg.declare, cfg.check
		s.Run = func(ctx context.Context, host *service.Host) error { return run(ctx, host, cfg, faults) }
		return s
	}
}

// An owner that is cut off between any two steps leaves nothing undone and nothing done twice:
// the state is right, and every change is published under one id.
func TestCutOffBetweenSteps(t *testing.T) {
	for _, at := range []step{stepRead, stepAppended, stepApplied, stepPublished, stepTrimmed} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			armed := false
			cuts := 0
			fault := func(s step) error {
				mu.Lock()
				defer mu.Unlock()
				if !armed || s != at {
					return nil
				}
				armed = false
				cuts++
				return errors.New("cut off by the test")
			}
			p := &inProcess{}
			r := consenttest.Begin(t, consenttest.Servers{Open: p.open, Stage: faulty(fault)})
			for i, text := range []string{"STOP", "START", "STOP"} {
				mu.Lock()
				armed = true
				mu.Unlock()
				const user = "+14155559001"
				r.Do(consenttest.Event{User: user, Agent: "a", Text: text})
				want := schemas.Deny
				if text == "START" {
					want = schemas.Allow
				}
				r.Decided(schemas.Check{User: user, Agent: "a"}, want)
				r.Until("one change per act", func() bool {
					_, ids := r.Published(schemas.ConsentChanged, r.Person(user))
					return len(ids) == i+1
				})
				// What comes after it is published after all that the cut could have doubled.
				other := fmt.Sprintf("+1415555910%d", i)
				r.Do(consenttest.Event{User: other, Agent: "a", Text: "STOP"})
				r.Decided(schemas.Check{User: schemas.Address(other), Agent: "a"}, schemas.Deny)
			}
			_, ids := r.Published(schemas.ConsentChanged, r.Person("+14155559001"))
			if len(ids) != 3 {
				t.Errorf("%d different changes, want 3", len(ids))
			}
			mu.Lock()
			defer mu.Unlock()
			if cuts == 0 {
				t.Error("the fault never happened")
			}
		})
	}
}

// A flush between any two steps loses no change and repeats none under another id: an outbox that
// is empty because it was flushed is not one that was published.
func TestFlushBetweenSteps(t *testing.T) {
	for _, at := range []step{stepRead, stepAppended, stepApplied, stepPublished, stepTrimmed} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			p := &inProcess{}
			var armed atomic.Bool
			fault := func(s step) error {
				if s == at && armed.CompareAndSwap(true, false) {
					p.redis.FlushAll()
				}
				return nil
			}
			r := consenttest.Begin(t, consenttest.Servers{Open: p.open, Stage: faulty(fault)})
			for i, text := range []string{"STOP", "START", "STOP"} {
				const user = "+14155559001"
				armed.Store(true)
				r.Do(consenttest.Event{User: user, Agent: "a", Text: text})
				r.Until("one change per act", func() bool {
					_, ids := r.Published(schemas.ConsentChanged, r.Person(user))
					return len(ids) == i+1
				})
				r.Until("the flush", func() bool { return !armed.Load() })
				want := schemas.Deny
				if text == "START" {
					want = schemas.Allow
				}
				r.Decided(schemas.Check{User: user, Agent: "a"}, want)
			}
		})
	}
}

// While Redis does not answer, checks are denied in time; nothing is lost, and all is right when
// it comes back.
func TestRedisAway(t *testing.T) {
	p := &inProcess{}
	r := consenttest.Begin(t, consenttest.Servers{Open: p.open, Stage: Stage})
	const user = "+14155559201"
	k := schemas.Check{User: user, Agent: "a"}
	p.redis.Close()
	r.Do(consenttest.Event{User: user, Agent: "a", Text: "STOP"})
	began := time.Now()
	got := r.Check(k)
	if took := time.Since(began); got.Decision != schemas.Deny || got.Reason != schemas.ReasonUnavailable || !got.Retryable || took > 2*time.Second {
		t.Errorf("without Redis: %+v after %s", got, took)
	}
	if err := p.redis.Restart(); err != nil {
		t.Fatal(err)
	}
	p.hook()
	r.Until("the STOP of meanwhile", func() bool { return r.Check(k).Reason == schemas.ReasonOptedOut })
}

// A view whose time stands still denies as stale.
func TestStale(t *testing.T) {
	p := &inProcess{}
	r := consenttest.Begin(t, consenttest.Servers{Open: p.open, Stage: Stage}, "HEED_CONSENT_STALE_AFTER=2s")
	k := schemas.Check{User: "+14155559301", Agent: "a"}
	r.Decided(k, schemas.Allow)
	r.Silence()
	r.Until("stale", func() bool {
		got := r.Check(k)
		return got.Decision == schemas.Deny && got.Reason == schemas.ReasonStale && got.Retryable
	})
	r.Speak()
	r.Decided(k, schemas.Allow)
}

// BenchmarkStopToDeny prints STOP acknowledged on heed.inbound → deny, at 200 STOPs a second.
func BenchmarkStopToDeny(b *testing.B) {
	p := &inProcess{}
	r := consenttest.Begin(b, consenttest.Servers{Open: p.open, Stage: Stage})
	r.Latency(200, 200) // warm up
	for b.Loop() {
		took := r.Latency(400, 200)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
}

func TestTokens(t *testing.T) {
	if _, err := service.Start(t.Context(), Stage(), []string{"HEED_PSEUDONYM_KEY=" + consenttest.Key, "HEED_REDIS_URL=redis://127.0.0.1:1", "HEED_LISTEN=0.0.0.0:0", "HEED_ADMIN_LISTEN=127.0.0.1:0"}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "HEED_API_TOKENS_FILE") {
		t.Errorf("an API that everybody reaches started without tokens: %v", err)
	}
}
