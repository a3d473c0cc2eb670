package streamtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// ledger writes down what members of a group did with which record, and finds what must not be.
type ledger struct {
	mu         sync.Mutex
	seen       map[string]int   // value → how often
	last       map[string]int64 // topic/partition → last offset
	violations int              // records that came after a later one of their partition
	moved      *sync.Cond       // seen has grown
}

func newLedger() *ledger {
	l := &ledger{seen: map[string]int{}, last: map[string]int64{}}
	l.moved = sync.NewCond(&l.mu)
	return l
}

func (l *ledger) note(r *stream.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[string(r.Value)]++
	key := fmt.Sprint(r.Topic, "/", r.Partition)
	if last, ok := l.last[key]; ok && r.Offset <= last {
		l.violations++
	}
	l.last[key] = r.Offset
	l.moved.Broadcast()
}

// wait waits until n different records were seen, or ctx ends.
func (l *ledger) wait(ctx context.Context, n int) bool {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.moved.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.seen) < n && ctx.Err() == nil {
		l.moved.Wait()
	}
	return len(l.seen) >= n
}

// work notes every record and declares those of a batch done in any order.
func (l *ledger) work(ctx context.Context, part *stream.Assigned) error {
	for {
		b, err := part.Next(ctx)
		if errors.Is(err, stream.ErrRevoked) {
			return nil
		}
		if err != nil {
			return err
		}
		offsets := make([]int64, len(b.Records))
		for i := range b.Records {
			l.note(&b.Records[i])
			offsets[i] = b.Records[i].Offset
		}
		b.Release()
		rand.Shuffle(len(offsets), func(i, j int) { offsets[i], offsets[j] = offsets[j], offsets[i] })
		for _, o := range offsets {
			part.Done(o)
		}
	}
}

// member runs one member until stop is called; stop waits until it has left.
func (b *bench) member(o stream.GroupOptions, work stream.Worker) (stop func()) {
	ctx, cancel := context.WithCancel(b.ctx)
	client := Open(b.T, b.brokers)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := stream.Consume(ctx, client, o, work); err != nil {
			b.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	b.Cleanup(stop)
	return stop
}

const churnRecords = 20_000

// testChurn lets three members come and go while records flow.
func testChurn(t *testing.T, b *bench) {
	topic := b.topic("t", 4, nil)
	l := newLedger()
	o := stream.GroupOptions{Group: b.name, Topics: []string{topic}}
	watching, stopWatching := context.WithCancel(b.ctx)
	rewinds := make(chan int, 1)
	go func() { rewinds <- watchCommits(watching, b, topic, 4) }()
	produced := make(chan error, 1)
	go func() {
		w := stream.NewWriter(b.client, stream.WriterOptions{})
		for i := 0; i < churnRecords; i += 100 {
			var messages []stream.Message
			for j := range 100 {
				messages = append(messages, stream.Message{Topic: topic, Key: fmt.Append(nil, (i+j)%97), Value: fmt.Append(nil, i+j)})
			}
			if _, err := w.Append(b.ctx, messages...); err != nil {
				produced <- err
				return
			}
			// At most 2,000 ahead, so that records flow throughout.
			if !l.wait(b.ctx, i-2000) {
				break
			}
		}
		produced <- w.Close(b.ctx)
	}()
	one := b.member(o, l.work)
	var two, three func()
	steps := []struct {
		at int
		do func()
	}{
		{2_000, func() { two = b.member(o, l.work) }},
		{5_000, func() { three = b.member(o, l.work) }},
		{8_000, func() { one() }},
		{11_000, func() { one = b.member(o, l.work) }},
		{14_000, func() { two() }},
		{17_000, func() { three() }},
	}
	for _, step := range steps {
		if !l.wait(b.ctx, step.at) {
			t.Fatalf("%d records were not reached: %d", step.at, len(l.seen))
		}
		step.do()
	}
	if err := <-produced; err != nil {
		t.Fatal(err)
	}
	l.wait(b.ctx, churnRecords)
	one()
	stopWatching()
	duplicates := 0
	for _, n := range l.seen {
		duplicates += n - 1
	}
	if lost := churnRecords - len(l.seen); lost != 0 || duplicates != 0 || l.violations != 0 {
		t.Errorf("lost %d, duplicates %d, order violations %d", lost, duplicates, l.violations)
	}
	if n := <-rewinds; n != 0 {
		t.Errorf("committed offsets went back %d times", n)
	}
	// Everything is committed.
	end, err := b.client.OffsetBounds(b.ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	for p, bounds := range end {
		tp := stream.TopicPartition{Topic: topic, Partition: p}
		got, err := b.client.FetchOffsets(b.ctx, b.name, tp)
		if err != nil || got[tp].Offset != bounds.End {
			t.Errorf("partition %d: committed %d, want %d (%v)", p, got[tp].Offset, bounds.End, err)
		}
	}
}

// watchCommits counts how often a committed offset is seen to go back.
func watchCommits(ctx context.Context, b *bench, topic string, partitions int32) (rewinds int) {
	var all []stream.TopicPartition
	for p := range partitions {
		all = append(all, stream.TopicPartition{Topic: topic, Partition: p})
	}
	last := map[stream.TopicPartition]int64{}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return rewinds
		case <-tick.C:
		}
		got, err := b.client.FetchOffsets(ctx, b.name, all...)
		if err != nil {
			continue
		}
		for tp, commit := range got {
			if commit.Offset < last[tp] {
				rewinds++
			}
			last[tp] = commit.Offset
		}
	}
}

