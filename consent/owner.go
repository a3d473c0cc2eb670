package consent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// publishedGroup is the memberless group that remembers, per partition of heed.consent.facts, up
// to which fact the changes are published.
const publishedGroup = "heed.consent.published"

const (
	housekeeping = time.Second // an idle owner looks after its view this often
	recommit     = time.Hour   // Kafka forgets offsets that are not committed again
	applyChunk   = 500         // facts per script call: about 2 ms of Redis
	redisPause   = 100 * time.Millisecond
)

// source is what an owner needs of stream.Assigned.
type source interface {
	Next(context.Context) (*stream.Batch, error)
	DoneUntil(offset int64)
	Revoked() <-chan struct{}
}

// log is what the stage needs of Kafka beside its assigned partitions.
type facts interface {
	Replay(ctx context.Context, topic string, partition int32, from, to int64, visit func([]stream.Record) error) (int64, error)
	OffsetBounds(ctx context.Context, topic string) (map[int32]stream.Bounds, error)
	CommitOffsets(ctx context.Context, group string, offsets map[stream.TopicPartition]stream.Commit) error
	FetchOffsets(ctx context.Context, group string, partitions ...stream.TopicPartition) (map[stream.TopicPartition]stream.Commit, error)
}

// appender is what the stage needs of stream.Writer.
type appender interface {
	Append(ctx context.Context, messages ...stream.Message) ([]stream.Position, error)
}

// fault points, in the order in which a batch passes them. Tests stop an owner at one.
type step string

const (
	stepRead      step = "read"      // a batch is read, nothing is written
	stepAppended  step = "appended"  // its facts are on the topic
	stepApplied   step = "applied"   // they are in the view
	stepPublished step = "published" // changes and side effects are on heed.consent
	stepTrimmed   step = "trimmed"   // the outbox is empty again
)

// owner looks after one partition of heed.inbound and everything that hangs on it: facts, view
// and changes. Truth first: facts are appended, then folded into the view, then changes are
// published, then the batch is done. Whatever is cut off in between is done again, and every
// step bears being done again.
type owner struct {
	partition int32
	in        source
	log       *slog.Logger
	read      *reader
	view      *view
	facts     facts
	out       appender
	metrics   *metrics
	marks     *marks
	now       func() time.Time
	faults    func(step) error

	at         int64        // offset of the facts at which the view stands
	published  int64        // offset up to which changes are published; -1: not known
	committed  atomic.Int64 // published, as committed to Kafka
	committing sync.WaitGroup
	inCommit   atomic.Bool
	commitAt   time.Time
	looked     time.Time // when the view was last asked
	mark       time.Time // the newest mark that the view has
	traces     map[int64][2]string
}

// work is the owner's life: until the partition is taken away.
func (o *owner) work(ctx context.Context) error {
	defer o.committing.Wait()
	if err := o.adopt(ctx); err != nil {
		return o.ended(ctx, err)
	}
	for {
		wait, cancel := context.WithTimeout(ctx, housekeeping)
		batch, err := o.in.Next(wait)
		cancel()
		switch {
		case errors.Is(err, stream.ErrRevoked):
			o.commitPublished(ctx, true)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			err = o.advance(ctx, nil, nil)
		case err == nil:
			err = o.batch(ctx, batch.Records)
			batch.Release()
		}
		if err != nil {
			return o.ended(ctx, err)
		}
		o.commitPublished(ctx, false)
	}
}

