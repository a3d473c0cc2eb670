package streamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/heedhq/heed/internal/stream"
)

// Suite is what every cluster must pass: kfake in this module's tests, Apache Kafka in the test
// module's. brokers may be shared with other tests: the suite makes topics and groups of its
// own. For compaction within seconds the cluster needs log.cleaner.backoff.ms of some 500.
func Suite(t *testing.T, brokers []string) {
	for _, one := range []struct {
		name string
		test func(*testing.T, *bench)
	}{
		{"WhatIsWrittenIsRead", testReadBack},
		{"OthersReadIt", testOthersRead},
		{"OthersWriteIt", testOthersWrite},
		{"OneTooLargeSparesItsNeighbours", testTooLarge},
		{"ARefusedRecordSparesItsNeighbours", testRefused},
		{"Offsets", testOffsets},
		{"OffsetsWithoutMembers", testMemberless},
		{"Topics", testTopics},
		{"CompactedAndZstd", testCompacted},
		{"AWorkerThatFails", testWorkerFails},
		{"ManualOffsets", testManualOffsets},
		{"RemovedByRetention", testRetention},
		{"PartitionsAreAdded", testPartitionsAdded},
		{"Churn", testChurn},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.test(t, &bench{
				T: t, brokers: brokers, client: Open(t, brokers), ctx: Context(t, 100*time.Second),
				name: strings.ToLower(one.name) + fmt.Sprintf("-%08x", rand.Uint32()),
			})
		})
	}
}

// bench is what one test of the suite works with.
type bench struct {
	*testing.T
	brokers []string
	client  *stream.Client
	ctx     context.Context
	name    string
}

// topic creates a topic of the test's own.
func (b *bench) topic(name string, partitions int, config map[string]string) string {
	b.Helper()
	name = b.name + "-" + name
	if err := b.client.CreateTopics(b.ctx, stream.TopicSpec{Name: name, Partitions: partitions, Config: config}); err != nil {
		b.Fatal(err)
	}
	if err := b.client.WaitForTopics(b.ctx, name); err != nil {
		b.Fatal(err)
	}
	return name
}

func (b *bench) writer(o stream.WriterOptions) *stream.Writer {
	w := stream.NewWriter(b.client, o)
	b.Cleanup(func() {
		if err := w.Close(Context(b.T, 10*time.Second)); err != nil {
			b.Error(err)
		}
	})
	return w
}

func (b *bench) append(w *stream.Writer, messages ...stream.Message) []stream.Position {
	b.Helper()
	positions, err := w.Append(b.ctx, messages...)
	if err != nil {
		b.Fatal(err)
	}
	return positions
}

