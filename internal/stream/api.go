package stream

// The package's working parts, as they will stand in their own files. This file goes as they
// come.

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/internal/env"
)

var errNotBuilt = errors.New("stream: not built yet")

// ---- client.go ----

// Config says how to reach Kafka.
type Config struct {
	Brokers []string
	// … TLS and SASL
}

// Declare declares the HEED_KAFKA_ variables.
func (c *Config) Declare(v *env.Vars) {
	v.List(&c.Brokers, "HEED_KAFKA_BROKERS", "localhost:9092", "Kafka brokers to start from, host:port, separated by commas.")
}

// Client is one program's connection to a Kafka cluster, shared by its writers and readers.
type Client struct{}

// Options are what a Client needs beside its Config. Zero values are usable.
type Options struct {
	ClientID string
	Log      *slog.Logger
	Meter    metric.Meter
}

// Open makes a client. It does not wait for Kafka: Reachable tells.
func Open(cfg Config, o Options) (*Client, error) { return nil, errNotBuilt }

// Close closes all connections.
func (c *Client) Close() {}

// Reachable returns nil when a broker has answered within the last 10 s or answers now.
// It never blocks longer than ctx; readiness checks call it.
func (c *Client) Reachable(ctx context.Context) error { return errNotBuilt }

// WaitForTopics returns when every topic exists with a leader for each partition, or ctx ends;
// the error names the missing ones and how to create them.
func (c *Client) WaitForTopics(ctx context.Context, topics ...string) error { return errNotBuilt }

// Partitions is the number of partitions of a topic (from metadata at most a few seconds old).
func (c *Client) Partitions(ctx context.Context, topic string) (int32, error) { return 0, errNotBuilt }

// PartitionOf is the partition that a key belongs to: murmur2, as the Java client does it.
func PartitionOf(key []byte, partitions int32) int32 { return 0 }

// ---- writer.go ----

// WriterOptions bound a Writer. Zero values take the defaults.
type WriterOptions struct {
	Compression string // "zstd" (default), "lz4", "none"
	MaxBytes    int64  // bytes waiting or in flight, default 64 MiB
	MaxRecords  int    // records waiting or in flight, default 100,000
}

// The decisions that an append's failure carries; test with errors.Is.
var (
	ErrFull     = errors.New("the writer is full")                        // nothing was written; try later
	ErrTooLarge = errors.New("the record is larger than the topic takes") // never try again
	ErrUnknown  = errors.New("no acknowledgement in time")                // may or may not be written
	ErrClosed   = errors.New("the writer is closed")                      // nothing was written
)

// Writer appends messages with acks=all by group commit: per broker one request is in flight,
// and what arrives meanwhile is the next batch.
type Writer struct{}

// NewWriter makes a writer for any topic of the client's cluster.
func NewWriter(c *Client, o WriterOptions) *Writer { return &Writer{} }

// Append appends the messages and waits until every one is acknowledged or ctx ends. Messages
// of one partition stand in their order. Positions are in the order of messages; when the error
// is not nil some messages may stand all the same.
func (w *Writer) Append(ctx context.Context, messages ...Message) ([]Position, error) {
	return nil, errNotBuilt
}

// Enqueue hands one message over without waiting and later calls done exactly once, from the
// writer's goroutine (done must not block). It returns ErrFull, ErrTooLarge or ErrClosed at
// once, and then never calls done. ctx is the deadline of the append: when it ends first, done
// gets ErrUnknown, while the writer may still write the message.
func (w *Writer) Enqueue(ctx context.Context, m Message, done func(Position, error)) error {
	return errNotBuilt
}

// Close waits until everything accepted is acknowledged, or ctx ends.
func (w *Writer) Close(ctx context.Context) error { return nil }

// ---- group.go ----

// GroupOptions say how to consume. Zero values take the defaults.
type GroupOptions struct {
	Group  string
	Topics []string
	// MaxBytes bounds the bytes of one partition's fetch (default 1 MiB); a partition holds at
	// most two fetches, so memory is at most partitions × 2 × MaxBytes.
	MaxBytes int
	// Window bounds records that are handed out but not done, per partition (default 65,536).
	Window int
	// DrainTimeout bounds how long workers may finish after a partition is taken away or the
	// program stops (default 10 s; below the group's rebalance timeout).
	DrainTimeout time.Duration
	// ManualOffsets: the group only decides who owns which partition; it commits nothing, and a
	// worker says itself where to start (Assigned.StartAt before the first Next).
	ManualOffsets bool
}

// Worker owns one partition for as long as it runs. It reads with part.Next until that returns
// ErrRevoked, then finishes what it holds, declares it done and returns nil. ctx ends when the
// drain's time is over. An error ends the generation and is retried with back-off and a log line.
type Worker func(ctx context.Context, part *Assigned) error