func testWorkerFails(t *testing.T, b *bench) {
	topic := b.topic("t", 1, nil)
	w := b.writer(stream.WriterOptions{})
	for i := range 100 {
		b.append(w, stream.Message{Topic: topic, Value: fmt.Append(nil, i)})
	}
	l := newLedger()
	failed := false
	stop := b.member(stream.GroupOptions{Group: b.name, Topics: []string{topic}}, func(ctx context.Context, part *stream.Assigned) error {
		if failed {
			return l.work(ctx, part)
		}
		for {
			batch, err := part.Next(ctx)
			if err != nil {
				return err
			}
			for i := range batch.Records {
				r := &batch.Records[i]
				if r.Offset == 40 {
					failed = true
					return errors.New("this is the test's")
				}
				l.note(r)
				part.Done(r.Offset)
			}
			batch.Release()
		}
	})
	if !l.wait(b.ctx, 100) {
		t.Fatal("not all records were read")
	}
	stop()
	for v, n := range l.seen {
		if n != 1 {
			t.Errorf("record %s was read %d times", v, n)
		}
	}
}

func testManualOffsets(t *testing.T, b *bench) {
	topic := b.topic("t", 2, nil)
	w := b.writer(stream.WriterOptions{})
	for i := range 100 {
		b.append(w, stream.Message{Topic: topic, To: stream.At(int32(i % 2)), Value: fmt.Append(nil, i)})
	}
	l := newLedger()
	stop := b.member(stream.GroupOptions{Group: b.name, Topics: []string{topic}, ManualOffsets: true}, func(ctx context.Context, part *stream.Assigned) error {
		part.StartAt(40)
		return l.work(ctx, part)
	})
	if !l.wait(b.ctx, 20) {
		t.Fatal("not all records were read")
	}
	stop()
	if len(l.seen) != 20 {
		t.Errorf("%d records were read, want the last ten of each partition", len(l.seen))
	}
	got, err := b.client.FetchOffsets(b.ctx, b.name, stream.TopicPartition{Topic: topic}, stream.TopicPartition{Topic: topic, Partition: 1})
	if err != nil || len(got) != 0 {
		t.Errorf("committed %v, %v", got, err)
	}
}

func testRetention(t *testing.T, b *bench) {
	topic := b.topic("t", 1, nil)
	w := b.writer(stream.WriterOptions{})
	for i := range 100 {
		b.append(w, stream.Message{Topic: topic, Value: fmt.Append(nil, i)})
	}
	tp := stream.TopicPartition{Topic: topic}
	if err := b.client.CommitOffsets(b.ctx, b.name, map[stream.TopicPartition]stream.Commit{tp: {Offset: 10}}); err != nil {
		t.Fatal(err)
	}
	b.removeBefore(topic, 0, 60)
	l := newLedger()
	stop := b.member(stream.GroupOptions{Group: b.name, Topics: []string{topic}}, l.work)
	if !l.wait(b.ctx, 40) {
		t.Fatal("the records that are left were not read")
	}
	stop()
	got, err := b.client.FetchOffsets(b.ctx, b.name, tp)
	if err != nil || got[tp].Offset != 100 {
		t.Errorf("committed %v, %v", got, err)
	}
	n := 0
	if next, err := b.client.Replay(b.ctx, topic, 0, 5, -1, func(records []stream.Record) error { n += len(records); return nil }); err != nil || next != 100 || n != 40 {
		t.Errorf("the replay read %d records up to %d: %v", n, next, err)
	}
}

func testPartitionsAdded(t *testing.T, b *bench) {
	topic := b.topic("t", 1, nil)
	w := b.writer(stream.WriterOptions{})
	l := newLedger()
	stop := b.member(stream.GroupOptions{Group: b.name, Topics: []string{topic}}, l.work)
	b.append(w, stream.Message{Topic: topic, Value: []byte("first")})
	if !l.wait(b.ctx, 1) {
		t.Fatal("the first record was not read")
	}
	if err := b.client.AddPartitions(b.ctx, topic, 3); err != nil {
		t.Fatal(err)
	}
	for n := int32(0); n != 3; {
		if err := b.client.WaitForTopics(b.ctx, topic); err != nil {
			t.Fatal(err)
		}
		var err error
		if n, err = b.client.Partitions(b.ctx, topic); err != nil {
			t.Fatal(err)
		}
	}
	b.append(w, stream.Message{Topic: topic, To: stream.At(2), Value: []byte("second")})
	if !l.wait(b.ctx, 2) {
		t.Fatal("the record of the new partition was not read")
	}
	stop()
}
