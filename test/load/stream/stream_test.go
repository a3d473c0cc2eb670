// Package stream compares internal/stream with franz-go, the fastest client of Kafka in Go, on
// the same broker in the same run: records per second and processor time of this process per
// record, as ratios. The bars: producing at least 1.0 of franz-go's records, fetching at least 1.2.
package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

const (
	partitions  = 8
	rounds      = 5 // interleaved; medians count
	perRound    = 150_000
	outstanding = 8_000
	callers     = 256
	perCaller   = 150
)

// values are 1 KB JSON bodies as callbacks are: much the same, with ids that differ.
var values = sync.OnceValue(func() [][]byte {
	all := make([][]byte, 1000)
	for i := range all {
		b := fmt.Appendf(nil, `{"id":"%016x%016x","from":"+1415555%04d","to":"heed","timestamp":"2026-01-02T03:04:%02d.%03dZ","text":"`, rand.Uint64(), rand.Uint64(), rand.N(10000), rand.N(60), rand.N(1000))
		for len(b) < 1000 {
			b = fmt.Appendf(b, "message %d ", rand.N(1000))
		}
		all[i] = append(b[:1022], '"', '}')
	}
	return all
})

// cost is what n records took.
type cost struct {
	n         int
	wall, cpu time.Duration
}

func measure(n int, do func()) cost {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	start := time.Now()
	do()
	wall := time.Since(start)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := func(r *syscall.Rusage) time.Duration { return time.Duration(r.Utime.Nano() + r.Stime.Nano()) }
	return cost{n, wall, spent(&after) - spent(&before)}
}

func median(costs []cost, of func(cost) float64) float64 {
	all := make([]float64, len(costs))
	for i, c := range costs {
		all[i] = of(c)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func rate(c cost) float64   { return float64(c.n) / c.wall.Seconds() }
func micros(c cost) float64 { return c.cpu.Seconds() * 1e6 / float64(c.n) }

func report(b *testing.B, ours, theirs []cost) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours, rate)/median(theirs, rate), "records÷franz")
	b.ReportMetric(median(ours, micros)/median(theirs, micros), "cpu÷franz")
	b.ReportMetric(median(ours, rate)/1000, "krecords/s")
	b.ReportMetric(median(ours, micros), "µs-cpu/record")
}

type cluster struct {
	*testing.B
	ctx     context.Context
	brokers []string
	client  *stream.Client
}

func open(b *testing.B) *cluster {
	b.Helper()
	stack.Require(b)
	brokers := stack.Kafka(b, stack.Optimised()).Brokers()
	return &cluster{b, streamtest.Context(b, 10*time.Minute), brokers, streamtest.Open(b, brokers)}
}

func (c *cluster) topic(name string) string {
	c.Helper()
	if err := c.client.CreateTopics(c.ctx, stream.TopicSpec{Name: name, Partitions: partitions, Replication: 1}); err != nil {
		c.Fatal(err)
	}
	if err := c.client.WaitForTopics(c.ctx, name); err != nil {
		c.Fatal(err)
	}
	return name
}

func (c *cluster) franz(o ...kgo.Opt) *kgo.Client {
	c.Helper()
	client, err := kgo.NewClient(append(o, kgo.SeedBrokers(c.brokers...))...)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(client.Close)
	return client
}

// producer is one of the two clients under test.
type producer struct {
	enqueue func(value []byte, key []byte, done func(error))
	append  func(value []byte, key []byte) error
}

func (c *cluster) producers(topic, compression string) (ours, theirs producer) {
	w := stream.NewWriter(c.client, stream.WriterOptions{Compression: compression})
	c.Cleanup(func() { _ = w.Close(context.Background()) })
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "zstd": kgo.ZstdCompression().WithLevel(1)}[compression]
	k := c.franz(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(4*outstanding))
	ctx := c.ctx
	ours = producer{
		func(value, key []byte, done func(error)) {
			if err := w.Enqueue(ctx, stream.Message{Topic: topic, Key: key, Value: value}, func(_ stream.Position, err error) { done(err) }); err != nil {
				done(err)
			}
		},
		func(value, key []byte) error {
			_, err := w.Append(ctx, stream.Message{Topic: topic, Key: key, Value: value})
			return err
		},
	}
	theirs = producer{
		func(value, key []byte, done func(error)) {
			k.Produce(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}, func(_ *kgo.Record, err error) { done(err) })
		},
		func(value, key []byte) error {
			return k.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: key, Value: value}).FirstErr()
		},
	}
	return ours, theirs
}

