package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

// fill appends n records of size to every partition.
func fill(t *testing.T, c *stream.Client, topic string, partitions int32, n, size int, compression string) {
	t.Helper()
	w := stream.NewWriter(c, stream.WriterOptions{Compression: compression})
	for p := range partitions {
		for i := 0; i < n; i += 10 { // ten to a batch
			var messages []stream.Message
			for j := range min(10, n-i) {
				messages = append(messages, stream.Message{Topic: topic, To: stream.At(p), Value: append(fmt.Appendf(nil, "%d/%d ", p, i+j), bytes.Repeat([]byte("x"), size)...)})
			}
			if _, err := w.Append(t.Context(), messages...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestMemoryIsBounded has workers that hold whatever they get: each partition stops at its
// bound, and goes on when they let go.
func TestMemoryIsBounded(t *testing.T) {
	const partitions, most = 4, 128 << 10
	cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "none", Partitions: partitions}, {Name: "zstd", Partitions: partitions}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	fill(t, c, "none", partitions, 500, 4000, "none")
	fill(t, c, "zstd", partitions, 500, 4000, "zstd")
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	var mu sync.Mutex
	done := 0
	err := stream.Consume(ctx, c, stream.GroupOptions{Group: "g", Topics: []string{"none", "zstd"}, MaxBytes: most}, func(ctx context.Context, part *stream.Assigned) error {
		read := 0
		var held []*stream.Batch
		for read < 500 {
			// Until nothing more comes, the worker lets nothing go.
			impatient, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			b, err := part.Next(impatient)
			cancel()
			raw, decoded := stream.Held(part)
			if raw > 2*most || decoded > 2*most+64<<10 { // and one batch
				t.Errorf("%s/%d holds %d bytes of fetches and %d decompressed", part.Topic, part.Partition, raw, decoded)
			}
			switch {
			case err == nil:
				held = append(held, b)
				read += len(b.Records)
			case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && len(held) > 0:
				for _, b := range held {
					for i := range b.Records {
						part.Done(b.Records[i].Offset)
					}
					b.Release()
				}
				held = nil
			case errors.Is(err, stream.ErrRevoked):
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			}
		}
		mu.Lock()
		if done++; done == 2*partitions {
			stop()
		}
		mu.Unlock()
		<-part.Revoked()
		return nil
	})
	if err != nil || done != 2*partitions {
		t.Errorf("%d partitions were read: %v", done, err)
	}
}

// TestWindow: a worker gets no more than its window of records that are not done.
func TestWindowAndLag(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 1}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	w := stream.NewWriter(c, stream.WriterOptions{})
	old := time.Now().Add(-time.Hour)
	for i := range 10 { // ten batches of ten
		var messages []stream.Message
		for j := range 10 {
			messages = append(messages, stream.Message{Topic: "t", Time: old.Add(time.Duration(10*i+j) * time.Minute / 2), Value: []byte("v")})
		}
		if _, err := w.Append(t.Context(), messages...); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	err := stream.Consume(ctx, c, stream.GroupOptions{Group: "g", Topics: []string{"t"}, Window: 20, MaxBytes: 200}, func(ctx context.Context, part *stream.Assigned) error {
		defer stop()
		out := 0
		for out < 20 {
			b, err := part.Next(ctx)
			if err != nil {
				return err
			}
			out += len(b.Records)
			b.Release()
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		if b, err := part.Next(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beyond the window: %v, %v", b, err)
		}
		records, age := part.Lag()
		if records != 100 || age < 59*time.Minute || age > 61*time.Minute {
			t.Errorf("lag %d records, %s", records, age)
		}
		part.DoneUntil(9)
		part.Done(11)
		part.Done(10)
		if got := part.Committed(); got != 9 {
			t.Errorf("committed %d with 9 not done", got)
		}
		part.Done(9)
		if got := part.Committed(); got != 12 {
			t.Errorf("committed %d, want 12", got)
		}
		if records, age := part.Lag(); records != 88 || age > 55*time.Minute {
			t.Errorf("lag %d records, %s", records, age)
		}
		b, err := part.Next(ctx)
		if err != nil {
			return err
		}
		b.Release()
		stop()
		<-part.Revoked()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tp := stream.TopicPartition{Topic: "t"}
	if got, err := c.FetchOffsets(t.Context(), "g", tp); err != nil || got[tp].Offset != 12 {
		t.Errorf("committed %v, %v", got, err)
	}
}

// TestWatchdog: a partition that is left out of every fetch although it has records is noticed.
func TestWatchdog(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 1}}})
	var lines bytes.Buffer
	c, err := stream.Open(stream.Config{Brokers: cluster.ListenAddrs()}, stream.Options{Log: slog.New(slog.NewTextHandler(&lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fill(t, c, "t", 1, 10, 10, "none")
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	err = stream.Consume(ctx, c, stream.GroupOptions{Group: "g", Topics: []string{"t"}}, func(ctx context.Context, part *stream.Assigned) error {
		stream.Forget(part, 10*time.Second)
		stream.Look(part)
		if records, _ := part.Lag(); records != 10 {
			t.Errorf("the lag is %d: the end was not asked for", records)
		}
		stream.Forget(part, time.Minute)
		stream.Look(part)
		stop()
		<-part.Revoked()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(lines.String(), "a partition is not fetched although it has records"); n != 1 {
		t.Errorf("noticed %d times:\n%s", n, &lines)
	}
}

// TestDrain: a worker has its time after the partition was taken away, and what it declares
// done then is committed; after that its context ends.
func TestDrain(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 2}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	fill(t, c, "t", 2, 10, 10, "none")
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	err := stream.Consume(ctx, c, stream.GroupOptions{Group: "g", Topics: []string{"t"}, DrainTimeout: 2 * time.Second}, func(ctx context.Context, part *stream.Assigned) error {
		b, err := part.Next(ctx)
		if err != nil {
			return err
		}
		if part.Partition == 0 {
			stop()
		}
		<-part.Revoked()
		if _, err := part.Next(ctx); !errors.Is(err, stream.ErrRevoked) {
			t.Errorf("after the revocation: %v", err)
		}
		if part.Partition == 1 {
			<-ctx.Done() // too slow: the drain's time ends
			return ctx.Err()
		}
		if ctx.Err() != nil {
			t.Error("the drain had no time")
		}
		for i := range b.Records {
			part.Done(b.Records[i].Offset)
		}
		b.Release()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	zero, one := stream.TopicPartition{Topic: "t"}, stream.TopicPartition{Topic: "t", Partition: 1}
	got, err := c.FetchOffsets(t.Context(), "g", zero, one)
	if err != nil || got[zero].Offset != 10 || got[one].Offset > 0 {
		t.Errorf("committed %v, %v", got, err)
	}
}

func TestCursor(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "t", Partitions: 1}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	fill(t, c, "t", 1, 10, 10, "none")
	cursor := c.OpenCursor("t", 0, 4)
	defer cursor.Close()
	read := func(want int) {
		t.Helper()
		for got := 0; got < want; {
			b, err := cursor.Next(t.Context(), 5*time.Second)
			if err != nil || len(b.Records) == 0 {
				t.Fatalf("read %d, want %d: %v", got, want, err)
			}
			got += len(b.Records)
			b.Release()
		}
	}
	read(6)
	b, err := cursor.Next(t.Context(), 50*time.Millisecond)
	if err != nil || len(b.Records) != 0 || cursor.Position() != 10 || cursor.End() != 10 {
		t.Errorf("at the end: %v, %v, at %d of %d", b, err, cursor.Position(), cursor.End())
	}
	b.Release()
	cluster.ShufflePartitionLeaders()
	fill(t, c, "t", 1, 3, 10, "zstd")
	read(3)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cursor.Next(ended, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	latest := c.OpenCursor("t", 0, stream.LastOffset)
	defer latest.Close()
	if b, err := latest.Next(t.Context(), 20*time.Millisecond); err != nil || len(b.Records) != 0 || latest.Position() != 13 {
		t.Errorf("from the end: %v, %v", b, err)
	}
	n := 0
	if next, err := c.Replay(t.Context(), "t", 0, 2, 7, func(r []stream.Record) error { n += len(r); return nil }); err != nil || next != 7 || n != 5 {
		t.Errorf("replayed %d up to %d: %v", n, next, err)
	}
	mine := errors.New("mine")
	if _, err := c.Replay(t.Context(), "t", 0, stream.FirstOffset, -1, func([]stream.Record) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("visit's error: %v", err)
	}
	if _, err := c.Replay(t.Context(), "t", 0, 0, 99, func([]stream.Record) error { return nil }); err == nil {
		t.Error("beyond the end: no error")
	}
}
