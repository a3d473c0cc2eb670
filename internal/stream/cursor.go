package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Cursor reads one partition without a group, for readers that catch up by themselves. It is
// for one goroutine.
type Cursor struct {
	client *Client
	feed   *feed
}

// OpenCursor opens a cursor at offset.
func (c *Client) OpenCursor(topic string, partition int32, offset int64) *Cursor {
	x := newFeed(topic, partition, defaultFetchBytes, offset)
	x.open = true
	c.meta.want(topic)
	return &Cursor{client: c, feed: x}
}

// Next waits for the next records, at most wait; a batch without records means that none came in
// that time. An error of Kafka is returned after it has lasted for wait; the cursor can be used
// again.
func (r *Cursor) Next(ctx context.Context, wait time.Duration) (*Batch, error) {
	deadline := now().Add(wait)
	pause := backoff{floor: 10 * time.Millisecond, ceiling: 500 * time.Millisecond}
	for {
		b, err := r.feed.take()
		if err != nil {
			r.client.metrics.corrupt.Add(ctx, 1, onTopic(r.feed.topic))
		}
		if b != nil {
			if len(b.Records) > 0 {
				return b, nil
			}
			b.Release()
			continue
		}
		if err == nil {
			if err = r.fetch(ctx, deadline); err == nil {
				if r.queued() {
					continue
				}
				if ctx.Err() == nil && !now().Before(deadline) {
					return new(Batch), nil
				}
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			continue
		}
		if !now().Before(deadline) {
			return nil, fmt.Errorf("reading %s/%d: %w", r.feed.topic, r.feed.partition, err)
		}
		if !pause.wait(ctx) {
			return nil, ctx.Err()
		}
	}
}

func (r *Cursor) queued() bool {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	return len(r.feed.chunks) > 0
}

// Position is the offset of the next record.
func (r *Cursor) Position() int64 {
	read, _, _ := r.feed.position()
	return read
}

// End is the offset after the partition's last record as of the last fetch, -1 before the first.
func (r *Cursor) End() int64 {
	_, end, _ := r.feed.position()
	return end
}

// fetch asks the leader once.
func (r *Cursor) fetch(ctx context.Context, deadline time.Time) error {
	want, epoch, room := r.feed.room()
	if !room || r.queued() {
		return errHeld
	}
	if want.from < 0 {
		offset, err := r.client.offsetAt(ctx, want.topic, want.partition, want.from)
		if err != nil {
			return err
		}
		r.feed.resolved(offset, epoch)
		want.from = offset
	}
	t, err := r.client.topic(ctx, want.topic)
	if err != nil {
		return err
	}
	leader := noLeader
	if int(want.partition) < len(t.leaders) {
		leader = t.leaders[want.partition]
	}
	if leader == noLeader {
		_ = r.client.refresh(ctx)
		return kafka.LeaderNotAvailable
	}
	wait := min(max(deadline.Sub(now()), 0), fetchWait)
	try, cancel := context.WithTimeout(ctx, wait+fetchTimeout)
	defer cancel()
	answers, err := r.client.fetch(try, leader, []wantedRange{want}, wait)
	if err != nil {
		_ = r.client.refresh(ctx)
		return err
	}
	a := &answers[0]
	switch err := kafka.Error(a.code); err {
	case 0:
		return r.feed.put(a, epoch)
	case kafka.OffsetOutOfRange:
		first, err := r.client.offsetAt(ctx, want.topic, want.partition, FirstOffset)
		if err != nil {
			return err
		}
		r.client.metrics.lost.Add(ctx, max(first-want.from, 1), onTopic(want.topic))
		r.client.log.Error("records were removed before they were read; going on at the first there is",
			"topic", want.topic, "partition", want.partition, "wanted", want.from, "first", first)
		r.feed.seek(first)
		return nil
	default:
		if a.raw != nil {
			giveBuffer(a.raw)
		}
		_ = r.client.refresh(ctx)
		return err
	}
}

// Close ends the cursor.
func (r *Cursor) Close() { r.feed.close() }

// Replay reads a partition from offset from (or FirstOffset) up to its end at the time of the
// call, or to offset to where to >= 0, and hands over batches; visit's error ends it. It
// understands compacted topics. It returns the offset after the last record seen, which is the
// end also when compaction has removed the last records. It goes on through failures of Kafka
// until ctx ends.
func (c *Client) Replay(ctx context.Context, topic string, partition int32, from, to int64, visit func([]Record) error) (int64, error) {
	end := to
	if end < 0 {
		var err error
		if end, err = c.offsetAt(ctx, topic, partition, LastOffset); err != nil {
			return from, fmt.Errorf("replaying %s/%d: %w", topic, partition, err)
		}
	}
	if from < 0 {
		var err error
		if from, err = c.offsetAt(ctx, topic, partition, from); err != nil {
			return from, fmt.Errorf("replaying %s/%d: %w", topic, partition, err)
		}
	}
	r := c.OpenCursor(topic, partition, from)
	defer r.Close()
	for r.Position() < end {
		b, err := r.Next(ctx, fetchWait)
		if err != nil {
			if ctx.Err() != nil {
				return r.Position(), ctx.Err()
			}
			c.log.Warn("replaying; trying again", "topic", topic, "partition", partition, "error", err)
			continue
		}
		if len(b.Records) == 0 {
			if r.End() >= 0 && r.End() < end {
				return r.Position(), fmt.Errorf("replaying %s/%d: %w", topic, partition, errEndsEarlier)
			}
			continue
		}
		records := b.Records
		for len(records) > 0 && records[len(records)-1].Offset >= end {
			records = records[:len(records)-1]
		}
		if len(records) > 0 {
			err = visit(records)
		}
		b.Release()
		if err != nil {
			return r.Position(), err
		}
	}
	return end, nil
}

var errHeld = errors.New("the reader holds as much as it may, and has not released it")

var errEndsEarlier = errors.New("the partition ends before the offset to replay to")
