package streamtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// Flow appends records one by one, from several goroutines, while the test breaks things; then
// Check holds the topic against what was acknowledged.
type Flow struct {
	t      testing.TB
	client *stream.Client
	writer *stream.Writer
	topic  string
	stop   context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	acked   map[string]stream.Position
	unknown int
	failed  []error
	longest time.Duration
	moved   chan struct{}
}

// StartFlow starts some perSecond appends, each with a deadline.
func StartFlow(t testing.TB, c *stream.Client, topic string, perSecond int, deadline time.Duration) *Flow {
	t.Helper()
	f := &Flow{t: t, client: c, topic: topic, writer: stream.NewWriter(c, stream.WriterOptions{}), acked: map[string]stream.Position{}, moved: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	f.stop = stop
	const writers = 8
	for i := range writers {
		f.done.Go(func() {
			tick := time.NewTicker(time.Second * writers / time.Duration(perSecond))
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if ctx.Err() != nil {
						return
					}
					f.append(fmt.Sprintf("%d %d", i, n), deadline)
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		f.done.Wait()
	})
	return f
}

func (f *Flow) append(value string, deadline time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	start := time.Now()
	at, err := f.writer.Append(ctx, stream.Message{Topic: f.topic, Key: []byte(value), Value: []byte(value)})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.longest = max(f.longest, time.Since(start))
	switch {
	case err == nil:
		f.acked[value] = at[0]
		select {
		case f.moved <- struct{}{}:
		default:
		}
	case errors.Is(err, stream.ErrUnknown):
		f.unknown++
	default:
		f.failed = append(f.failed, err)
	}
}

// Acked waits until n more records are acknowledged.
func (f *Flow) Acked(n int, within time.Duration) {
	f.t.Helper()
	f.mu.Lock()
	goal := len(f.acked) + n
	f.mu.Unlock()
	over := time.After(within)
	for {
		f.mu.Lock()
		have := len(f.acked)
		f.mu.Unlock()
		if have >= goal {
			return
		}
		select {
		case <-f.moved:
		case <-over:
			f.t.Fatalf("%d records acknowledged within %s, want %d", have-goal+n, within, n)
		}
	}
}

// Check ends the flow and reads the topic: every acknowledged record must be there, where it
// was said to be, none twice, and those of one writer in their order.
func (f *Flow) Check() {
	f.t.Helper()
	f.stop()
	f.done.Wait()
	if err := f.writer.Close(Context(f.t, 60*time.Second)); err != nil {
		f.t.Error(err)
	}
	for _, err := range f.failed {
		f.t.Errorf("an append failed: %v", err)
	}
	stored := map[string]int{}
	last := map[string]int{}
	disorder, misplaced := 0, 0
	for _, r := range Read(f.t, f.client, f.topic) {
		value := string(r.Value)
		stored[value]++
		if at, ok := f.acked[value]; ok && at.Offset >= 0 && (at.Partition != r.Partition || at.Offset != r.Offset) && stored[value] == 1 {
			misplaced++
		}
		writer, number, _ := strings.Cut(value, " ")
		n, _ := strconv.Atoi(number)
		key := fmt.Sprint(writer, "/", r.Partition)
		if n < last[key] {
			disorder++
		}
		last[key] = n
	}
	lost, twice := 0, 0
	for value := range f.acked {
		if stored[value] == 0 {
			lost++
		}
	}
	for _, n := range stored {
		twice += n - 1
	}
	f.t.Logf("acknowledged %d, unknown %d, stored %d, longest append %s", len(f.acked), f.unknown, len(stored), f.longest.Round(time.Millisecond))
	if lost != 0 || twice != 0 || disorder != 0 || misplaced != 0 {
		f.t.Errorf("lost %d, twice %d, out of order %d, elsewhere than acknowledged %d", lost, twice, disorder, misplaced)
	}
}
