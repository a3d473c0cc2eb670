package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Commit is an offset of a memberless group with its metadata (at most 4,096 bytes, else it is
// refused by the broker and by us).
type Commit struct {
	Offset   int64
	Metadata string
}

// MaxMetadata is the broker's limit of a commit's metadata (offset.metadata.max.bytes).
const MaxMetadata = 4096

// CommitOffsets commits offsets to a group that has no members. Kafka forgets them
// offsets.retention.minutes (7 d) after the last commit: idle ones want repeating daily.
func (c *Client) CommitOffsets(ctx context.Context, group string, offsets map[TopicPartition]Commit) error {
	if len(offsets) == 0 {
		return nil
	}
	req := &kafka.OffsetCommitRequest{Addr: c.bootstrap, GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{}}
	for tp, commit := range offsets {
		if len(commit.Metadata) > MaxMetadata {
			return fmt.Errorf("committing %s/%d to group %s: %d bytes of metadata, at most %d are kept", tp.Topic, tp.Partition, group, len(commit.Metadata), MaxMetadata)
		}
		req.Topics[tp.Topic] = append(req.Topics[tp.Topic], kafka.OffsetCommit{Partition: int(tp.Partition), Offset: commit.Offset, Metadata: commit.Metadata})
	}
	return c.withCoordinator(ctx, "committing to group "+group, func(ctx context.Context) error {
		res, err := c.admin.OffsetCommit(ctx, req)
		if err != nil {
			return err
		}
		for topic, partitions := range res.Topics {
			for _, p := range partitions {
				if p.Error != nil {
					return fmt.Errorf("%s/%d: %w", topic, p.Partition, p.Error)
				}
			}
		}
		return nil
	})
}

// FetchOffsets reads a group's committed offsets; a partition without one is absent.
func (c *Client) FetchOffsets(ctx context.Context, group string, partitions ...TopicPartition) (map[TopicPartition]Commit, error) {
	req := &kafka.OffsetFetchRequest{Addr: c.bootstrap, GroupID: group, Topics: map[string][]int{}}
	for _, tp := range partitions {
		req.Topics[tp.Topic] = append(req.Topics[tp.Topic], int(tp.Partition))
	}
	offsets := map[TopicPartition]Commit{}
	if len(partitions) == 0 {
		return offsets, nil
	}
	err := c.withCoordinator(ctx, "reading the offsets of group "+group, func(ctx context.Context) error {
		res, err := c.admin.OffsetFetch(ctx, req)
		if err != nil {
			return err
		}
		if errors.Is(res.Error, kafka.GroupIdNotFound) {
			return nil // kfake's word for a group that has committed nothing
		}
		if res.Error != nil {
			return res.Error
		}
		for topic, partitions := range res.Topics {
			for _, p := range partitions {
				if p.Error != nil {
					return fmt.Errorf("%s/%d: %w", topic, p.Partition, p.Error)
				}
				if p.CommittedOffset >= 0 {
					offsets[TopicPartition{topic, int32(p.Partition)}] = Commit{p.CommittedOffset, p.Metadata}
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return offsets, nil
}

// withCoordinator tries until ctx ends (adminTimeout if it has no end), quietly: a coordinator
// that moves or loads is the usual case after a start.
func (c *Client) withCoordinator(ctx context.Context, doing string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	pause := backoff{floor: 20 * time.Millisecond, ceiling: 500 * time.Millisecond}
	for {
		one, done := context.WithTimeout(ctx, tryTimeout)
		err := try(one)
		done()
		if err == nil {
			c.answered.Store(now().UnixNano())
			return nil
		}
		var code kafka.Error
		if errors.As(err, &code) && !code.Temporary() {
			switch code {
			case kafka.NotCoordinatorForGroup, kafka.GroupCoordinatorNotAvailable, kafka.GroupLoadInProgress, kafka.BrokerNotAvailable:
			default:
				return fmt.Errorf("%s: %w", doing, err)
			}
		}
		if errors.Is(err, kafka.BrokerNotAvailable) {
			c.transport.CloseIdleConnections()
		}
		if !pause.wait(ctx) {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
}

// Bounds are the first offset of a partition and the offset after its last record.
type Bounds struct{ First, End int64 }

// OffsetBounds reads the bounds of every partition of a topic.
func (c *Client) OffsetBounds(ctx context.Context, topic string) (map[int32]Bounds, error) {
	first, err := c.everyOffset(ctx, topic, FirstOffset)
	if err != nil {
		return nil, err
	}
	end, err := c.everyOffset(ctx, topic, LastOffset)
	if err != nil {
		return nil, err
	}
	bounds := make(map[int32]Bounds, len(end))
	for p := range end {
		bounds[p] = Bounds{first[p], end[p]}
	}
	return bounds, nil
}

// OffsetsAt reads, for every partition of a topic, the first offset whose record is not older
// than t; the end where there is none.
func (c *Client) OffsetsAt(ctx context.Context, topic string, t time.Time) (map[int32]int64, error) {
	// The end first: a record that comes meanwhile is after it, and not missed.
	end, err := c.everyOffset(ctx, topic, LastOffset)
	if err != nil {
		return nil, err
	}
	offsets, err := c.everyOffset(ctx, topic, max(t.UnixMilli(), 0))
	if err != nil {
		return nil, err
	}
	for p, offset := range offsets {
		if offset < 0 {
			offsets[p] = end[p]
		}
	}
	return offsets, nil
}

func (c *Client) everyOffset(ctx context.Context, topic string, at int64) (map[int32]int64, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	partitions := make([]int32, n)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	offsets, err := c.offsetsAt(ctx, topic, partitions, at)
	if err != nil {
		return nil, fmt.Errorf("offsets of topic %s: %w", topic, err)
	}
	return offsets, nil
}
