package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/schemas"
)

func TestJudgeStatus(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		status     int
		retryAfter string
		want       verdict
		wait       time.Duration
	}{
		{200, "", taken, 0}, {201, "", taken, 0}, {202, "30", taken, 0}, {204, "", taken, 0}, {299, "", taken, 0},
		{400, "", refused, 0}, {413, "", refused, 0}, {415, "", refused, 0}, {422, "", refused, 0},
		{410, "", gone, 0},
		{429, "30", down, 30 * time.Second}, {429, "", down, 0}, {503, "Fri, 02 Jan 2026 03:05:05 GMT", down, time.Minute},
		{503, "Fri, 02 Jan 2025 03:05:05 GMT", down, 0}, {503, "99999999999999999999", down, 0}, {503, "999999", down, time.Hour},
		{503, "-5", down, 0}, {503, "soon", down, 0}, {502, "", down, 0}, {504, "", down, 0}, {522, "", down, 0},
		{301, "", suspect, 0}, {302, "", suspect, 0}, {307, "", suspect, 0}, {304, "", suspect, 0},
		{401, "", suspect, 0}, {403, "", suspect, 0}, {404, "", suspect, 0}, {408, "", suspect, 0}, {409, "", suspect, 0}, {425, "", suspect, 0},
		{500, "", suspect, 0}, {501, "", suspect, 0}, {500, "7", suspect, 7 * time.Second}, {511, "", suspect, 0}, {999, "", suspect, 0}, {101, "", suspect, 0},
	} {
		o := judgeStatus(c.status, http.Header{"Retry-After": {c.retryAfter}}, now)
		if o.verdict != c.want || o.retryAfter != c.wait {
			t.Errorf("%d with Retry-After %q: %v after %v; want %v after %v", c.status, c.retryAfter, o.verdict, o.retryAfter, c.want, c.wait)
		}
	}
}

func TestJudgeError(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err     error
		verdict verdict
		reason  string
	}{
		{dial(syscall.ECONNREFUSED), down, "connection_refused"},
		{dial(&net.DNSError{Err: "no such host"}), down, "dns"},
		{dial(&refusedAddressError{}), down, "address_not_allowed"},
		{dial(errors.New("no route to host")), down, "connect"},
		{fmt.Errorf("post: %w", context.DeadlineExceeded), suspect, "timeout"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, suspect, "connection_cut"},
		{errors.New("malformed HTTP response"), suspect, "connection_cut"},
	} {
		if o := judgeError(c.err); o.verdict != c.verdict || o.reason != c.reason {
			t.Errorf("%v: %v %s; want %v %s", c.err, o.verdict, o.reason, c.verdict, c.reason)
		}
	}
}

