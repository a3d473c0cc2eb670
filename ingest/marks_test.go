package ingest

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func markOf(t *testing.T, m stream.Message) schemas.Mark {
	t.Helper()
	rec := stream.Record{Headers: m.Headers, Value: m.Value}
	e, err := stream.ParseEvent(&rec)
	if err != nil || e.Type != "io.heed.time.mark.v1" || m.Topic != schemas.TopicCallbacks {
		t.Fatalf("%+v, %v", e, err)
	}
	var mark schemas.Mark
	if err := json.Unmarshal(m.Value, &mark); err != nil {
		t.Fatal(err)
	}
	return mark
}

// TestMarks: one mark a second to every partition, never later than what is underway, and a
// leaving one at the end.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u underway
		broker := &kafka{}
		m := &marks{replica: "r1", kafka: broker, before: u.before, partitions: func(context.Context) (int32, error) { return 3, nil }}
		slot, received := u.enter()
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		if err := m.run(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all := broker.all()
		if len(all) != 12 { // at 0, 1, 2 and 3 s
			t.Fatalf("%d marks", len(all))
		}
		for i, message := range all {
			mark := markOf(t, message)
			if mark.Time.After(received) || mark.Replica != "r1" || mark.Partitions != 3 || mark.Partition != int32(i%3) || mark.Leaving {
				t.Errorf("mark %+v; a callback of %s is underway", mark, received)
			}
			if message.To != stream.At(mark.Partition) {
				t.Errorf("mark of partition %d goes to %+v", mark.Partition, message.To)
			}
		}
		u.leave(slot)
		m.leave(t.Context())
		last := markOf(t, broker.all()[14])
		if !last.Leaving || !last.Time.Equal(time.Now().UTC()) {
			t.Errorf("last mark %+v", last)
		}
		if m.written.Load() != 15 || m.failed.Load() != 0 {
			t.Errorf("%d written, %d failed", m.written.Load(), m.failed.Load())
		}
	})
}

// TestSilence: a Kafka that answers questions and acknowledges nothing shows after five seconds,
// and no longer once it acknowledges again.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &kafka{answer: stream.ErrUnknown}
		m := &marks{replica: "r1", kafka: broker, before: time.Now, partitions: func(context.Context) (int32, error) { return 1, nil }}
		if err := m.silent(); err != nil {
			t.Errorf("before the start: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.run(ctx) }()
		later := func(d time.Duration) error {
			<-time.After(d) // of the bubble: passes at once
			return m.silent()
		}
		if err := later(4 * time.Second); err != nil {
			t.Errorf("after 4 s: %v", err)
		}
		if err := later(2 * time.Second); err == nil || !strings.Contains(err.Error(), "acknowledged nothing for 6s") {
			t.Errorf("after 6 s: %v", err)
		}
		broker.mu.Lock()
		broker.answer = nil
		broker.mu.Unlock()
		if err := later(1100 * time.Millisecond); err != nil {
			t.Errorf("it acknowledges again: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestUnderway: whatever enters while marks are made has a receipt that no mark claims.
func TestUnderway(t *testing.T) {
	var u underway
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				slot, received := u.enter()
				if at := u.before(); at.After(received) {
					t.Errorf("a mark of %s would claim a callback of %s", at, received)
				}
				u.leave(slot)
			}
		})
	}
	tick := time.NewTimer(200 * time.Millisecond)
	<-tick.C
	close(stop)
	wg.Wait()
	for i := range u.slots {
		if n := u.slots[i].Load(); n != 0 {
			t.Errorf("slot %d holds %d", i, n)
		}
	}
}