// others opens franz-go's client, as a second opinion.
func (b *bench) others(o ...kgo.Opt) *kgo.Client {
	b.Helper()
	c, err := kgo.NewClient(append(o, kgo.SeedBrokers(b.brokers...))...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// oddMessages are messages whose every part is at an edge.
func oddMessages(topic string) []stream.Message {
	at := time.UnixMilli(1_700_000_000_123)
	return []stream.Message{
		{Topic: topic, To: stream.At(0), Time: at},
		{Topic: topic, To: stream.At(0), Time: at, Key: []byte{}, Value: []byte{}},
		{Topic: topic, To: stream.At(0), Time: at.Add(-time.Hour), Key: []byte("k"), Value: nil, Headers: []stream.Header{{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}, {Key: "", Value: []byte{0, 255}}}},
		{Topic: topic, To: stream.At(0), Time: at.Add(time.Hour), Key: bytes.Repeat([]byte("k"), 300), Value: bytes.Repeat([]byte("value"), 50_000)},
		{Topic: topic, To: stream.At(0), Time: at, Value: []byte("x"), Headers: slices.Repeat([]stream.Header{{Key: "ce_id", Value: []byte("1")}}, 200)},
	}
}

// shown is a record or message without its place, for comparison.
type shown struct {
	Time       int64
	Key, Value []byte
	Headers    []stream.Header
}

func show(r *stream.Record) shown {
	return shown{r.Time.UnixMilli(), r.Key, r.Value, slices.Clip(append([]stream.Header{}, r.Headers...))}
}

func wantOf(m *stream.Message) shown {
	return shown{m.Time.UnixMilli(), m.Key, m.Value, slices.Clip(append([]stream.Header{}, m.Headers...))}
}

func testReadBack(t *testing.T, b *bench) {
	for _, compression := range []string{"none", "lz4", "zstd"} {
		topic := b.topic(compression, 1, map[string]string{"retention.ms": "-1"}) // the messages are years old
		w := b.writer(stream.WriterOptions{Compression: compression})
		messages := oddMessages(topic)
		positions := b.append(w, messages...)
		got := Read(t, b.client, topic)
		if len(got) != len(messages) {
			t.Fatalf("%s: read %d records, want %d", compression, len(got), len(messages))
		}
		for i := range got {
			if diff := cmp.Diff(wantOf(&messages[i]), show(&got[i])); diff != "" {
				t.Errorf("%s: record %d (-want +got):\n%s", compression, i, diff)
			}
			if got[i].Offset != positions[i].Offset || got[i].Partition != positions[i].Partition {
				t.Errorf("%s: record %d is at %d/%d, want %v", compression, i, got[i].Partition, got[i].Offset, positions[i])
			}
		}
	}
}

func testOthersRead(t *testing.T, b *bench) {
	topic := b.topic("t", 3, nil)
	w := b.writer(stream.WriterOptions{})
	var want []string
	var messages []stream.Message
	for i := range 500 {
		messages = append(messages, stream.Message{Topic: topic, Key: fmt.Append(nil, "key", i), Value: fmt.Append(nil, i), Headers: []stream.Header{{Key: "n", Value: fmt.Append(nil, i)}}})
		want = append(want, fmt.Sprintf("key%d=%d n=%d", i, i, i))
	}
	b.append(w, messages...)
	other := b.others(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < len(want) {
		fetches := other.PollFetches(b.ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got = append(got, fmt.Sprintf("%s=%s n=%s", r.Key, r.Value, r.Headers[0].Value))
			if p := stream.PartitionOf(r.Key, 3); p != r.Partition {
				t.Errorf("key %s is in partition %d, not %d", r.Key, r.Partition, p)
			}
		})
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func testOthersWrite(t *testing.T, b *bench) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		topic := b.topic(name, 3, nil)
		other := b.others(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5*time.Millisecond))
		where := map[string]int32{}
		var records []*kgo.Record
		for i := range 1000 {
			records = append(records, &kgo.Record{Topic: topic, Key: fmt.Append(nil, "key", i), Value: bytes.Repeat([]byte("v"), i)})
		}
		if err := other.ProduceSync(b.ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			where[string(r.Key)] = r.Partition
		}
		got := Read(t, b.client, topic)
		if len(got) != len(records) {
			t.Fatalf("%s: read %d records, want %d", name, len(got), len(records))
		}
		for _, r := range got {
			// Where franz-go puts a key is where Java puts it: ours must agree.
			if p := stream.PartitionOf(r.Key, 3); r.Partition != p || where[string(r.Key)] != p {
				t.Errorf("%s: key %s is in partition %d, by us %d", name, r.Key, r.Partition, p)
			}
			if want := bytes.Repeat([]byte("v"), len(r.Value)); !bytes.Equal(r.Value, want) || string(r.Key) != fmt.Sprint("key", len(r.Value)) {
				t.Errorf("%s: record %s is damaged", name, r.Key)
			}
		}
	}
}

const maxMessageBytes = 100_000

func testTooLarge(t *testing.T, b *bench) {
	topic := b.topic("t", 1, map[string]string{"max.message.bytes": fmt.Sprint(maxMessageBytes)})
	w := b.writer(stream.WriterOptions{Compression: "none"})
	random := make([]byte, maxMessageBytes)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	// 61 bytes of batch header; length 3, attributes 1, time 1, offset 1, key 1, value's length 3,
	// headers 1.
	exactly := maxMessageBytes - 61 - 11
	sizes := []int{10, exactly, 20, exactly + 1, 30, exactly + 1, exactly, 40}
	var mu sync.Mutex
	answers := map[int]error{}
	done := make(chan struct{}, len(sizes))
	for i, size := range sizes {
		m := stream.Message{Topic: topic, Value: random[:size]}
		if err := w.Enqueue(b.ctx, m, func(_ stream.Position, err error) {
			mu.Lock()
			defer mu.Unlock()
			answers[i] = err
			done <- struct{}{}
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range sizes {
		<-done
	}
	var got []int
	for _, r := range Read(t, b.client, topic) {
		got = append(got, len(r.Value))
	}
	if want := []int{10, exactly, 20, 30, exactly, 40}; !slices.Equal(got, want) {
		t.Errorf("stored sizes %v, want %v", got, want)
	}
	for i, size := range sizes {
		if size > exactly != errors.Is(answers[i], stream.ErrTooLarge) || (size <= exactly && answers[i] != nil) {
			t.Errorf("record of %d bytes: %v", size, answers[i])
		}
	}
	// What does not fit into the broker's limit all the same fits compressed.
	packed := b.writer(stream.WriterOptions{Compression: "zstd"})
	b.append(packed, stream.Message{Topic: topic, Value: bytes.Repeat([]byte("easy"), maxMessageBytes)})
}

func testRefused(t *testing.T, b *bench) {
	// A compacted topic takes no record without a key.
	topic := b.topic("t", 1, map[string]string{"cleanup.policy": "compact"})
	w := b.writer(stream.WriterOptions{})
	done := make(chan error, 20)
	for i := range 20 {
		m := stream.Message{Topic: topic, To: stream.At(0), Key: fmt.Append(nil, i), Value: []byte("v")}
		if i%7 == 3 {
			m.Key = nil
		}
		if err := w.Enqueue(b.ctx, m, func(_ stream.Position, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for range 20 {
		if err := <-done; errors.Is(err, stream.ErrRefused) {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	stored := len(Read(t, b.client, topic))
	if refused+stored != 20 || (refused != 3 && refused != 0) {
		t.Errorf("%d refused, %d stored of 20", refused, stored)
	}
	if err := w.Enqueue(b.ctx, stream.Message{Topic: topic, To: stream.At(1)}, func(stream.Position, error) { t.Error("called") }); !errors.Is(err, stream.ErrRefused) {
		t.Errorf("a partition that is not there: %v", err)
	}
}

func testOffsets(t *testing.T, b *bench) {
	topic := b.topic("t", 2, nil)
	w := b.writer(stream.WriterOptions{})
	start := time.UnixMilli(1_700_000_000_000)
	for i := range 10 {
		b.append(w, stream.Message{Topic: topic, To: stream.At(0), Time: start.Add(time.Duration(i) * time.Minute), Value: []byte("v")})
	}
	bounds, err := b.client.OffsetBounds(b.ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]stream.Bounds{0: {First: 0, End: 10}, 1: {}}, bounds); diff != "" {
		t.Error(diff)
	}
	for at, want := range map[time.Duration]map[int32]int64{
		-time.Hour: {0: 0, 1: 0}, 3 * time.Minute: {0: 3, 1: 0}, 3*time.Minute + 1: {0: 3, 1: 0}, 3*time.Minute + time.Millisecond: {0: 4, 1: 0}, time.Hour: {0: 10, 1: 0},
	} {
		got, err := b.client.OffsetsAt(b.ctx, topic, start.Add(at))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %s: %s", at, diff)
		}
	}
	if _, err := b.client.OffsetBounds(b.ctx, b.name+"-nowhere"); !errors.Is(err, stream.ErrNoTopic) || !strings.Contains(err.Error(), "heed topics apply") {
		t.Errorf("a topic that is not there: %v", err)
	}
}

func testMemberless(t *testing.T, b *bench) {
	topic := b.topic("t", 2, nil)
	zero, one := stream.TopicPartition{Topic: topic}, stream.TopicPartition{Topic: topic, Partition: 1}
	got, err := b.client.FetchOffsets(b.ctx, b.name, zero, one)
	if err != nil || len(got) != 0 {
		t.Fatalf("of a new group: %v, %v", got, err)
	}
	want := map[stream.TopicPartition]stream.Commit{zero: {Offset: 7, Metadata: strings.Repeat("m", stream.MaxMetadata)}}
	if err := b.client.CommitOffsets(b.ctx, b.name, want); err != nil {
		t.Fatal(err)
	}
	if got, err = b.client.FetchOffsets(b.ctx, b.name, zero, one); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	want[zero] = stream.Commit{Offset: 3} // backwards is allowed: somebody replays
	if err := b.client.CommitOffsets(b.ctx, b.name, want); err != nil {
		t.Fatal(err)
	}
	if got, err = b.client.FetchOffsets(b.ctx, b.name, zero); err != nil || got[zero] != want[zero] {
		t.Errorf("got %v, %v", got, err)
	}
	if err := b.client.CommitOffsets(b.ctx, b.name, map[stream.TopicPartition]stream.Commit{zero: {Metadata: strings.Repeat("m", stream.MaxMetadata+1)}}); err == nil {
		t.Error("too much metadata was taken")
	}
}

func testTopics(t *testing.T, b *bench) {
	spec := stream.TopicSpec{Name: b.name, Partitions: 2, Replication: 1, Config: map[string]string{"retention.ms": "3600000", "cleanup.policy": "delete"}}
	for range 2 { // the second time it is there
		if err := b.client.CreateTopics(b.ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.client.WaitForTopics(b.ctx, spec.Name); err != nil {
		t.Fatal(err)
	}
	// The controller answers before the brokers have read its log (KRaft), so what was changed is
	// seen a moment later.
	describe := func(want stream.TopicSpec) {
		t.Helper()
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		limit := time.After(20 * time.Second)
		for {
			got, err := b.client.DescribeTopics(b.ctx, b.name, b.name+"-nowhere")
			if err != nil {
				t.Fatal(err)
			}
			diff := cmp.Diff(map[string]stream.TopicSpec{b.name: want}, got)
			if diff == "" {
				return
			}
			select {
			case <-again.C:
			case <-limit:
				t.Error(diff)
				return
			}
		}
	}
	describe(spec)
	if err := b.client.AlterTopicConfig(b.ctx, b.name, map[string]string{"retention.ms": "7200000"}); err != nil {
		t.Fatal(err)
	}
	if err := b.client.AddPartitions(b.ctx, b.name, 5); err != nil {
		t.Fatal(err)
	}
	spec.Partitions, spec.Config = 5, map[string]string{"retention.ms": "7200000", "cleanup.policy": "delete"}
	describe(spec)
	short := Context(t, 300*time.Millisecond)
	if err := b.client.WaitForTopics(short, b.name, b.name+"-nowhere"); err == nil || !strings.Contains(err.Error(), b.name+"-nowhere (create them with: heed topics apply)") {
		t.Errorf("waiting for a topic that is not there: %v", err)
	}
}

func testCompacted(t *testing.T, b *bench) {
	// Without the last line, a partition's last segment would not be cleaned for a week.
	topic := b.topic("t", 1, map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.bytes": "1048576", "min.compaction.lag.ms": "0", "segment.ms": "100",
	})
	w := b.writer(stream.WriterOptions{Compression: "zstd"})
	want := map[string]string{}
	end := int64(0)
	noise := make([]byte, 600)
	write := func(round int) {
		var messages []stream.Message
		for i := range 300 {
			for j := range noise {
				noise[j] = byte('a' + rand.N(26))
			}
			key, value := fmt.Sprint("key", i%(10+round)), fmt.Sprint(round, i, string(noise))
			want[key] = value
			messages = append(messages, stream.Message{Topic: topic, Key: []byte(key), Value: []byte(value)})
		}
		for _, p := range b.append(w, messages...) {
			end = max(end, p.Offset+1)
		}
	}
	// Each round can roll the segment, so that the cleaner gets what came before.
	left := 1 << 30
	for round := 0; left > 2*len(want)+400; round++ {
		write(round)
		left = 0
		got := map[string]string{}
		last := int64(-1)
		next, err := b.client.Replay(b.ctx, topic, 0, stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				if records[i].Offset <= last {
					t.Errorf("offset %d comes after %d", records[i].Offset, last)
				}
				last = records[i].Offset
				got[string(records[i].Key)] = string(records[i].Value)
				left++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if next != end {
			t.Fatalf("the replay ended at %d, want %d", next, end)
		}
		if diff := cmp.Diff(want, maps.Clone(got)); diff != "" {
			t.Fatalf("round %d: the replay lost a key's last value", round)
		}
		if round < 3 {
			left = 1 << 30
		}
	}
	t.Logf("%d records of %d left", left, end)
}

// removeBefore removes the records of a partition before offset, as retention does.
func (b *bench) removeBefore(topic string, partition int32, offset int64) {
	b.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
	for _, shard := range b.others().RequestSharded(b.ctx, req) {
		if shard.Err != nil {
			b.Fatal(shard.Err)
		}
	}
}
