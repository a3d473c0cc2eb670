package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	meta "github.com/segmentio/kafka-go/protocol/metadata"
)

// layout is what the cluster looked like at one moment.
type layout struct {
	controller int32
	brokers    []int32
	topics     map[string]*topicLayout
}

// topicLayout is one topic: the leader of each partition, noLeader where there is none.
type topicLayout struct{ leaders []int32 }

const noLeader int32 = -1

func (l *layout) leader(topic string, partition int32) int32 {
	if t := l.topics[topic]; t != nil && int(partition) < len(t.leaders) {
		return t.leaders[partition]
	}
	return noLeader
}

// incomplete lists the topics that do not exist or miss a leader.
func (l *layout) incomplete(topics []string) []string {
	var missing []string
	for _, name := range topics {
		if t := l.topics[name]; t == nil || slices.Contains(t.leaders, noLeader) {
			missing = append(missing, name)
		}
	}
	return missing
}

// metadata holds the layout of the topics that this client uses.
type metadata struct {
	current atomic.Pointer[layout]

	mu       sync.Mutex
	wanted   map[string]bool
	running  *refreshing // the request under way, if any
	watchers map[chan struct{}]bool
}

// refreshing is one metadata request that several callers wait for.
type refreshing struct {
	done chan struct{}
	err  error
}

func newMetadata() *metadata {
	m := &metadata{wanted: map[string]bool{}, watchers: map[chan struct{}]bool{}}
	m.current.Store(&layout{controller: anyBroker, topics: map[string]*topicLayout{}})
	return m
}

func (m *metadata) load() *layout { return m.current.Load() }

// want adds topics to those that are watched.
func (m *metadata) want(topics ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range topics {
		m.wanted[t] = true
	}
}

// watch returns a channel that gets a token after each refresh, until stop is called.
func (m *metadata) watch() (changed chan struct{}, stop func()) {
	changed = make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[changed] = true
	return changed, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, changed)
	}
}

// refresh asks the cluster for its layout, once for all callers that ask meanwhile.
func (c *Client) refresh(ctx context.Context) error {
	m := c.meta
	m.mu.Lock()
	r := m.running
	if r == nil {
		r = &refreshing{done: make(chan struct{})}
		m.running = r
		names := make([]string, 0, len(m.wanted))
		for name := range m.wanted {
			names = append(names, name)
		}
		slices.Sort(names)
		go func() {
			// Not the caller's context: others wait for this answer too.
			tried, cancel := context.WithTimeout(context.Background(), 2*tryTimeout)
			defer cancel()
			l, err := c.readLayout(tried, names)
			m.mu.Lock()
			if err == nil {
				m.current.Store(l)
				for w := range m.watchers {
					signal(w)
				}
			}
			m.running = nil
			m.mu.Unlock()
			r.err = err
			close(r.done)
		}()
	}
	m.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readLayout asks one broker, and another when the first does not answer.
func (c *Client) readLayout(ctx context.Context, topics []string) (*layout, error) {
	brokers := slices.Clone(c.meta.load().brokers)
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	brokers = append(brokers, anyBroker, anyBroker)
	var last error
	for _, broker := range brokers {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		res, err := ask[*meta.Response](try, c, broker, &meta.Request{TopicNames: topics})
		cancel()
		if err == nil {
			return layoutOf(res), nil
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func layoutOf(res *meta.Response) *layout {
	l := &layout{controller: res.ControllerID, topics: make(map[string]*topicLayout, len(res.Topics))}
	for _, b := range res.Brokers {
		l.brokers = append(l.brokers, b.NodeID)
	}
	for _, t := range res.Topics {
		if t.ErrorCode != 0 || len(t.Partitions) == 0 {
			continue
		}
		leaders := make([]int32, len(t.Partitions))
		for i := range leaders {
			leaders[i] = noLeader
		}
		for _, p := range t.Partitions {
			if int(p.PartitionIndex) < len(leaders) && p.ErrorCode != int16(kafka.LeaderNotAvailable) && slices.Contains(l.brokers, p.LeaderID) {
				leaders[p.PartitionIndex] = p.LeaderID
			}
		}
		l.topics[t.Name] = &topicLayout{leaders}
	}
	return l
}

// topic is the layout of one topic, asked for when it is not known yet.
func (c *Client) topic(ctx context.Context, name string) (*topicLayout, error) {
	c.meta.want(name)
	if t := c.meta.load().topics[name]; t != nil {
		return t, nil
	}
	pause := backoff{floor: 20 * time.Millisecond, ceiling: 500 * time.Millisecond}
	for {
		err := c.refresh(ctx)
		if t := c.meta.load().topics[name]; t != nil {
			return t, nil
		}
		if err == nil {
			err = fmt.Errorf("topic %s: %w (create it with: heed topics apply)", name, ErrNoTopic)
		}
		if pause.tries >= 3 || !pause.wait(ctx) {
			return nil, err
		}
	}
}

// refreshForever keeps the layout a few seconds fresh.
func (c *Client) refreshForever(ctx context.Context) {
	for {
		pause := refreshInterval - rand.N(refreshInterval/4)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := c.refresh(ctx); err != nil && ctx.Err() == nil {
			c.log.Debug("reading the cluster's layout", "error", err)
		}
	}
}

// signal puts a token into a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// backoff waits longer each time, with full jitter over the upper half.
type backoff struct {
	floor, ceiling time.Duration
	tries          int
}

// next is the pause before the next try.
func (b *backoff) next() time.Duration {
	d := b.floor << min(b.tries, 20)
	if d > b.ceiling || d <= 0 {
		d = b.ceiling
	}
	b.tries++
	return d/2 + rand.N(d/2+1)
}

// wait waits and reports whether ctx still runs.
func (b *backoff) wait(ctx context.Context) bool {
	t := time.NewTimer(b.next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
