package ingest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/heedhq/heed/ingest/spool"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func TestMessageCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytesOf := rapid.SliceOfN(rapid.Byte(), 1, 50)
		want := stream.Message{Topic: rapid.String().Draw(t, "topic"), Key: bytesOf.Draw(t, "key"), Value: bytesOf.Draw(t, "value")}
		for range rapid.IntRange(0, 5).Draw(t, "headers") {
			want.Headers = append(want.Headers, stream.Header{Key: rapid.String().Draw(t, "name"), Value: bytesOf.Draw(t, "header")})
		}
		encoded := encodeMessage(want)
		got, err := decodeMessage(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(stream.Message{}, stream.Place{})); diff != "" {
			t.Fatal(diff)
		}
		if _, err := decodeMessage(encoded[:len(encoded)-1]); err == nil {
			t.Fatal("a cut message is taken")
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(encodeMessage(stream.Message{Topic: "t", Key: []byte("k"), Value: []byte("v"), Headers: []stream.Header{{Key: "h", Value: []byte("x")}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(b)
		if err == nil && !bytes.Equal(encodeMessage(m), b) {
			// Another spelling of a number; what counts is that it ended.
			if _, err := decodeMessage(encodeMessage(m)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// switchable is a Kafka that can be away.
type switchable struct {
	mu       sync.Mutex
	away     bool
	asked    int // appends while away
	messages []stream.Message
	refuse   map[string]error // by key
}

func (k *switchable) Enqueue(ctx context.Context, m stream.Message, done func(stream.Position, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.refuse[string(m.Key)]; err != nil {
		go done(stream.Position{}, err)
		return nil
	}
	if k.away {
		k.asked++
		at, _ := ctx.Deadline()
		time.AfterFunc(min(time.Until(at), 200*time.Millisecond), func() { done(stream.Position{}, stream.ErrUnknown) })
		return nil
	}
	k.messages = append(k.messages, copyOf(m))
	go done(stream.Position{}, nil)
	return nil
}

func (k *switchable) set(away bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
}

func (k *switchable) bodies() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []string
	for _, m := range k.messages {
		c, _ := schemas.ParseCapture(m.Value)
		all = append(all, string(c.Body))
	}
	return all
}

func spooling(t *testing.T, broker appender, o spool.Options) *overflow {
	t.Helper()
	over := &overflow{dir: filepath.Join(t.TempDir(), "spool"), options: o, kafka: broker, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	over.tryOpen()
	t.Cleanup(over.close)
	return over
}

// until polls a condition that other goroutines bring about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("never: " + what)
		}
	}
}

// TestKafkaAway: what Kafka doesn't take is answered 200 from the disk, at once after the first,
// and comes to Kafka in order when it returns; then callbacks go straight again.
func TestKafkaAway(t *testing.T) {
	broker := &switchable{away: true}
	over := spooling(t, broker, spool.Options{Segment: 8 << 10})
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, spool: over, after: 100 * time.Millisecond}, io.Discard)
	send := func(body string) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("POST", "/v1/callbacks/open", body))
		if w.Code != 200 {
			t.Fatalf("answer %d: %s", w.Code, w.Body)
		}
	}
	var want []string
	for i := range 100 {
		body := strconv.Itoa(i) + strings.Repeat(" ", 200)
		want = append(want, body)
		send(body)
	}
	// The clock of a busy machine says little; whom was asked says it all.
	if broker.asked != 1 {
		t.Errorf("%d callbacks waited for a Kafka that is known to be away, want only the first", broker.asked)
	}
	marked := time.Now()
	if got := over.before(marked); !got.Before(marked) {
		t.Error("a mark would claim what is still spooled")
	}
	if !strings.Contains(over.note(), "100 callbacks") || over.excuses(errors.New("away")) != nil {
		t.Errorf("note %q", over.note())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- over.run(ctx) }()
	broker.set(false)
	until(t, "drained", func() bool { return !over.Pending() })
	if got := over.before(marked); !got.Equal(marked) {
		t.Errorf("a mark is held back by an empty spool: %s", got)
	}
	want = append(want, "direct")
	send("direct")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, broker.bodies()); diff != "" {
		t.Errorf("on Kafka: -want +got\n%s", diff)
	}
	if got := over.drained.Load(); got != 100 {
		t.Errorf("%d drained", got)
	}
}