func TestNextStep(t *testing.T) {
	tiers := []schemas.Span{schemas.Span(30 * time.Second), schemas.Span(time.Hour)}
	p := plan{retry: schemas.Retry{Tries: 3, Tiers: tiers}}
	in := plan{retry: p.retry, ordered: true}
	none := plan{retry: schemas.Retry{Tries: 1}}
	bad := outcome{verdict: suspect}
	all := schemas.RetryTiers()
	for _, c := range []struct {
		name     string
		plan     plan
		outcome  outcome
		attempts int
		counts   bool
		want     decision
	}{
		{"2xx", p, outcome{verdict: taken}, 0, false, decision{step: stepDone, attempts: 1}},
		{"422 is final at once", p, outcome{verdict: refused}, 0, false, decision{step: stepDead, attempts: 1, class: schemas.DeadRefused}},
		{"410", p, outcome{verdict: gone}, 1, false, decision{step: stepStop, attempts: 1}},
		{"an outage burns nothing", p, outcome{verdict: down}, 2, false, decision{step: stepHold, attempts: 2}},
		{"first failure", p, bad, 0, true, decision{step: stepAgain, attempts: 1, wait: 50 * time.Millisecond}},
		{"second failure", p, bad, 1, true, decision{step: stepAgain, attempts: 2, wait: 100 * time.Millisecond}},
		{"Retry-After bounds the wait", p, outcome{verdict: suspect, retryAfter: time.Minute}, 1, true, decision{step: stepAgain, attempts: 2, wait: time.Minute}},
		{"third failure goes to the first tier", p, bad, 2, true, decision{step: stepPark, attempts: 3, tier: all[0]}},
		{"then the next", p, bad, 3, true, decision{step: stepPark, attempts: 4, tier: all[3]}},
		{"then dead", p, bad, 4, true, decision{step: stepDead, attempts: 5, class: schemas.DeadExhausted}},
		{"ordered waits in memory", in, bad, 2, true, decision{step: stepAgain, attempts: 3, wait: 30 * time.Second}},
		{"ordered ends too", in, bad, 4, true, decision{step: stepDead, attempts: 5, class: schemas.DeadExhausted}},
		{"one try, no tier", none, bad, 0, true, decision{step: stepDead, attempts: 1, class: schemas.DeadExhausted}},
	} {
		got := c.plan.next(c.outcome, c.attempts, c.counts, true, 0)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(decision{})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// Where nothing shows that the endpoint is well, the longer tiers come before the dead letter.
func TestNextStepOnAQuietLane(t *testing.T) {
	p := plan{retry: schemas.Retry{Tries: 3, Tiers: []schemas.Span{schemas.Span(30 * time.Second)}}}
	var steps []string
	for attempts := 2; ; attempts++ {
		d := p.next(outcome{verdict: suspect}, attempts, true, false, 0)
		steps = append(steps, d.step.String()+" "+d.tier.Delay.String())
		if d.step == stepDead {
			break
		}
	}
	want := []string{"park 30s", "park 2m0s", "park 10m0s", "park 1h0m0s", "park 6h0m0s", "dead 0s"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	if d := p.next(outcome{verdict: suspect}, 4, true, true, 0); d.step != stepDead {
		t.Errorf("with a healthy endpoint: %v", d.step)
	}
	p.retry.Tiers = nil
	if d := p.next(outcome{verdict: suspect}, 2, true, false, 0); d.step != stepDead {
		t.Errorf("without tiers: %v", d.step)
	}
}

func TestCounts(t *testing.T) {
	before, after := time.Unix(1, 0), time.Unix(2, 0)
	for _, c := range []struct {
		name                  string
		verdict               verdict
		probe                 bool
		lastFailed, lastTaken time.Time
		want                  bool
	}{
		{"500 among others", suspect, false, time.Time{}, time.Time{}, true},
		{"500 as a probe of a dead endpoint", suspect, true, before, time.Time{}, false},
		{"503 for the first time", down, false, time.Time{}, after, false},
		{"503 again, and another was taken since", down, false, before, after, true},
		{"503 again, nothing was taken since", down, false, after, before, false},
		{"timeout as a probe, and another was taken since", suspect, true, before, after, true},
	} {
		if got := counts(outcome{verdict: c.verdict}, c.probe, c.lastFailed, c.lastTaken); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestCircuit(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(s float64) time.Time { return t0.Add(time.Duration(s * float64(time.Second))) }
	ok, bad, away := outcome{verdict: taken}, outcome{verdict: suspect, reason: "status_500"}, outcome{verdict: down, reason: "connection_refused"}
	allowed := func(c *circuit, now time.Time, inFlight, want int) {
		t.Helper()
		if n, _ := c.allows(now, inFlight); n != want {
			t.Errorf("at %v: allows %d, want %d (%+v)", now.Sub(t0), n, want, *c)
		}
	}
	c := newCircuit(8)
	allowed(&c, t0, 0, 8)
	allowed(&c, t0, 5, 3)
	for range suspectsToOpen - 1 {
		c.ended(t0, bad, false, 1)
	}
	c.ended(t0, ok, false, 1) // one success between: the events were at fault
	for range suspectsToOpen - 1 {
		c.ended(t0, bad, false, 1)
	}
	allowed(&c, t0, 0, 8)
	if !c.ended(t0, bad, false, 1) {
		t.Error("the fifth in a row did not open it")
	}
	if _, again := c.allows(t0, 0); !again.Equal(at(1)) {
		t.Errorf("the first probe at %v", again.Sub(t0))
	}
	allowed(&c, at(0.9), 0, 0)
	allowed(&c, at(1), 3, 1) // others still in flight: the probe goes all the same
	c.started()
	allowed(&c, at(1), 4, 0)
	c.ended(at(1.5), ok, false, 1) // one from before: proves nothing
	allowed(&c, at(1.5), 1, 0)
	c.ended(at(2), bad, true, 1)
	allowed(&c, at(3.9), 0, 0)
	allowed(&c, at(4), 0, 1)
	c.started()
	c.ended(at(4), outcome{verdict: down, retryAfter: 30 * time.Second}, true, 1)
	allowed(&c, at(33.9), 0, 0)
	allowed(&c, at(34), 0, 1)
	c.started()
	c.ended(at(35), ok, true, 1)
	allowed(&c, at(35), 0, 1) // slow start
	c.ended(at(36), ok, false, 1)
	allowed(&c, at(36), 0, 2)
	for range 20 {
		c.ended(at(36), ok, false, 1)
	}
	allowed(&c, at(36), 0, 8)

	c = newCircuit(8)
	c.ended(t0, away, false, 1) // down opens at once
	allowed(&c, t0, 0, 0)
	c.ended(t0, outcome{verdict: down, retryAfter: time.Minute}, false, 1) // a straggler's Retry-After holds
	allowed(&c, at(59), 0, 0)
	for i := range 40 { // the back-off stays within a minute
		now := at(1000 * float64(i+1))
		allowed(&c, now, 0, 1)
		c.started()
		c.ended(now, away, true, 0.999)
		if wait := c.until.Sub(now); wait > time.Minute {
			t.Errorf("probe %d waits %v", i, wait)
		}
	}
}

func TestGuard(t *testing.T) {
	nets, err := parseNets([]string{"10.1.0.0/16", "127.0.0.0/8", "fd12::/16"})
	if err != nil {
		t.Fatal(err)
	}
	open, err := parseNets([]string{"0.0.0.0/0", "::/0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr                        string
		closed, some, everythingSet bool
	}{
		{"93.184.216.34", true, true, true},
		{"2606:2800:220:1::1", true, true, true},
		{"127.0.0.1", false, true, true},
		{"::1", false, false, true},
		{"10.1.2.3", false, true, true},
		{"10.2.0.1", false, false, true},
		{"::ffff:10.2.0.1", false, false, true},
		{"172.16.0.1", false, false, true},
		{"192.168.1.1", false, false, true},
		{"100.64.0.1", false, false, true},
		{"fd12::1", false, true, true},
		{"169.254.169.254", false, false, false},
		{"::ffff:169.254.169.254", false, false, false},
		{"64:ff9b::a9fe:a9fe", false, false, false}, // NAT64 of the metadata address
		{"64:ff9b::5db8:d822", true, true, true},
		{"fe80::1%eth0", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"100.100.100.200", false, false, false},
		{"0.0.0.0", false, false, false},
		{"224.0.0.1", false, false, false},
		{"255.255.255.255", false, false, false},
		{"2002:a9fe:a9fe::", false, false, true},
	} {
		addr := netip.MustParseAddr(c.addr)
		for _, g := range []struct {
			guard guard
			want  bool
		}{{guard{}, c.closed}, {guard{nets}, c.some}, {guard{open}, c.everythingSet}} {
			if got := g.guard.check(addr) == nil; got != g.want {
				t.Errorf("%s with %v: allowed %v", c.addr, g.guard.allowed, got)
			}
		}
	}
	for _, bad := range []string{"169.254.0.0/16", "169.254.169.254/32", "fe80::/64", "ten", "10.0.0.1"} {
		if _, err := parseNets([]string{bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
