package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

// oneIn makes a fault hit one request in n, by chance: kfake asks several times per request.
func oneIn(n int) func(kmsg.Request) bool {
	return func(kmsg.Request) bool { return rand.N(n) == 0 }
}

// TestWriterFaults lets brokers answer with every error that must not lose or double a record.
func TestWriterFaults(t *testing.T) {
	for _, err := range []*kerr.Error{
		kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, // answered after the append
		kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.KafkaStorageError,
		kerr.CorruptMessage, kerr.NetworkException, kerr.UnknownServerError, kerr.ThrottlingQuotaExceeded,
		kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch,
	} {
		t.Run(err.Message, func(t *testing.T) {
			t.Parallel()
			cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "t", Partitions: 4}}})
			flow := streamtest.StartFlow(t, streamtest.Open(t, cluster.ListenAddrs()), "t", 1000, 20*time.Second)
			flow.Acked(20, 10*time.Second)
			fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: -1, When: oneIn(3)})
			flow.Acked(400, 20*time.Second)
			fault.Remove()
			if fault.Hits() == 0 {
				t.Error("the fault hit nothing")
			}
			flow.Check()
		})
	}
}

// cutter is a listener whose connections die now and then just before a response is written:
// the broker has done what was asked, and nobody hears of it.
type cutter struct {
	net.Listener
	cut func() bool
}

func (c cutter) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	return cutConn{conn, c.cut}, err
}

type cutConn struct {
	net.Conn
	cut func() bool
}

func (c cutConn) Write(b []byte) (int, error) {
	if c.cut() {
		c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func TestWriterConnectionsCutBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	var on atomic.Bool
	var count atomic.Int64
	cut := func() bool { return on.Load() && count.Add(1)%10 == 0 }
	listen := func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return cutter{l, cut}, err
	}
	cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "t", Partitions: 4}}, Extra: []kfake.Opt{kfake.ListenFn(listen)}})
	flow := streamtest.StartFlow(t, streamtest.Open(t, cluster.ListenAddrs()), "t", 1000, 20*time.Second)
	on.Store(true)
	flow.Acked(1000, 20*time.Second)
	on.Store(false)
	flow.Check()
}

func TestWriterLeadersMove(t *testing.T) {
	t.Parallel()
	cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 3, Topics: []stream.TopicSpec{{Name: "t", Partitions: 6}}})
	flow := streamtest.StartFlow(t, streamtest.Open(t, cluster.ListenAddrs()), "t", 1000, 20*time.Second)
	// Acknowledgements are lost while leaders move: the same bytes must reach the new one.
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1, When: oneIn(4)})
	for range 20 {
		cluster.ShufflePartitionLeaders()
		flow.Acked(50, 20*time.Second)
	}
	fault.Remove()
	flow.Check()
}

// hold lets no produce request through until release is called; holding tells of each.
func hold(cluster *kfake.Cluster) (holding <-chan struct{}, release func()) {
	arrived := make(chan struct{}, 100)
	var mu sync.Mutex
	held := true
	gate := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		closed := held
		mu.Unlock()
		if closed {
			arrived <- struct{}{}
			cluster.SleepControl(func() { <-gate })
		}
		return nil, nil, false
	})
	return arrived, func() {
		mu.Lock()
		defer mu.Unlock()
		held = false
		close(gate)
	}
}

func TestWriterLimitsAndDeadlines(t *testing.T) {
	t.Parallel()
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 1}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	w := stream.NewWriter(c, stream.WriterOptions{MaxRecords: 10})
	if _, err := w.Append(t.Context(), stream.Message{Topic: "t", Value: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	holding, release := hold(cluster)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	results := make(chan error, 20)
	for i := range 10 {
		if err := w.Enqueue(ctx, stream.Message{Topic: "t", Value: fmt.Append(nil, i)}, func(_ stream.Position, err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-holding // the first is in flight by itself
		}
	}
	if err := w.Enqueue(ctx, stream.Message{Topic: "t"}, func(stream.Position, error) { t.Error("called") }); !errors.Is(err, stream.ErrFull) {
		t.Errorf("the eleventh: %v", err)
	}
	if _, err := w.Append(ctx, stream.Message{Topic: "t"}); !errors.Is(err, stream.ErrFull) {
		t.Errorf("the eleventh by Append: %v", err)
	}
	for range 10 {
		if err := <-results; !errors.Is(err, stream.ErrUnknown) {
			t.Errorf("at the deadline: %v", err)
		}
	}
	// What was in flight is still on its way; what waited was dropped, and its room is free.
	canceled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := w.Append(canceled, stream.Message{Topic: "t", Value: []byte("canceled")}); !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("with a canceled context: %v", err)
	}
	over, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer done()
	pending := make(chan error, 1)
	if err := w.Enqueue(t.Context(), stream.Message{Topic: "t", Value: []byte("last")}, func(_ stream.Position, err error) { pending <- err }); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(over); !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("Close with a broker that does not answer: %v", err)
	}
	if err := <-pending; !errors.Is(err, stream.ErrUnknown) {
		t.Errorf("at the end: %v", err)
	}
	if err := w.Enqueue(t.Context(), stream.Message{Topic: "t"}, nil); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	release()
}