// pipeline sends n records with a bounded number unacknowledged.
func (p producer) pipeline(b *testing.B, n int) {
	var failed atomic.Pointer[error]
	room := make(chan struct{}, outstanding)
	var left sync.WaitGroup
	left.Add(n)
	done := func(err error) {
		if err != nil {
			failed.Store(&err)
		}
		<-room
		left.Done()
	}
	all := values()
	for i := range n {
		room <- struct{}{}
		v := all[i%len(all)]
		p.enqueue(v, v[7:39], done)
	}
	left.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

// wait has many callers append one record after the other, as ingest's requests do.
func (p producer) wait(b *testing.B, n int) {
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := range n {
				v := values()[(i*n+j)%1000]
				if err := p.append(v, v[7:39]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkProduce(b *testing.B) {
	c := open(b)
	for _, compression := range []string{"zstd", "none"} {
		for _, way := range []struct {
			name string
			n    int
			do   func(producer, *testing.B)
		}{
			{fmt.Sprintf("pipeline-%d", outstanding), perRound, func(p producer, b *testing.B) { p.pipeline(b, perRound) }},
			{fmt.Sprintf("callers-%d", callers), callers * perCaller, func(p producer, b *testing.B) { p.wait(b, perCaller) }},
		} {
			b.Run(compression+"/"+way.name, func(b *testing.B) {
				ours, theirs := c.producers(c.topic(fmt.Sprintf("p-%s-%s-%d", compression, way.name, time.Now().UnixNano())), compression)
				way.do(ours, b)
				way.do(theirs, b)
				var a, z []cost
				for range rounds {
					a = append(a, measure(way.n, func() { way.do(ours, b) }))
					z = append(z, measure(way.n, func() { way.do(theirs, b) }))
				}
				report(b, a, z)
			})
		}
	}
}

func BenchmarkFetch(b *testing.B) {
	c := open(b)
	for _, compression := range []string{"zstd", "none"} {
		topic := c.topic("f-" + compression)
		const n = 2 * perRound
		p, _ := c.producers(topic, compression)
		p.pipeline(b, n)
		b.Run(compression, func(b *testing.B) {
			var a, z []cost
			for i := range rounds + 1 {
				ours := c.fetchOurs(b, topic, fmt.Sprint(topic, i), n)
				theirs := c.fetchTheirs(b, topic, n)
				if i > 0 { // the first warms up
					a, z = append(a, ours), append(z, theirs)
				}
			}
			report(b, a, z)
		})
	}
}

// fetchOurs reads n records in a group; the last three quarters count: joining does not, nor
// what was fetched before anybody asked.
func (c *cluster) fetchOurs(b *testing.B, topic, group string, n int) cost {
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	var count, bytes, from atomic.Int64
	began, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	left := make(chan error, 1)
	go func() {
		left <- stream.Consume(ctx, c.client, stream.GroupOptions{Group: group, Topics: []string{topic}}, func(ctx context.Context, part *stream.Assigned) error {
			for {
				batch, err := part.Next(ctx)
				if errors.Is(err, stream.ErrRevoked) {
					return nil
				}
				if err != nil {
					return err
				}
				size := 0
				for i := range batch.Records {
					size += len(batch.Records[i].Value)
					part.Done(batch.Records[i].Offset)
				}
				bytes.Add(int64(size))
				have := count.Add(int64(len(batch.Records)))
				if have > int64(n/4) {
					once.Do(func() {
						from.Store(have)
						close(began)
					})
				}
				if have == int64(n) {
					close(ended)
				}
				batch.Release()
			}
		})
	}()
	<-began
	total := measure(n-int(from.Load()), func() { <-ended })
	stop()
	if err := <-left; err != nil {
		b.Fatal(err)
	}
	if bytes.Load() != int64(n)*1024 {
		b.Fatalf("%d bytes", bytes.Load())
	}
	return total
}

func (c *cluster) fetchTheirs(b *testing.B, topic string, n int) cost {
	k := c.franz(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(500*time.Millisecond), kgo.FetchMaxPartitionBytes(1<<20))
	defer k.Close()
	count, bytes := 0, 0
	poll := func() {
		fetches := k.PollFetches(c.ctx)
		if err := fetches.Err(); err != nil {
			b.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			count++
			bytes += len(r.Value)
		})
	}
	for count <= n/4 {
		poll()
	}
	total := measure(n-count, func() {
		for count < n {
			poll()
		}
	})
	if bytes != n*1024 {
		b.Fatalf("%d bytes", bytes)
	}
	return total
}
