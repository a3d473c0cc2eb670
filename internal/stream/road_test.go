package stream_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

func TestAppendAndReplay(t *testing.T) {
	brokers := streamtest.Kfake(t, stream.TopicSpec{Name: "a", Partitions: 3}, stream.TopicSpec{Name: "b", Partitions: 2})
	c := streamtest.Open(t, brokers)
	w := stream.NewWriter(c, stream.WriterOptions{})
	ctx := streamtest.Context(t, 20*time.Second)
	var messages []stream.Message
	for i := range 1000 {
		messages = append(messages, stream.Message{Topic: []string{"a", "b"}[i%2], Key: fmt.Append(nil, i%10), Value: fmt.Append(nil, i), Headers: []stream.Header{{Key: "n", Value: fmt.Append(nil, i)}}})
	}
	positions, err := w.Append(ctx, messages...)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	byPosition := map[string]string{}
	for i, p := range positions {
		byPosition[fmt.Sprint(messages[i].Topic, p.Partition, p.Offset)] = string(messages[i].Value)
	}
	n := 0
	for _, topic := range []string{"a", "b"} {
		for _, r := range streamtest.Read(t, c, topic) {
			n++
			if want := byPosition[fmt.Sprint(topic, r.Partition, r.Offset)]; want != string(r.Value) || want != string(r.Header("n")) {
				t.Fatalf("%s/%d@%d holds %q, header %q; want %q", topic, r.Partition, r.Offset, r.Value, r.Header("n"), want)
			}
		}
	}
	if n != len(messages) {
		t.Fatalf("read %d records, want %d", n, len(messages))
	}
}

func TestConsume(t *testing.T) {
	brokers := streamtest.Kfake(t, stream.TopicSpec{Name: "a", Partitions: 4})
	c := streamtest.Open(t, brokers)
	w := stream.NewWriter(c, stream.WriterOptions{})
	ctx := streamtest.Context(t, 30*time.Second)
	const total = 5000
	var messages []stream.Message
	for i := range total {
		messages = append(messages, stream.Message{Topic: "a", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	if _, err := w.Append(ctx, messages...); err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	seen := map[string]int{}
	err := stream.Consume(run, c, stream.GroupOptions{Group: "g", Topics: []string{"a"}}, func(ctx context.Context, part *stream.Assigned) error {
		for {
			b, err := part.Next(ctx)
			if errors.Is(err, stream.ErrRevoked) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			for i := range b.Records {
				seen[string(b.Records[i].Value)]++
				part.Done(b.Records[i].Offset)
			}
			if len(seen) == total {
				stop()
			}
			mu.Unlock()
			b.Release()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for v, n := range seen {
		if n != 1 {
			t.Errorf("record %s was read %d times", v, n)
		}
	}
	partitions := []stream.TopicPartition{{Topic: "a"}, {Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "a", Partition: 3}}
	offsets, err := c.FetchOffsets(ctx, "g", partitions...)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, o := range offsets {
		sum += o.Offset
	}
	if sum != total {
		t.Errorf("committed %d in all, want %d: %v", sum, total, offsets)
	}
}