// ErrRevoked says that the partition is being taken away: no more records come.
var ErrRevoked = errors.New("the partition was taken away")

// Consume joins the group and runs one worker per assigned partition until ctx ends; then it
// drains, commits, leaves the group and returns nil. It goes on through every failure of Kafka.
func Consume(ctx context.Context, c *Client, o GroupOptions, work Worker) error { return errNotBuilt }

// Assigned is a partition while its worker owns it.
type Assigned struct {
	Topic     string
	Partition int32
}

// Batch is what one fetch brought of one partition. Its records are views on a buffer that
// stays untouched until Release, so a worker may hold several batches.
type Batch struct {
	Records []Record
}

// Release gives the batch's buffer back; the records must not be used any more.
func (b *Batch) Release() {}

// Next waits for the next records: ErrRevoked when there will be none, ctx's error when ctx ends.
func (a *Assigned) Next(ctx context.Context) (*Batch, error) { return nil, errNotBuilt }

// Revoked is closed when the partition is being taken away.
func (a *Assigned) Revoked() <-chan struct{} { return nil }

// Done declares the record at offset done. Records may be done in any order: the commit stands
// at the first that is not. Safe for several goroutines.
func (a *Assigned) Done(offset int64) {}

// DoneUntil declares every record before offset done.
func (a *Assigned) DoneUntil(offset int64) {}

// Committed is the offset from which the partition would be read after a crash.
func (a *Assigned) Committed() int64 { return 0 }

// StartAt makes the next Next read from offset (FirstOffset and LastOffset are understood).
func (a *Assigned) StartAt(offset int64) {}

// Relative offsets.
const (
	FirstOffset int64 = -2
	LastOffset  int64 = -1
)

// Lag is the number of records, and the age of the oldest of them, that are not yet done.
func (a *Assigned) Lag() (records int64, age time.Duration) { return 0, 0 }

// ---- replay.go ----

// Replay reads a partition from offset from (or FirstOffset) up to its end at the time of the
// call, or to offset to where to >= 0, and hands over batches; visit's error ends it. It
// understands compacted topics. It returns the offset after the last record seen, which is the
// end also when compaction has removed the last records.
func (c *Client) Replay(ctx context.Context, topic string, partition int32, from, to int64, visit func([]Record) error) (int64, error) {
	return 0, errNotBuilt
}

// Cursor reads one partition without a group, for readers that catch up by themselves.
type Cursor struct{}

// OpenCursor opens a cursor at offset.
func (c *Client) OpenCursor(topic string, partition int32, offset int64) *Cursor { return nil }

// Next waits for the next records, at most wait; an empty batch means none came in that time.
func (r *Cursor) Next(ctx context.Context, wait time.Duration) (*Batch, error) {
	return nil, errNotBuilt
}

// Close ends the cursor.
func (r *Cursor) Close() {}

// ---- offsets.go ----

// Commit is an offset of a memberless group with its metadata (at most 4,096 bytes, else it is
// refused by the broker and by us).
type Commit struct {
	Offset   int64
	Metadata string
}

// CommitOffsets commits offsets to a group that has no members.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets map[TopicPartition]Commit) error {
	return errNotBuilt
}

// FetchOffsets reads a group's committed offsets; a partition without one is absent.
func (c *Client) FetchOffsets(ctx context.Context, group string, partitions ...TopicPartition) (map[TopicPartition]Commit, error) {
	return nil, errNotBuilt
}

// Bounds are the first offset of a partition and the offset after its last record.
type Bounds struct{ First, End int64 }

// OffsetBounds reads the bounds of every partition of a topic.
func (c *Client) OffsetBounds(ctx context.Context, topic string) (map[int32]Bounds, error) {
	return nil, errNotBuilt
}

// OffsetsAt reads, for every partition of a topic, the first offset whose record is not older
// than t; the end where there is none.
func (c *Client) OffsetsAt(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	return nil, errNotBuilt
}

// ---- topics.go ----

// TopicSpec says how a topic should be.
type TopicSpec struct {
	Name        string
	Partitions  int
	Replication int
	Config      map[string]string
}

// CreateTopics creates the topics that do not exist.
func (c *Client) CreateTopics(ctx context.Context, topics ...TopicSpec) error { return errNotBuilt }

// DescribeTopics reads how topics are; one that does not exist is absent.
func (c *Client) DescribeTopics(ctx context.Context, names ...string) (map[string]TopicSpec, error) {
	return nil, errNotBuilt
}

// AlterTopicConfig sets configuration entries of a topic; AddPartitions grows it.
func (c *Client) AlterTopicConfig(ctx context.Context, topic string, config map[string]string) error {
	return errNotBuilt
}

// AddPartitions grows a topic to total partitions.
func (c *Client) AddPartitions(ctx context.Context, topic string, total int) error {
	return errNotBuilt
}