// TestSpoolingIsSaidOnce: a spool that fills and empties all the time fills no log.
func TestSpoolingIsSaidOnce(t *testing.T) {
	over := spooling(t, &switchable{}, spool.Options{})
	var log bytes.Buffer
	over.log = slog.New(slog.NewTextHandler(&log, nil))
	says := func(what string) int { return strings.Count(log.String(), what) }
	for range 20 {
		if err := over.Put(stream.Message{Topic: "t", Value: []byte("v"), Time: time.Now()}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		over.drain(t.Context())
	}
	if n := says("answered from the spool"); n != 1 || says("empty again") != 0 {
		t.Errorf("within a moment: %d times\n%s", n, &log)
	}
	over.spell.last = over.spell.last.Add(-calm)
	over.drain(t.Context())
	over.drain(t.Context())
	if says("empty again") != 1 || says("callbacks=20") != 1 {
		t.Errorf("at the end:\n%s", &log)
	}
}

// TestRestart: what an earlier process spooled is drained by the next.
func TestRestart(t *testing.T) {
	broker := &switchable{away: true}
	over := spooling(t, broker, spool.Options{})
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, spool: over, after: time.Millisecond}, io.Discard)
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/v1/callbacks/open", "before"))
	over.close()
	if w := httptest.NewRecorder(); func() bool { h.ServeHTTP(w, request("POST", "/v1/callbacks/open", "x")); return w.Code != 503 }() {
		t.Errorf("with a closed spool and no Kafka: %d", w.Code)
	}
	broker.set(false)
	next := &overflow{dir: over.dir, kafka: broker, log: over.log}
	next.tryOpen()
	t.Cleanup(next.close)
	next.drain(t.Context())
	if diff := cmp.Diff([]string{"before"}, broker.bodies()); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedIsPutAside: a record that Kafka never takes doesn't hold up the others, and is not lost.
func TestRefusedIsPutAside(t *testing.T) {
	broker := &switchable{refuse: map[string]error{"b": stream.ErrTooLarge}}
	over := spooling(t, broker, spool.Options{})
	for _, key := range []string{"a", "b", "c"} {
		if err := over.Put(stream.Message{Topic: "t", Key: []byte(key), Value: []byte("POST / HTTP/1.1\r\n\r\n" + key), Time: time.Now()}, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	over.drain(t.Context())
	if diff := cmp.Diff([]string{"a", "c"}, broker.bodies()); diff != "" {
		t.Error(diff)
	}
	files, _ := filepath.Glob(filepath.Join(over.dir, "refused-*"))
	if len(files) != 1 || over.aside.Load() != 1 {
		t.Fatalf("put aside: %v", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if m, err := decodeMessage(data); err != nil || string(m.Key) != "b" {
		t.Errorf("%q, %v", m.Key, err)
	}
}

// TestFullSpool: 503, readiness says why, and what Kafka takes is taken all the same.
func TestFullSpool(t *testing.T) {
	broker := &switchable{away: true}
	over := spooling(t, broker, spool.Options{Max: 4 << 10, Segment: 1 << 10})
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, spool: over, after: time.Millisecond}, io.Discard)
	codes := map[int]int{}
	for range 20 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("POST", "/v1/callbacks/open", strings.Repeat("a", 300)))
		codes[w.Code]++
	}
	if codes[200] < 3 || codes[503] < 5 || len(codes) != 2 {
		t.Errorf("answers %v", codes)
	}
	if err := over.excuses(errors.New("Kafka is away")); err == nil || !strings.Contains(err.Error(), "full") || !strings.Contains(err.Error(), "Kafka is away") {
		t.Errorf("readiness says %v", err)
	}
	broker.set(false)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v1/callbacks/open", strings.Repeat("a", 300)))
	if w.Code != 200 {
		t.Errorf("Kafka is back, the spool full: %d", w.Code)
	}
}

// TestNoDirectory: a directory that can't be opened is told, and taken when it can.
func TestNoDirectory(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	over := &overflow{dir: filepath.Join(blocked, "spool"), kafka: &switchable{}, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	over.tryOpen()
	if err := over.failure(); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("failure: %v", err)
	}
	if note := over.note(); !strings.Contains(note, "can't be spooled") {
		t.Errorf("note: %q", note)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	over.tryOpen()
	t.Cleanup(over.close)
	if err := over.failure(); err != nil {
		t.Error(err)
	}
}
