// Package stop measures what Heed promises first: how long after a STOP was answered 200 every
// check says deny, over the four programs on real Kafka and Redis, at 200 STOPs a second.
package stop

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/road"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

const (
	perSecond = 200
	warm      = 4 * perSecond // people before the measurement: connections, scripts and groups are cold
	measured  = 10 * perSecond
	step      = 5 * time.Millisecond // how finely a wait is seen; finer, the asking itself loads the machine
)

// BenchmarkStopToDeny reports the waits in milliseconds. Bars: p50 20, p99 150.
func BenchmarkStopToDeny(b *testing.B) {
	r := road.Processes(b, road.Options{
		Endpoints:     "endpoints:\n  - {id: open, provider: kaleyra, channel: rcs, default_country: IN, verify: [{scheme: none}]}\n",
		Subscriptions: "subscriptions: []\n",
		Partitions:    6,
	})
	ready(b, r)
	for b.Loop() {
		stops(b, r, 0, warm)
		waits := stops(b, r, warm, measured)
		slices.Sort(waits)
		report := func(name string, at float64) {
			b.ReportMetric(float64(waits[int(at*float64(len(waits)-1))].Microseconds())/1000, name)
		}
		report("p50-ms", 0.50)
		report("p99-ms", 0.99)
		report("max-ms", 1)
	}
}

// ready waits until the view is whole: before that everybody is denied.
func ready(b *testing.B, r *road.Road) {
	b.Helper()
	if err := road.Until(b.Context(), func() (bool, string) {
		result, err := r.Check(b.Context(), question("919999999999"))
		return err == nil && result.Decision == schemas.Allow, fmt.Sprint(result.Reason, err)
	}); err != nil {
		b.Fatal(err)
	}
}

// stops lets n people say STOP, open loop, and gives how long each waited from the answer 200 to
// the first deny.
func stops(b *testing.B, r *road.Road, from, n int) []time.Duration {
	b.Helper()
	var mu sync.Mutex
	var waits []time.Duration
	wrong := map[string]int{} // how often each
	var people sync.WaitGroup
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		people.Go(func() {
			wait, err := stop(b.Context(), r, fmt.Sprintf("9199999%05d", from+i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong[err.Error()]++
				return
			}
			waits = append(waits, wait)
		})
	}
	people.Wait()
	for _, what := range slices.Sorted(maps.Keys(wrong)) {
		b.Errorf("%d of %d: %s", wrong[what], n, what)
	}
	if len(waits) == 0 {
		b.Fatal("nobody could stop")
	}
	return waits
}

func stop(ctx context.Context, r *road.Road, who string) (time.Duration, error) {
	body := fmt.Appendf(nil, `{"type":"USER_MESSAGE","eventId":"e-%s","from":%q,"to":"mmx_traffic","sentAt":%q,"messageId":"m-%s","userMessage":{"type":"TEXT","text":"STOP"}}`,
		who, who, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), who)
	status, answer, err := r.Post(ctx, "open", schemas.Capture{
		Method: http.MethodPost, Target: "/", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}}, Body: body,
	})
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("STOP answered %d %s: %w", status, answer, err)
	}
	accepted := time.Now()
	again := time.NewTicker(step)
	defer again.Stop()
	for {
		asked := time.Now()
		result, err := r.Check(ctx, question(who))
		switch {
		case err != nil:
			return 0, err
		case result.Decision == schemas.Deny && result.Reason != schemas.ReasonOptedOut:
			return 0, fmt.Errorf("denied for another reason: %s", result.Reason)
		case result.Decision == schemas.Deny:
			return asked.Sub(accepted), nil
		case asked.Sub(accepted) > road.Patience:
			return 0, fmt.Errorf("still allowed after %s", road.Patience)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func question(who string) schemas.Check {
	return schemas.Check{ID: "a", User: schemas.Address("+" + who), Channel: schemas.RCS, Agent: "mmx_traffic", Category: "marketing"}
}
