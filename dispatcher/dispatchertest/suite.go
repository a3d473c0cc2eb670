package dispatchertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Suite is what the dispatcher does on every cluster. The cluster has Topics.
func Suite(t *testing.T, brokers []string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *Stand)
	}{
		{"a poison event ends as a dead letter while others pass", poison},
		{"a slow subscriber slows nobody else", slowSibling},
		{"a dead subscriber is lag, and comes back", deadSibling},
		{"429 with Retry-After holds the lane", retryAfter},
		{"410 disables until resumed, over a restart", goneEndpoint},
		{"422 is final after one attempt", refusedEvent},
		{"order is kept by key and by partition", order},
		{"a batch that is refused is taken apart", batch},
		{"a record that is no event is a dead letter", undecodable},
		{"a subscription begins where it says, and goes on where it was", starts},
		{"the file is followed", followsFile},
		{"dispatchers come and go", comeAndGo},
		{"paused is paused, and told", pausedAndTold},
		{"a dispatcher is killed", killed},
		{"signed deliveries verify", signed},
		{"a thousand lanes", thousandLanes},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.test(t, NewStand(t, brokers)) })
	}
}

// Source makes a source that no other test has used on the cluster.
var sources atomic.Int64

func Source(name string) string {
	return fmt.Sprintf("%s-%d-%d", name, time.Now().UnixNano()%1e9, sources.Add(1))
}

func id(source string, n int) string { return fmt.Sprintf("%s-%05d", source, n) }

