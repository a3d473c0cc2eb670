package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// offsets is what Kafka keeps of lanes.
type offsets interface {
	CommitOffsets(ctx context.Context, group string, offsets map[stream.TopicPartition]stream.Commit) error
	FetchOffsets(ctx context.Context, group string, partitions ...stream.TopicPartition) (map[stream.TopicPartition]stream.Commit, error)
	OffsetsAt(ctx context.Context, topic string, t time.Time) (map[int32]int64, error)
	Partitions(ctx context.Context, topic string) (int32, error)
}

// laneGroup is the group without members that keeps a subscription's offsets; every Kafka tool
// shows its lag.
func laneGroup(subscription string) string { return "heed.lane." + subscription }

// coordinators is how many offset requests run at once: the coordinator lets each wait some
// milliseconds, and with eight a thousand groups take under a second (facts/kafka-go.md §8).
const coordinators = 8

// book reads and writes where lanes are.
type book struct {
	kafka offsets

	mu      sync.Mutex
	waiting []*lookup
	running bool
	starts  map[string]time.Time // of subscriptions whose begin is known

	dirty []*lane // that have moved since they were last saved

	saving sync.Mutex // one save after the other: an older commit must not land after a newer
}

// lookup is a partition's wish to know where lanes are.
type lookup struct {
	ctx   context.Context
	at    stream.TopicPartition
	ids   []string
	found map[string]stream.Commit
	err   error
	done  chan struct{}
}

// load gives where the lanes of subs on a partition are: as committed, else where the
// subscription begins.
func (b *book) load(ctx context.Context, subs []*subscriber, at stream.TopicPartition, bounds stream.Bounds) (map[string]progress, error) {
	l := &lookup{ctx: ctx, at: at, done: make(chan struct{})}
	for _, s := range subs {
		l.ids = append(l.ids, s.sub.ID)
	}
	b.mu.Lock()
	b.waiting = append(b.waiting, l)
	if !b.running {
		b.running = true
		go b.lookUp()
	}
	b.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.err != nil {
		return nil, l.err
	}
	all := map[string]progress{}
	for _, s := range subs {
		id := s.sub.ID
		if c, ok := l.found[id]; ok {
			// Damaged metadata cost repeats, never records: the offset alone is taken.
			p, _ := decodeProgress(c)
			all[id] = p
			continue
		}
		p, err := b.start(ctx, s.sub, at, bounds)
		if err != nil {
			return nil, err
		}
		all[id] = p
	}
	return all, nil
}

// lookUp answers lookups in rounds: whoever asks during a round is answered by the next, so that
// sixty partitions that are assigned together cost one request per subscription.
func (b *book) lookUp() {
	for {
		b.mu.Lock()
		round := b.waiting
		b.waiting = nil
		if len(round) == 0 {
			b.running = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		wanted := map[string][]stream.TopicPartition{}
		for _, l := range round {
			l.found = map[string]stream.Commit{}
			for _, id := range l.ids {
				wanted[id] = append(wanted[id], l.at)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		var mu sync.Mutex
		each(wanted, func(id string, at []stream.TopicPartition) {
			found, err := b.kafka.FetchOffsets(ctx, laneGroup(id), at...)
			mu.Lock()
			defer mu.Unlock()
			for _, l := range round {
				if !slices.Contains(l.ids, id) {
					continue
				}
				if err != nil {
					l.err = fmt.Errorf("group %s: %w", laneGroup(id), err)
				}
				if c, ok := found[l.at]; ok {
					l.found[id] = c
				}
			}
		})
		cancel()
		for _, l := range round {
			close(l.done)
		}
	}
}

// each runs do for every entry, coordinators at a time.
func each[V any](entries map[string]V, do func(string, V)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, coordinators)
	for key, value := range entries {
		free <- struct{}{}
		wg.Go(func() {
			do(key, value)
			<-free
		})
	}
	wg.Wait()
}

// start is where a lane begins that has no offset. A subscription begins once: a partition that
// comes to it later, be it by another owner or because the topic grew, begins at the same time.
func (b *book) start(ctx context.Context, s *schemas.Subscription, at stream.TopicPartition, bounds stream.Bounds) (progress, error) {
	b.mu.Lock()
	begun, known := b.starts[s.ID]
	b.mu.Unlock()
	if !known {
		var err error
		if begun, known, err = b.begun(ctx, s.ID); err != nil {
			return progress{}, err
		}
	}
	latest := false
	if !known {
		switch t, isTime := s.Config.Start.Time(); {
		case isTime:
			begun = t
		case s.Config.Start == schemas.StartEarliest:
			begun = time.UnixMilli(0)
		default:
			begun, latest = time.Now(), true
		}
	}
	b.mu.Lock()
	if first, raced := b.starts[s.ID]; raced {
		begun, latest = first, false
	} else {
		b.starts[s.ID] = begun
	}
	b.mu.Unlock()
	switch {
	case latest:
		return progress{next: bounds.End, started: begun}, nil
	case begun.UnixMilli() <= 0:
		return progress{next: bounds.First, started: begun}, nil
	}
	offsets, err := b.kafka.OffsetsAt(ctx, at.Topic, begun)
	if err != nil {
		return progress{}, err
	}
	next, ok := offsets[at.Partition]
	if !ok {
		next = bounds.End
	}
	return progress{next: next, started: begun}, nil
}

// begun looks for the beginning of a subscription among all its lanes.
func (b *book) begun(ctx context.Context, id string) (time.Time, bool, error) {
	var all []stream.TopicPartition
	for _, topic := range schemas.DeliveredTopics() {
		n, err := b.kafka.Partitions(ctx, topic)
		if err != nil {
			return time.Time{}, false, err
		}
		for p := range n {
			all = append(all, stream.TopicPartition{Topic: topic, Partition: p})
		}
	}
	found, err := b.kafka.FetchOffsets(ctx, laneGroup(id), all...)
	if err != nil {
		return time.Time{}, false, err
	}
	var begun time.Time
	known := false
	for _, c := range found {
		if p, err := decodeProgress(c); err == nil && !p.started.IsZero() && (!known || p.started.Before(begun)) {
			begun, known = p.started, true
		}
	}
	return begun, known, nil
}

// moved notes that a lane has something to commit.
func (b *book) moved(l *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty = append(b.dirty, l)
}

// takeMoved gives the lanes that have moved.
func (b *book) takeMoved() []*lane {
	b.mu.Lock()
	defer b.mu.Unlock()
	moved := b.dirty
	b.dirty = nil
	return moved
}

// save commits what lanes have got done; all says whether it is due or not. A commit that fails
// is due again.
func (b *book) save(ctx context.Context, lanes []*lane, all bool) {
	b.saving.Lock()
	defer b.saving.Unlock()
	now := time.Now()
	groups := map[string]map[*lane]stream.Commit{}
	for _, l := range lanes {
		l.p.mu.Lock()
		c, due := l.commit(now, all)
		l.p.mu.Unlock()
		if !due {
			continue
		}
		id := l.s.sub.ID
		if groups[id] == nil {
			groups[id] = map[*lane]stream.Commit{}
		}
		groups[id][l] = c
	}
	each(groups, func(id string, commits map[*lane]stream.Commit) {
		offsets := map[stream.TopicPartition]stream.Commit{}
		for l, c := range commits {
			offsets[l.position()] = c
		}
		err := b.kafka.CommitOffsets(ctx, laneGroup(id), offsets)
		for l, c := range commits {
			l.committed(c, now, err)
		}
	})
}