func TestWriterCloseWaitsForAcknowledgements(t *testing.T) {
	t.Parallel()
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 1}}})
	c := streamtest.Open(t, cluster.ListenAddrs())
	w := stream.NewWriter(c, stream.WriterOptions{})
	_, release := hold(cluster)
	var acked atomic.Int64
	for i := range 100 {
		if err := w.Enqueue(t.Context(), stream.Message{Topic: "t", Value: fmt.Append(nil, i)}, func(_ stream.Position, err error) {
			if err == nil {
				acked.Add(1)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan error)
	go func() { closed <- w.Close(t.Context()) }()
	release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if n := len(streamtest.Read(t, c, "t")); n != 100 || acked.Load() != 100 {
		t.Errorf("%d acknowledged, %d stored, want 100", acked.Load(), n)
	}
}

func TestWriterWaitsForItsTopic(t *testing.T) {
	t.Parallel()
	cluster := streamtest.Cluster(t, devbroker.Options{})
	c := streamtest.Open(t, cluster.ListenAddrs())
	w := stream.NewWriter(c, stream.WriterOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.Append(ctx, stream.Message{Topic: "t", Value: []byte("early")}); !errors.Is(err, stream.ErrUnknown) || !errors.Is(err, stream.ErrNoTopic) {
		t.Errorf("before the topic is there: %v", err)
	}
	late := make(chan error, 1)
	if err := w.Enqueue(t.Context(), stream.Message{Topic: "t", Value: []byte("in time")}, func(_ stream.Position, err error) { late <- err }); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopics(t.Context(), stream.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := <-late; err != nil {
		t.Error(err)
	}
	if got := streamtest.Read(t, c, "t"); len(got) != 1 || string(got[0].Value) != "in time" {
		t.Errorf("stored %v", got)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts and never answers
	c := streamtest.Open(t, []string{l.Addr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Reachable(ctx); err == nil {
		t.Error("reachable")
	}
	if err := c.WaitForTopics(ctx, "t"); err == nil {
		t.Error("the topic is there")
	}
}

// TestReaderFaults lets fetches fail in every way while a group reads.
func TestReaderFaults(t *testing.T) {
	for _, err := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch,
		kerr.KafkaStorageError, kerr.UnknownServerError, kerr.OffsetNotAvailable,
	} {
		t.Run(err.Message, func(t *testing.T) {
			t.Parallel()
			cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "t", Partitions: 4}}})
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: err, Count: -1, When: oneIn(3)})
			readWhile(t, cluster, func() { cluster.ShufflePartitionLeaders() })
		})
	}
}

// TestGroupFaults lets the coordinator fail while a group reads.
func TestGroupFaults(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"coordinator not available": {Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 4},
		"coordinator loading":       {Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: 2, TopLevel: true},
		"commits fail":              {Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: 3},
		"heartbeats fail":           {Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.NotCoordinator, Count: 2, TopLevel: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 2, Topics: []stream.TopicSpec{{Name: "t", Partitions: 4}}})
			cluster.Fault(fault)
			readWhile(t, cluster, func() { cluster.RehashCoordinators() })
		})
	}
}

// readWhile has a group read 2,000 records while something happens; each must come.
func readWhile(t *testing.T, cluster *kfake.Cluster, happen func()) {
	t.Helper()
	c := streamtest.Open(t, cluster.ListenAddrs())
	w := stream.NewWriter(c, stream.WriterOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	const rounds, each = 10, 200
	seen := make(chan int, rounds*each*10)
	run, stop := context.WithCancel(ctx)
	left := make(chan error, 1)
	go func() {
		left <- stream.Consume(run, c, stream.GroupOptions{Group: "g", Topics: []string{"t"}}, func(ctx context.Context, part *stream.Assigned) error {
			for {
				b, err := part.Next(ctx)
				if errors.Is(err, stream.ErrRevoked) {
					return nil
				}
				if err != nil {
					return err
				}
				for i := range b.Records {
					var n int
					fmt.Sscan(string(b.Records[i].Value), &n)
					seen <- n
					part.Done(b.Records[i].Offset)
				}
				b.Release()
			}
		})
	}()
	got := map[int]bool{}
	for round := range rounds {
		var messages []stream.Message
		for i := range each {
			n := round*each + i
			messages = append(messages, stream.Message{Topic: "t", Key: fmt.Append(nil, n), Value: fmt.Append(nil, n)})
		}
		if _, err := w.Append(ctx, messages...); err != nil {
			t.Fatal(err)
		}
		if round%3 == 1 {
			happen()
		}
		for len(got) < (round+1)*each {
			select {
			case n := <-seen:
				got[n] = true
			case <-ctx.Done():
				t.Fatalf("%d of %d records came", len(got), (round+1)*each)
			}
		}
	}
	stop()
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
}

// TestWaitingIsSaidOnce: who waits for Kafka at the start says so, in words, once.
func TestWaitingIsSaidOnce(t *testing.T) {
	t.Parallel()
	var logs lockedBuffer
	c, err := stream.Open(stream.Config{Brokers: []string{"127.0.0.1:1"}}, stream.Options{Log: slog.New(slog.NewTextHandler(&logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.WaitForTopics(ctx, "t"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error doesn't name the broker: %v", err)
	}
	if text := logs.String(); strings.Count(text, "waiting for Kafka and its topics") != 1 {
		t.Errorf("logs: %s", text)
	}
}

// lockedBuffer is written by the client's goroutines while the test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