// once fails the test for every event that came more than once.
func once(t *testing.T, k *Sink) {
	t.Helper()
	for id, n := range k.Count() {
		if n != 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
}

func poison(t *testing.T, s *Stand) {
	src := Source("poison")
	bad := id(src, 7)
	sink := NewSink(t, func(w http.ResponseWriter, id string, _ int) {
		if id == bad {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	d := s.Start(Subscription(src, src, sink.URL, "start: earliest, retry: {tries: 3, tiers: [30s]}"))
	s.Send(src, 0, 50)
	sink.AwaitAll(t, 20*time.Second, src, 0, 50)
	sink.Await(t, 20*time.Second, "three tries", func([]Delivery) bool { return sink.Count()[bad] == 3 })
	s.Send(src, 50, 100) // the lane goes on
	sink.AwaitAll(t, 20*time.Second, src, 50, 100)
	d.Halt() // the budget survives a restart: one more try, after the tier, and no other
	s.Start(Subscription(src, src, sink.URL, "start: earliest, retry: {tries: 3, tiers: [30s]}"))
	s.Send(src, 100, 150) // the new one, too, must see that the endpoint is well
	sink.AwaitAll(t, 20*time.Second, src, 100, 150)
	Eventually(t, 60*time.Second, "a dead letter", func() bool { return len(s.Dead(src)) == 1 })
	letter := s.Dead(src)[0]
	if class := string(letter.Header(schemas.HeaderDeadClass)); class != string(schemas.DeadExhausted) {
		t.Errorf("class %s", class)
	}
	if attempts := string(letter.Header(schemas.HeaderAttempts)); attempts != "4" || sink.Count()[bad] != 4 {
		t.Errorf("%s attempts on the dead letter, %d at the sink", attempts, sink.Count()[bad])
	}
	if e, err := stream.ParseEvent(&letter); err != nil || e.ID != bad || string(e.Data) != `{"n":7}` {
		t.Errorf("the dead letter is %+v, %v", e, err)
	}
	times := []time.Time{}
	for _, one := range sink.Got() {
		if one.ID == bad {
			times = append(times, one.At)
		} else if sink.Count()[one.ID] != 1 {
			t.Errorf("event %s came %d times", one.ID, sink.Count()[one.ID])
		}
	}
	if wait := times[3].Sub(times[2]); wait < 29*time.Second || wait > 45*time.Second {
		t.Errorf("the tier kept it for %s", wait)
	}
}

func slowSibling(t *testing.T, s *Stand) {
	src := Source("slow")
	release := make(chan struct{})
	slow := NewSink(t, func(http.ResponseWriter, string, int) { <-release })
	fast := NewSink(t, nil)
	s.Start(Subscription(src+".slow", src, slow.URL, "start: earliest, in_flight: 4, timeout: 60s"), Subscription(src+".fast", src, fast.URL, "start: earliest"))
	s.Send(src, 0, 1000)
	fast.AwaitAll(t, 20*time.Second, src, 0, 1000)
	if n := len(slow.Got()); n > 4 {
		t.Errorf("the slow one has %d in flight, 4 were allowed", n)
	}
	close(release)
	slow.AwaitAll(t, 30*time.Second, src, 0, 1000) // it left the shared tail, and catches up
	once(t, slow)
	once(t, fast)
}

func deadSibling(t *testing.T, s *Stand) {
	src := Source("dead")
	var up atomic.Bool
	dead := NewSink(t, func(w http.ResponseWriter, _ string, _ int) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	well := NewSink(t, nil)
	d := s.Start(Subscription(src+".dead", src, dead.URL, "start: earliest"), Subscription(src+".well", src, well.URL, "start: earliest"))
	s.Send(src, 0, 1000)
	well.AwaitAll(t, 20*time.Second, src, 0, 1000)
	var one struct {
		Status schemas.SubscriptionStatus `json:"status"`
	}
	d.Get(t, "/v1/subscriptions/"+src+".dead", &one)
	if one.Status.State != "held" || one.Status.Reason != "status_503" || one.Status.Lag == 0 || one.Status.Oldest == nil {
		t.Errorf("the dead one stands as %+v", one.Status)
	}
	tried := len(dead.Got())
	if tried > 64+10 {
		t.Errorf("%d requests to a dead endpoint", tried)
	}
	up.Store(true)
	dead.AwaitAll(t, 90*time.Second, src, 0, 1000)
	if letters := s.Dead(src + ".dead"); len(letters) != 0 {
		t.Errorf("an outage made %d dead letters", len(letters))
	}
	once(t, well)
	Eventually(t, 20*time.Second, "live without lag", func() bool {
		d.Get(t, "/v1/subscriptions/"+src+".dead", &one)
		return one.Status.State == "live" && one.Status.Lag == 0
	})
}

func retryAfter(t *testing.T, s *Stand) {
	src := Source("busy")
	var mu sync.Mutex
	var told time.Time
	sink := NewSink(t, func(w http.ResponseWriter, _ string, _ int) {
		mu.Lock()
		defer mu.Unlock()
		if told.IsZero() {
			told = time.Now()
			w.Header().Set("Retry-After", "4")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	s.Start(Subscription(src, src, sink.URL, "start: earliest, in_flight: 1"))
	s.Send(src, 0, 20)
	sink.AwaitAll(t, 30*time.Second, src, 0, 20)
	for i, one := range sink.Got() {
		if wait := one.At.Sub(told); i > 0 && wait < 4*time.Second-50*time.Millisecond {
			t.Errorf("request %d came %s after a 429 that asked for 4 s", i, wait)
		}
	}
}

func goneEndpoint(t *testing.T, s *Stand) {
	src := Source("gone")
	var up atomic.Bool
	sink := NewSink(t, func(w http.ResponseWriter, _ string, _ int) {
		if !up.Load() {
			w.WriteHeader(http.StatusGone)
		}
	})
	entry := Subscription(src, src, sink.URL, "start: earliest, in_flight: 1")
	d := s.Start(entry)
	s.Send(src, 0, 20)
	var one struct {
		Status schemas.SubscriptionStatus `json:"status"`
	}
	disabled := func() bool {
		d.Get(t, "/v1/subscriptions/"+src, &one)
		return one.Status.State == "disabled" && one.Status.Reason == "gone"
	}
	Eventually(t, 20*time.Second, "disabled", disabled)
	d.Halt()
	n := len(sink.Got())
	d = s.Start(entry)
	Eventually(t, 20*time.Second, "disabled still", disabled)
	s.Send(src, 20, 30)
	if len(sink.Got()) != n || n != 1 {
		t.Errorf("%d requests, then %d", n, len(sink.Got()))
	}
	up.Store(true)
	d.Post(t, "/v1/subscriptions/"+src+"/resume")
	sink.AwaitAll(t, 20*time.Second, src, 0, 30)
	if letters := s.Dead(src); len(letters) != 0 {
		t.Errorf("%d dead letters", len(letters))
	}
}

func refusedEvent(t *testing.T, s *Stand) {
	src := Source("refused")
	sink := NewSink(t, func(w http.ResponseWriter, _ string, _ int) { w.WriteHeader(http.StatusUnprocessableEntity) })
	s.Start(Subscription(src, src, sink.URL, "start: earliest"))
	s.Send(src, 0, 30)
	sink.AwaitAll(t, 20*time.Second, src, 0, 30)
	Eventually(t, 20*time.Second, "30 dead letters", func() bool { return len(s.Dead(src)) == 30 })
	once(t, sink)
	for _, r := range s.Dead(src) {
		if class := string(r.Header(schemas.HeaderDeadClass)); class != string(schemas.DeadRefused) || string(r.Header(schemas.HeaderLastReason)) != "status_422" {
			t.Errorf("class %s", class)
		}
	}
}

func order(t *testing.T, s *Stand) {
	for _, mode := range []schemas.Ordering{schemas.OrderKey, schemas.OrderPartition} {
		src := Source("order-" + string(mode))
		sink := NewSink(t, func(w http.ResponseWriter, id string, before int) {
			n, _ := strconv.Atoi(id[len(id)-5:])
			if n%37 == 5 && before == 0 { // some fail once: those behind must wait
				w.WriteHeader(http.StatusInternalServerError)
			}
		})
		d := s.Start(Subscription(src, src, sink.URL, "start: earliest, ordering: "+string(mode)))
		s.Send(src, 0, 600)
		sink.AwaitAll(t, 60*time.Second, src, 0, 600)
		Eventually(t, 30*time.Second, "the failed ones again", func() bool {
			for n := 5; n < 600; n += 37 {
				if sink.Count()[id(src, n)] < 2 {
					return false
				}
			}
			return true
		})
		partitions, err := s.Client.Partitions(t.Context(), schemas.TopicInbound)
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]int{}
		for _, one := range sink.Got() {
			n, _ := strconv.Atoi(one.ID[len(one.ID)-5:])
			chain := fmt.Sprintf("key-%d", n%17)
			if mode == schemas.OrderPartition {
				chain = fmt.Sprint(stream.PartitionOf([]byte(chain), partitions))
			}
			if n < last[chain] {
				t.Errorf("%s: %d came after %d", mode, n, last[chain])
			}
			last[chain] = n
		}
		d.Halt()
	}
}

func batch(t *testing.T, s *Stand) {
	src := Source("batch")
	var mu sync.Mutex
	taken := map[string]int{}
	requests, largest := 0, 0
	server := NewSinkFunc(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		var events []struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(body, &events); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		mu.Lock()
		defer mu.Unlock()
		requests++
		largest = max(largest, len(events))
		for _, e := range events {
			if e.ID == id(src, 13) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				return
			}
		}
		for _, e := range events {
			taken[e.ID]++
		}
	})
	s.Send(src, 0, 300)
	s.Start(Subscription(src, src, server, "start: earliest, mode: batch"))
	Eventually(t, 30*time.Second, "all but one", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(taken) == 299
	})
	Eventually(t, 20*time.Second, "one dead letter", func() bool { return len(s.Dead(src)) == 1 })
	mu.Lock()
	defer mu.Unlock()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("%s was taken %d times", id, n)
		}
	}
	if largest < 2 || requests > 200 {
		t.Errorf("%d requests, the largest with %d events", requests, largest)
	}
}

func undecodable(t *testing.T, s *Stand) {
	src := Source("undecodable")
	sink := NewSink(t, nil)
	s.Start(Subscription(src, src, sink.URL, "start: earliest"))
	s.Send(src, 0, 5)
	sink.AwaitAll(t, 20*time.Second, src, 0, 5)
	at := s.Append(stream.Message{Topic: schemas.TopicInbound, Key: []byte("key-1"), Value: []byte(src + " is no event"), Headers: []stream.Header{{Key: "x", Value: []byte("y")}}})[0]
	s.Send(src, 5, 50)
	sink.AwaitAll(t, 20*time.Second, src, 5, 50)
	var letters []stream.Record
	Eventually(t, 20*time.Second, "a dead letter", func() bool {
		letters = slices.DeleteFunc(s.Read(schemas.TopicDispatchDead), func(r stream.Record) bool { return string(r.Value) != src+" is no event" })
		return len(letters) > 0
	})
	r := letters[0]
	if len(letters) != 1 || string(r.Header(schemas.HeaderDeadClass)) != "decode" || string(r.Header("x")) != "y" || string(r.Key) != "key-1" ||
		string(r.Header(schemas.HeaderDeadOffset)) != fmt.Sprint(at.Offset) {
		t.Errorf("%d letters, the first %+v", len(letters), r)
	}
}

func starts(t *testing.T, s *Stand) {
	src := Source("starts")
	s.Send(src, 0, 10)
	all, fresh, later := NewSink(t, nil), NewSink(t, nil), NewSink(t, nil)
	between := time.Now().Add(5 * time.Millisecond)
	Eventually(t, time.Second, "the next moment", func() bool { return time.Now().After(between.Add(5 * time.Millisecond)) })
	s.Send(src, 10, 20)
	entries := []string{
		Subscription(src+".all", src, all.URL, "start: earliest"),
		Subscription(src+".fresh", src, fresh.URL, "start: latest"),
		Subscription(src+".later", src, later.URL, "start: "+between.UTC().Format(time.RFC3339Nano)),
	}
	d := s.Start(entries...)
	all.AwaitAll(t, 20*time.Second, src, 0, 20)
	later.AwaitAll(t, 20*time.Second, src, 10, 20)
	Eventually(t, 20*time.Second, "offsets", func() bool { return s.committed(t, src+".fresh") && s.committed(t, src+".all") })
	d.Halt()
	s.Send(src, 20, 30) // while nobody is there: not lost to the one that began with the latest
	s.Start(entries...)
	for _, k := range []*Sink{all, fresh, later} {
		k.AwaitAll(t, 20*time.Second, src, 20, 30)
		once(t, k)
	}
	if n := len(fresh.Got()); n != 10 {
		t.Errorf("the one that began with the latest got %d", n)
	}
	if n := len(later.Got()); n != 20 {
		t.Errorf("the one that began in between got %d", n)
	}
}

// committed says whether a subscription has an offset for every partition of heed.inbound.
func (s *Stand) committed(t *testing.T, id string) bool {
	t.Helper()
	n, err := s.Client.Partitions(t.Context(), schemas.TopicInbound)
	if err != nil {
		t.Fatal(err)
	}
	var all []stream.TopicPartition
	for p := range n {
		all = append(all, stream.TopicPartition{Topic: schemas.TopicInbound, Partition: p})
	}
	found, err := s.Client.FetchOffsets(t.Context(), "heed.lane."+id, all...)
	if err != nil {
		t.Fatal(err)
	}
	return len(found) == len(all)
}

func followsFile(t *testing.T, s *Stand) {
	src := Source("follows")
	one, two, other := NewSink(t, nil), NewSink(t, nil), NewSink(t, nil)
	d := s.Start(Subscription(src+".one", src, one.URL, "start: earliest"))
	s.Send(src, 0, 10)
	one.AwaitAll(t, 20*time.Second, src, 0, 10)
	d.Write(Subscription(src+".one", src, other.URL, "start: earliest"), Subscription(src+".two", src, two.URL, "start: earliest"))
	d.Reload()
	two.AwaitAll(t, 20*time.Second, src, 0, 10) // new: from its start
	s.Send(src, 10, 20)
	other.AwaitAll(t, 20*time.Second, src, 10, 20) // changed: from where it was
	if n := len(other.Got()); n != 10 {
		t.Errorf("the changed one got %d again", n-10)
	}
	d.Write("- {id: broken, sink: nowhere}\n")
	d.Reload()
	Eventually(t, 10*time.Second, "the bad file to show", func() bool { return strings.Contains(d.Ready(t), "subscriptions stay as they were") })
	s.Send(src, 20, 30)
	two.AwaitAll(t, 20*time.Second, src, 20, 30)
	d.Write(Subscription(src+".two", src, two.URL, "start: earliest"))
	d.Reload()
	Eventually(t, 10*time.Second, "the good file to be taken", func() bool { return !strings.Contains(d.Ready(t), "subscriptions stay as they were") })
	s.Send(src, 30, 40)
	two.AwaitAll(t, 20*time.Second, src, 0, 40)
	once(t, two)
	if n := len(other.Got()); n != 20 {
		t.Errorf("the removed one got %d", n)
	}
}

func comeAndGo(t *testing.T, s *Stand) {
	src := Source("comeandgo")
	sink := NewSink(t, nil)
	entry := Subscription(src, src, sink.URL, "start: earliest, in_flight: 16")
	const total = 3000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for n := 0; n < total; n += 100 {
			s.Send(src, n, n+100)
			sink.Await(t, 60*time.Second, "some", func(got []Delivery) bool { return len(got) > n/2 })
		}
	}()
	first := s.Start(entry)
	sink.Await(t, 30*time.Second, "a third", func(got []Delivery) bool { return len(got) > total/3 })
	second := s.Start(entry)
	sink.Await(t, 30*time.Second, "a half", func(got []Delivery) bool { return len(got) > total/2 })
	first.Halt()
	sink.Await(t, 60*time.Second, "two thirds", func(got []Delivery) bool { return len(got) > total*2/3 })
	s.Start(entry)
	<-sent
	sink.AwaitAll(t, 60*time.Second, src, 0, total)
	second.Halt()
	once(t, sink) // orderly: nothing twice
}

// killed kills the dispatcher three times while 200 events a second come. Nothing may be missing;
// what may come twice is what was in flight, and what was delivered since the last commit, a
// tenth of a second before.
func killed(t *testing.T, s *Stand) {
	src := Source("killed")
	const inFlight, rate, kills = 16, 200, 3
	sink := NewSink(t, func(http.ResponseWriter, string, int) { <-time.After(20 * time.Millisecond) })
	file := filepath.Join(t.TempDir(), "subscriptions.yaml")
	writeFile(t, file, "subscriptions:\n"+Subscription(src, src, sink.URL, fmt.Sprintf("start: earliest, in_flight: %d", inFlight)))
	var sent atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second / rate)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			s.Send(src, n, n+1)
			sent.Store(int64(n + 1))
		}
	}()
	process := s.Process(file)
	for range kills {
		more := len(sink.Got()) + 2*rate
		sink.Await(t, 90*time.Second, "two seconds' worth", func(got []Delivery) bool { return len(got) >= more })
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		process = s.Process(file)
	}
	more := len(sink.Got()) + rate
	sink.Await(t, 90*time.Second, "one more", func(got []Delivery) bool { return len(got) >= more })
	close(stop)
	<-stopped
	sink.AwaitAll(t, 90*time.Second, src, 0, int(sent.Load()))
	twice := len(sink.Got()) - len(sink.Count())
	t.Logf("killed %d times: %d sent, %d delivered, 0 missing, %d twice", kills, sent.Load(), len(sink.Count()), twice)
	// Catching up after a kill is faster than the rate: as fast as the sink is, 800 a second.
	if most := kills * (inFlight + 800/5); twice > most {
		t.Errorf("%d came twice, more than %d", twice, most)
	}
}

