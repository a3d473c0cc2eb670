package streamtest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// Mortal is a cluster of three nodes or more that loses some for a time.
type Mortal struct {
	Brokers []string
	Losses  []Loss // one after the other
	// Silence is how long the cluster may need to notice that a node is gone; until then no append
	// is acknowledged.
	Silence time.Duration
}

// Loss is a way to lose a node.
type Loss struct {
	Name         string
	Lose, Regain func()
}

// NodeLoss is what every cluster must pass while nodes are lost and come back, beside Suite: no
// acknowledged record is lost or stands twice, and a group reads every one. Each test breaks a
// cluster of its own.
func NodeLoss(t *testing.T, open func(*testing.T) Mortal) {
	for name, test := range map[string]func(*bench, string, Mortal){"Writer": testWriterNodeLoss, "Group": testGroupNodeLoss} {
		t.Run(name, func(t *testing.T) {
			mortal := open(t)
			b := &bench{T: t, brokers: mortal.Brokers, client: Open(t, mortal.Brokers), ctx: Context(t, 150*time.Second), name: fmt.Sprintf("loss-%08x", rand.Uint32())}
			topic := b.name + "-t"
			if err := b.client.CreateTopics(b.ctx, stream.TopicSpec{Name: topic, Partitions: 6, Replication: 3, Config: map[string]string{"min.insync.replicas": "2"}}); err != nil {
				t.Fatal(err)
			}
			if err := b.client.WaitForTopics(b.ctx, topic); err != nil {
				t.Fatal(err)
			}
			test(b, topic, mortal)
		})
	}
}

// testWriterNodeLoss: appends go on, and none fails.
func testWriterNodeLoss(b *bench, topic string, mortal Mortal) {
	within := 30*time.Second + mortal.Silence
	flow := StartFlow(b, b.client, topic, 200, 30*time.Second+mortal.Silence)
	for _, loss := range mortal.Losses {
		flow.Acked(200, within)
		loss.Lose()
		flow.Acked(200, within)
		loss.Regain()
	}
	flow.Acked(200, within)
	flow.Check()
}

// testGroupNodeLoss reads with two members; the node that goes may be their coordinator. At
// least once is what stands then: nothing may be missing.
func testGroupNodeLoss(b *bench, topic string, mortal Mortal) {
	l := newLedger()
	o := stream.GroupOptions{Group: b.name, Topics: []string{topic}}
	b.member(o, l.work)
	b.member(o, l.work)
	w := b.writer(stream.WriterOptions{})
	want := 0
	pass := func(what string) {
		b.Helper()
		for range 300 {
			value := fmt.Append(nil, want)
			b.append(w, stream.Message{Topic: topic, Key: value, Value: value})
			want++
		}
		start := time.Now()
		if !l.wait(b.ctx, want) {
			l.mu.Lock()
			defer l.mu.Unlock()
			b.Fatalf("%s: %d records are missing", what, want-len(l.seen))
		}
		b.Logf("%s: all records came after %s", what, time.Since(start).Round(time.Millisecond))
	}
	pass("all run")
	for _, loss := range mortal.Losses {
		loss.Lose()
		pass(loss.Name)
		loss.Regain()
		pass("it is back")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	twice := 0
	for _, n := range l.seen {
		twice += n - 1
	}
	b.Logf("%d records came twice", twice)
}
