package dispatcher

import (
	"context"
	"errors"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// tierPart is a partition of a retry tier while this process owns it. All of a tier's records
// wait equally long, so the head is always due first, and nobody sleeps on a later one.
type tierPart struct {
	lane // closes and counts attempts in flight as a lane does
	part *stream.Assigned
	d    *dispatcher
	tier schemas.RetryTier
}

func (t *tierPart) finish(offset int64) { t.part.Done(offset) }
func (t *tierPart) count(int64, int)    {} // the attempts stand on the record of the next tier

// shed sends the event through its tier once more, which counts no attempt.
func (t *tierPart) shed(one *delivery) {
	t.d.tasks.Go(func() {
		if !t.begin() {
			return // its next owner reads it again
		}
		defer t.end()
		if err := t.d.append(t.d.hard, retryMessage(one, t.tier.Topic)); err == nil {
			t.finish(one.offset)
		}
	})
}

// retry is the worker of a retry tier's partition.
func (d *dispatcher) retry(drain context.Context, part *stream.Assigned) error {
	t := &tierPart{part: part, d: d}
	t.quiet = make(chan struct{})
	for _, tier := range schemas.RetryTiers() {
		if tier.Topic == part.Topic {
			t.tier = tier
		}
	}
	ctx, cancel := context.WithCancel(drain)
	defer cancel()
	serving := contextOf(ctx, part.Revoked())
	for {
		batch, err := part.Next(ctx)
		if err != nil {
			break
		}
		for i := range batch.Records {
			r := &batch.Records[i]
			if !until(serving, r.Time.Add(t.tier.Delay)) {
				break
			}
			if err := t.handle(serving, r); err != nil {
				break // the partition is going; the record is not done
			}
		}
		batch.Release()
		if serving.Err() != nil {
			break
		}
	}
	t.close()
	for _, s := range d.current().subs {
		s.forget(t)
	}
	select {
	case <-t.quiet:
	case <-drain.Done():
	}
	return nil
}

// until waits for a moment; false when ctx ended first.
func until(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// handle gives a due record to its subscriber. One that takes nothing now leaves it in the tier
// for another round, which counts no attempt; one that is gone, a dead letter.
func (t *tierPart) handle(ctx context.Context, r *stream.Record) error {
	id, delivery, err := parseRetry(r)
	if err != nil {
		if err := t.d.buryRecord(ctx, r, err); err != nil {
			return err
		}
		t.part.Done(r.Offset)
		return nil
	}
	delivery.from, delivery.subscription = t, id
	s := t.d.current().byID(id)
	if s == nil {
		if err := t.d.bury(ctx, delivery, schemas.DeadRemoved); err != nil {
			return err
		}
		t.part.Done(r.Offset)
		return nil
	}
	if state, _ := s.state(); state == "live" && s.admit(delivery) {
		return nil
	}
	if err := t.d.park(ctx, delivery, t.tier); err != nil {
		return err
	}
	t.part.Done(r.Offset)
	return nil
}

// errStopping says that what was to be written was not, because the partition or the program ends.
var errStopping = errors.New("stopping")