func pausedAndTold(t *testing.T, s *Stand) {
	src := Source("paused")
	sink := NewSink(t, nil)
	d := s.Start(Subscription(src, src, sink.URL, "start: earliest"))
	s.Send(src, 0, 10)
	sink.AwaitAll(t, 20*time.Second, src, 0, 10)
	d.Post(t, "/v1/subscriptions/"+src+"/pause")
	s.Send(src, 10, 20)
	var one struct {
		ID     string                     `json:"id"`
		Status schemas.SubscriptionStatus `json:"status"`
	}
	Eventually(t, 20*time.Second, "paused with lag", func() bool {
		d.Get(t, "/v1/subscriptions/"+src, &one)
		return one.Status.State == "paused" && one.Status.Lag >= 10
	})
	if n := len(sink.Got()); n != 10 {
		t.Errorf("paused, it got %d", n-10)
	}
	d.Post(t, "/v1/subscriptions/"+src+"/resume")
	sink.AwaitAll(t, 20*time.Second, src, 10, 20)
	once(t, sink)
	var told struct {
		Attempts []schemas.DeliveryAttempt `json:"attempts"`
	}
	Eventually(t, 20*time.Second, "attempts", func() bool {
		d.Get(t, "/v1/subscriptions/"+src+"/attempts?limit=15", &told)
		return len(told.Attempts) == 15
	})
	for _, a := range told.Attempts {
		if a.Subscription != src || a.Outcome != schemas.AttemptTaken || a.Status != http.StatusOK && a.Status != http.StatusNoContent || a.Event.Source != src {
			t.Errorf("attempt %+v", a)
		}
	}
	for path, want := range map[string]int{"/v1/subscriptions/none": 404, "/v1/other": 404, "/v1/subscriptions/" + src + "/attempts?limit=0": 400} {
		if got := d.Status(t, http.MethodGet, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := d.Status(t, http.MethodPost, "/v1/subscriptions"); got != http.StatusMethodNotAllowed {
		t.Errorf("creating: %d", got)
	}
}

func signed(t *testing.T, s *Stand) {
	src := Source("signed")
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	path := t.TempDir() + "/secret"
	writeFile(t, path, secret+"\n")
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ids := map[string]int{}
	sink := NewSinkFunc(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		mu.Lock()
		defer mu.Unlock()
		if err := verifier.Verify(body, r.Header); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/cloudevents+json") || !bytes.Contains(body, []byte(`"specversion":"1.0"`)) {
			t.Errorf("signed, but not structured: %s", body)
		}
		ids[r.Header.Get("webhook-id")]++
		if len(ids) == 1 && ids[r.Header.Get("webhook-id")] == 1 {
			w.WriteHeader(http.StatusInternalServerError) // the retry has the same id
		}
	})
	s.Start(Subscription(src, src, sink, fmt.Sprintf("start: earliest, secret_file: %q", path)))
	s.Send(src, 0, 5)
	Eventually(t, 20*time.Second, "five events, one of them twice", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, c := range ids {
			n += c
		}
		return len(ids) == 5 && n == 6
	})
}

func thousandLanes(t *testing.T, s *Stand) {
	src := Source("thousand")
	sink := NewSink(t, nil)
	const lanes = 1000
	var entries []string
	for n := range lanes {
		entries = append(entries, fmt.Sprintf("- {id: %s.%d, source: %s, filters: [{exact: {tenant: t%d}}], sink: %q, config: {start: earliest}}\n", src, n, src, n, sink.URL))
	}
	s.Start(entries...)
	var messages []stream.Message
	for n := range lanes {
		e := Event(src, n)
		e.SetExtension(schemas.ExtTenant, fmt.Sprintf("t%d", n))
		messages = append(messages, e.Message(schemas.TopicInbound, fmt.Appendf(nil, "key-%d", n%17)))
	}
	s.Append(messages...)
	sink.AwaitAll(t, 60*time.Second, src, 0, lanes)
	once(t, sink)
}