// ended: a partition that is being taken away leaves what isn't done to its next owner.
func (o *owner) ended(ctx context.Context, err error) error {
	select {
	case <-o.in.Revoked():
		return nil
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// patiently repeats what needs Redis until it succeeds: while Redis is away nothing is lost and
// every check is denied, so there is nothing better to do than wait.
func (o *owner) patiently(ctx context.Context, do func(context.Context) error) error {
	said := false
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := do(try)
		cancel()
		switch {
		case err == nil:
			if said {
				o.log.Info("the view answers again", "partition", o.partition)
			}
			return nil
		case healable(err) || errors.Is(err, errKafka):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !said {
			said = true
			o.log.Warn("the view does not answer; checks are denied, nothing is lost, trying on", "partition", o.partition, "error", err)
		}
		pause := time.NewTimer(redisPause)
		select {
		case <-pause.C:
		case <-o.in.Revoked():
			pause.Stop()
			return stream.ErrRevoked
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func healable(err error) bool {
	return errors.Is(err, errMissing) || errors.Is(err, errLayout) || errors.Is(err, errElsewhere) || errors.Is(err, errOtherRun)
}

// errKafka marks failures of Kafka inside what patiently repeats: the stream's own back-off
// deals with them.
var errKafka = errors.New("kafka")

// adopt makes the view of the partition whole: from where it stands, or from the beginning of
// the facts. A flush, an empty restart, an old snapshot, a failover that lost the last second,
// and a second owner are all healed here.
func (o *owner) adopt(ctx context.Context) error {
	began := o.now()
	tp := stream.TopicPartition{Topic: schemas.TopicConsentFacts, Partition: o.partition}
	for attempt := 0; ; attempt++ {
		bounds, err := o.facts.OffsetBounds(ctx, schemas.TopicConsentFacts)
		if err != nil {
			return err
		}
		offsets, err := o.facts.FetchOffsets(ctx, publishedGroup, tp)
		if err != nil {
			return err
		}
		published := o.published // this owner may know better than what it last committed
		if commit, ok := offsets[tp]; ok {
			published = max(published, commit.Offset)
		}
		edge := bounds[o.partition]
		var fresh bool
		err = o.patiently(ctx, func(ctx context.Context) (err error) {
			o.at, fresh, err = o.view.adopt(ctx, o.partition, edge.First, edge.End, published)
			return err
		})
		if err != nil {
			return err
		}
		from := o.at
		if published < 0 {
			published = from
			if fresh {
				published = edge.End
			}
		}
		o.published = max(o.published, published)
		replayed, err := o.catchUp(ctx)
		if err == nil {
			err = o.patiently(ctx, func(ctx context.Context) error { return o.view.stamp(ctx, o.partition, o.at) })
		}
		if healable(err) && attempt < 10 {
			continue // somebody else, or another flush, was in between
		}
		if err != nil {
			return err
		}
		if fresh || replayed > 0 {
			o.log.Info("the view is whole", "partition", o.partition, "fresh", fresh, "from", from, "to", o.at, "facts", replayed, "took", o.now().Sub(began).Round(time.Millisecond).String())
		}
		o.metrics.rebuilt(ctx, fresh)
		o.mark = time.Time{}
		return o.publish(ctx, nil)
	}
}

// catchUp replays the facts from where the view stands to their end.
func (o *owner) catchUp(ctx context.Context) (replayed int, err error) {
	end, err := o.facts.Replay(ctx, schemas.TopicConsentFacts, o.partition, o.at, -1, func(records []stream.Record) error {
		list, err := factsOf(records)
		if err != nil {
			o.log.Error("a record of the facts was passed over", "partition", o.partition, "error", err)
		}
		replayed += len(list)
		return o.fold(ctx, list, records[len(records)-1].Offset+1)
	})
	if err != nil {
		return replayed, err
	}
	if end > o.at { // compaction took the last records
		err = o.fold(ctx, nil, end)
	}
	return replayed, err
}

func factsOf(records []stream.Record) (list []placed, err error) {
	for i := range records {
		p, ok, bad := factOf(&records[i])
		if bad != nil {
			err = bad
			continue
		}
		if ok {
			list = append(list, p)
		}
	}
	return list, err
}

// fold applies facts in chunks and moves the view to to. Which process it is on is left to
// stamp.
func (o *owner) fold(ctx context.Context, list []placed, to int64) error {
	for {
		chunk, next := list, to
		if len(chunk) > applyChunk {
			chunk, next = list[:applyChunk], list[applyChunk].offset
		}
		err := o.patiently(ctx, func(ctx context.Context) error {
			_, err := o.view.apply(ctx, o.partition, o.at, next, chunk, time.Time{})
			return err
		})
		if err != nil && !errors.Is(err, errOtherRun) {
			return err
		}
		o.at = next
		if list = list[len(chunk):]; len(list) == 0 {
			return nil
		}
	}
}

// batch takes a batch of events all the way.
func (o *owner) batch(ctx context.Context, records []stream.Record) error {
	if err := o.fault(stepRead); err != nil {
		return err
	}
	var appends, evidence []stream.Message
	var own []placed
	var elsewhere []int32 // partitions of facts about people who are not of this partition
	var effects []stream.Message
	n, err := o.view.partitions(ctx)
	if err != nil {
		return err
	}
	clear(o.traces)
	traces := map[int][2]string{}
	for i := range records {
		rec := &records[i]
		if bytes.Equal(rec.Header("ce_type"), markType) {
			o.take(rec)
			continue
		}
		e, err := stream.ParseEvent(rec)
		if err != nil {
			o.metrics.passedBy(ctx)
			continue
		}
		got, err := o.read.read(&e, rec.Time)
		if err != nil {
			o.metrics.passedBy(ctx)
			o.log.Warn("an event was passed by", "partition", o.partition, "offset", rec.Offset, "error", err)
			continue
		}
		if got.stranger {
			o.metrics.stranger(ctx)
		}
		switch {
		case got.fact != nil:
			to := stream.PartitionOf([]byte(got.fact.Person), n)
			m, proof, body, err := messages(got.fact, to)
			if err != nil {
				return err
			}
			appends, evidence = append(appends, m), append(evidence, proof)
			if to == o.partition {
				traces[len(own)] = [2]string{e.Extension(schemas.ExtTraceparent), e.Extension(schemas.ExtTracestate)}
				own = append(own, placed{offset: int64(len(appends) - 1), fact: *got.fact, body: body})
			} else {
				elsewhere = append(elsewhere, to)
			}
			o.metrics.fact(ctx, got.fact)
		case got.help != nil:
			effects = append(effects, o.side(&e, schemas.HelpRequested, got.help))
		case got.review != nil:
			effects = append(effects, o.side(&e, schemas.ConsentReviewNeeded, got.review))
			o.metrics.review(ctx, got.review.Reason)
		}
	}
	if len(appends) > 0 {
		positions, err := o.out.Append(ctx, append(appends, evidence...)...)
		if err != nil {
			return fmt.Errorf("appending %d facts: %w", len(evidence), err)
		}
		for i := range own {
			own[i].offset = positions[own[i].offset].Offset
			if tp := traces[i]; tp[0] != "" {
				o.traces[own[i].offset] = tp
			}
		}
	}
	if err := o.fault(stepAppended); err != nil {
		return err
	}
	if err := o.advance(ctx, own, effects); err != nil {
		return err
	}
	for _, p := range elsewhere {
		if _, err := catchUpOther(ctx, o.view, o.facts, p); err != nil && !healable(err) {
			return err
		}
	}
	o.in.DoneUntil(records[len(records)-1].Offset + 1)
	return nil
}

var markType = []byte(schemas.TimeMark.Type())

func (o *owner) take(rec *stream.Record) {
	var k schemas.Mark
	if json.Unmarshal(rec.Value, &k) == nil {
		o.marks.add(k, rec.Time)
	}
}

// advance brings the view up to facts and the newest mark, and publishes what changed together
// with the side effects. An idle owner calls it with nothing, to notice a view that was lost.
func (o *owner) advance(ctx context.Context, own []placed, effects []stream.Message) error {
	mark := o.marks.time()
	news := mark.After(o.mark)
	outbox := 0
	if len(own) > 0 || news || o.now().Sub(o.looked) >= housekeeping {
		to := o.at
		next := true // the facts stand where the view goes on
		for i := range own {
			next = next && own[i].offset == to
			to = own[i].offset + 1
		}
		err := errElsewhere
		if next && len(own) <= applyChunk {
			var done applied
			err = o.patiently(ctx, func(ctx context.Context) (err error) {
				done, err = o.view.apply(ctx, o.partition, o.at, to, own, mark)
				return err
			})
			outbox = done.outbox
		}
		switch {
		case err == nil:
			o.at, o.mark, o.looked = to, mark, o.now()
			o.metrics.merged(ctx, own, o.now())
		case healable(err):
			// Facts of another writer, or a view that was lost: both are a replay.
			if err := o.heal(ctx, err); err != nil {
				return err
			}
			o.metrics.merged(ctx, own, o.now())
		default:
			return err
		}
	}
	if err := o.fault(stepApplied); err != nil {
		return err
	}
	if outbox == 0 && len(effects) == 0 {
		o.published = max(o.published, o.at)
		return nil
	}
	return o.publish(ctx, effects)
}

// heal replays. Where only the position differs, that is a short read; else the view is adopted.
func (o *owner) heal(ctx context.Context, why error) error {
	if !errors.Is(why, errElsewhere) {
		o.log.Warn("the view was lost or moved; checks of this partition are denied until it is whole", "partition", o.partition, "why", why.Error())
		o.metrics.lost(ctx)
	}
	return o.adopt(ctx)
}

func (o *owner) fault(s step) error {
	if o.faults == nil {
		return nil
	}
	return o.faults(s)
}

// commitPublished remembers up to where changes are published: at most once a second, beside the
// work (a commit takes Kafka several milliseconds, which a STOP should not wait for), and at the
// end. Coming too late costs duplicates with the same ids after a flush, never a loss.
func (o *owner) commitPublished(ctx context.Context, last bool) {
	if last {
		o.committing.Wait()
	}
	now, since := o.now(), o.now().Sub(o.commitAt)
	if !last && since < housekeeping || o.published < 0 || o.published == o.committed.Load() && since < recommit || o.inCommit.Swap(true) {
		return
	}
	o.commitAt = now
	published := o.published
	commit := func() {
		defer o.inCommit.Store(false)
		err := o.facts.CommitOffsets(ctx, publishedGroup, map[stream.TopicPartition]stream.Commit{
			{Topic: schemas.TopicConsentFacts, Partition: o.partition}: {Offset: published},
		})
		switch {
		case err == nil:
			o.committed.Store(published)
		case ctx.Err() == nil:
			o.log.Warn("the published offset was not committed", "partition", o.partition, "error", err)
		}
	}
	if last {
		commit()
		return
	}
	o.committing.Go(commit)
}

// catchUpOther brings the view of a partition that somebody else owns up to the end of its
// facts: for facts that this process appended there. The owner publishes what changed.
func catchUpOther(ctx context.Context, v *view, log facts, p int32) (whole bool, err error) {
	for range 5 {
		at, err := v.position(ctx, p)
		if err != nil {
			return false, err
		}
		_, err = log.Replay(ctx, schemas.TopicConsentFacts, p, at, -1, func(records []stream.Record) error {
			list, _ := factsOf(records) // its owner says what can't be read
			to := records[len(records)-1].Offset + 1
			for len(list) > applyChunk {
				if _, err := v.apply(ctx, p, at, list[applyChunk].offset, list[:applyChunk], time.Time{}); err != nil && !errors.Is(err, errOtherRun) {
					return err
				}
				at, list = list[applyChunk].offset, list[applyChunk:]
			}
			_, err := v.apply(ctx, p, at, to, list, time.Time{})
			if err == nil || errors.Is(err, errOtherRun) {
				at = to
				return nil
			}
			return err
		})
		if errors.Is(err, errElsewhere) {
			continue // its owner was faster
		}
		return err == nil, err
	}
	return false, errElsewhere
}
