package stream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	// fetchWait is how long a broker holds a fetch that it has nothing for; shorter while a
	// partition is left out of the request for want of room, so that it does not wait for the
	// others' silence.
	fetchWait      = 500 * time.Millisecond
	fetchWaitShort = 25 * time.Millisecond
	fetchTimeout   = 5 * time.Second // for the whole answer

	fetchRetry     = 100 * time.Millisecond // after an error, per partition
	watchInterval  = 5 * time.Second
	stalledAfter   = 30 * time.Second
	resolveTimeout = 5 * time.Second
)

// fetcher keeps feeds supplied: per broker one request is under way, for all partitions that
// the broker leads and that have room.
type fetcher struct {
	client *Client
	ctx    context.Context
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	feeds   []*feed
	loops   map[int32]chan struct{} // wake channels of the brokers' loops
	turn    int                     // who comes first in the next request
	assign  chan struct{}           // leaders are to be looked up
	doubt   atomic.Bool             // in new metadata
	stalled map[*feed]bool
}

func newFetcher(c *Client) *fetcher {
	f := &fetcher{client: c, loops: map[int32]chan struct{}{}, assign: make(chan struct{}, 1), stalled: map[*feed]bool{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.work.Go(f.assignLeaders)
	f.work.Go(f.watch)
	return f
}

func (f *fetcher) close() {
	f.stop()
	f.work.Wait()
}

// add begins to supply a feed, once it is started.
func (f *fetcher) add(x *feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feeds = append(f.feeds, x)
	f.client.meta.want(x.topic)
	x.kick = f.wakeAll
	signal(f.assign)
}

// remove ends it.
func (f *fetcher) remove(x *feed) {
	f.mu.Lock()
	f.feeds = slices.DeleteFunc(f.feeds, func(one *feed) bool { return one == x })
	delete(f.stalled, x)
	f.mu.Unlock()
	x.close()
}

func (f *fetcher) wakeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, wake := range f.loops {
		signal(wake)
	}
}

// assignLeaders finds the leader of every feed that has none, and starts the loops of brokers.
func (f *fetcher) assignLeaders() {
	changed, unwatch := f.client.meta.watch()
	defer unwatch()
	for {
		missing := false
		if f.doubt.Swap(false) {
			_ = f.client.refresh(f.ctx)
		}
		l := f.client.meta.load()
		f.mu.Lock()
		for _, x := range f.feeds {
			if leader := l.leader(x.topic, x.partition); leader != x.leader {
				x.leader = leader
				x.retryAt = time.Time{}
			}
			if x.leader == noLeader {
				missing = true
				continue
			}
			if f.loops[x.leader] == nil {
				wake := make(chan struct{}, 1)
				f.loops[x.leader] = wake
				f.work.Go(func() { f.loop(x.leader, wake) })
			}
			signal(f.loops[x.leader])
		}
		f.mu.Unlock()
		var again <-chan time.Time
		if missing {
			_ = f.client.refresh(f.ctx)
			again = time.After(fetchRetry)
		}
		select {
		case <-f.ctx.Done():
			return
		case <-f.assign:
		case <-changed:
		case <-again:
		}
	}
}

// loop fetches from one broker for as long as the fetcher lives.
func (f *fetcher) loop(broker int32, wake chan struct{}) {
	for {
		feeds, wanted, epochs, left := f.gather(broker)
		if len(feeds) > 0 {
			f.round(broker, feeds, wanted, epochs, left)
			if f.ctx.Err() != nil {
				return
			}
			continue
		}
		var later <-chan time.Time
		if left {
			later = time.After(fetchRetry)
		}
		select {
		case <-f.ctx.Done():
			return
		case <-wake:
		case <-later:
		}
	}
}

// gather chooses the partitions of the next request. left tells that some have no room or wait
// for their next try. The order turns, because a broker that has a batch larger than what is
// left of a response gives it only to the first.
func (f *fetcher) gather(broker int32) (feeds []*feed, wanted []wantedRange, epochs []int, left bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn++
	t := now()
	for i := range f.feeds {
		x := f.feeds[(i+f.turn)%len(f.feeds)]
		if x.leader != broker {
			continue
		}
		want, epoch, ok := x.room()
		if !ok || x.waiting || t.Before(x.retryAt) {
			left = true
			continue
		}
		x.waiting = true
		feeds = append(feeds, x)
		wanted = append(wanted, want)
		epochs = append(epochs, epoch)
	}
	return feeds, wanted, epochs, left
}

// round resolves relative offsets, sends one fetch, and hands out what it brought.
func (f *fetcher) round(broker int32, feeds []*feed, wanted []wantedRange, epochs []int, left bool) {
	absolute := 0
	order := make([]int, len(feeds)) // by topic, keeping the turn within
	for i := range order {
		order[i] = i
	}
	rank := map[string]int{}
	for _, w := range wanted {
		if _, known := rank[w.topic]; !known {
			rank[w.topic] = len(rank)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank[wanted[a].topic] - rank[wanted[b].topic] })
	sorted := make([]wantedRange, 0, len(order))
	whose := make([]int, 0, len(order))
	var failed error
	for _, i := range order {
		if wanted[i].from < 0 {
			if failed == nil {
				failed = f.resolve(feeds[i], wanted[i], epochs[i])
			}
			if failed != nil {
				f.retry(feeds[i], failed, true)
			}
			continue
		}
		absolute++
		sorted = append(sorted, wanted[i])
		whose = append(whose, i)
	}
	if absolute > 0 {
		wait := fetchWait
		if left || absolute < len(feeds) {
			wait = fetchWaitShort
		}
		ctx, cancel := context.WithTimeout(f.ctx, wait+fetchTimeout)
		answers, err := f.client.fetch(ctx, broker, sorted, wait)
		cancel()
		for k, i := range whose {
			a := fetched{code: int16(kafka.NetworkException)}
			if err == nil {
				a = answers[k]
			}
			f.hand(feeds[i], &a, epochs[i], err)
		}
	}
	f.mu.Lock()
	for _, x := range feeds {
		x.waiting = false
	}
	f.mu.Unlock()
}

// resolve finds the offset that a relative one stands for.
func (f *fetcher) resolve(x *feed, want wantedRange, epoch int) error {
	ctx, cancel := context.WithTimeout(f.ctx, resolveTimeout)
	defer cancel()
	offset, err := f.client.offsetAt(ctx, want.topic, want.partition, want.from)
	if err == nil {
		x.resolved(offset, epoch)
	}
	return err
}

// hand gives a feed its part of an answer.
func (f *fetcher) hand(x *feed, a *fetched, epoch int, failure error) {
	if failure != nil {
		f.retry(x, failure, true)
		return
	}
	if !a.answered {
		f.retry(x, errors.New("the broker did not answer for the partition"), true)
		return
	}
	if a.code != 0 && a.raw != nil {
		giveBuffer(a.raw)
		a.raw = nil
	}
	switch err := kafka.Error(a.code); err {
	case 0:
		if err := x.put(a, epoch); err != nil {
			f.corrupt(x, err)
		}
	case kafka.OffsetOutOfRange:
		f.outOfRange(x, epoch)
	default:
		// NOT_LEADER, UNKNOWN_TOPIC, FENCED_LEADER_EPOCH and the like ask for new metadata,
		// and nothing suffers from them after any other error.
		f.retry(x, err, true)
	}
}

func (f *fetcher) retry(x *feed, cause error, leaderInDoubt bool) {
	if f.ctx.Err() != nil {
		return
	}
	f.client.log.Debug("fetching", "topic", x.topic, "partition", x.partition, "error", cause)
	f.mu.Lock()
	x.retryAt = now().Add(fetchRetry)
	f.mu.Unlock()
	if leaderInDoubt {
		f.doubt.Store(true)
		signal(f.assign)
	}
}

func (f *fetcher) corrupt(x *feed, err error) {
	f.client.metrics.corrupt.Add(f.ctx, 1, onTopic(x.topic))
	f.client.log.Error("fetched records cannot be read; they are fetched again", "topic", x.topic, "partition", x.partition, "error", err)
	f.mu.Lock()
	x.retryAt = now().Add(time.Second)
	f.mu.Unlock()
}

// outOfRange goes on at the first record there is. What lies between was removed before we
// read it, or the log was cut by an unclean election: either way people must hear of it.
func (f *fetcher) outOfRange(x *feed, epoch int) {
	x.mu.Lock()
	was := x.next
	x.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, resolveTimeout)
	defer cancel()
	first, err := f.client.offsetAt(ctx, x.topic, x.partition, FirstOffset)
	if err != nil {
		f.retry(x, err, false)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.epoch != epoch {
		return
	}
	x.next = first
	x.read = first
	f.client.metrics.lost.Add(f.ctx, max(first-was, 1), metric.WithAttributes(attribute.String("topic", x.topic)))
	f.client.log.Error("records were removed before they were read; going on at the first there is",
		"topic", x.topic, "partition", x.partition, "wanted", was, "first", first)
}

// watch looks for partitions that are not fetched although they should be, and keeps the known
// end of those that rightly are not, so that their lag stays true.
func (f *fetcher) watch() {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		feeds := slices.Clone(f.feeds)
		f.mu.Unlock()
		for _, x := range feeds {
			f.look(x)
		}
	}
}

func (f *fetcher) look(x *feed) {
	x.mu.Lock()
	silent, open, next := now().Sub(x.lastAt), x.open, x.next
	x.mu.Unlock()
	_, _, room := x.room()
	if !open || silent < watchInterval {
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, resolveTimeout)
	defer cancel()
	latest, err := f.client.offsetAt(ctx, x.topic, x.partition, LastOffset)
	if err != nil {
		f.client.log.Debug("reading the end of a partition", "topic", x.topic, "partition", x.partition, "error", err)
		return
	}
	x.mu.Lock()
	x.end = max(x.end, latest)
	x.mu.Unlock()
	if !room || silent < stalledAfter || latest <= next {
		return
	}
	// It has room, records are there, and nobody fetched it: whatever the reason, begin anew.
	f.client.metrics.stalled.Add(f.ctx, 1, onTopic(x.topic))
	f.client.log.Error("a partition is not fetched although it has records; connecting anew",
		"topic", x.topic, "partition", x.partition, "next", next, "end", latest, "silent", silent.String())
	f.client.transport.CloseIdleConnections()
	_ = f.client.refresh(f.ctx)
	signal(f.assign)
}
