package stream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/test/stack"
)

// replicated opens three nodes with a topic on all of them. A dead node is fenced after 3 s
// instead of 9, so that the test is over sooner; until then no append is acknowledged.
func replicated(t *testing.T) (*stack.Cluster, *stream.Client) {
	t.Helper()
	stack.Require(t)
	cluster := stack.Kafka(t, stack.Nodes(3), stack.Set("broker.session.timeout.ms", "3000"), stack.Set("controller.socket.timeout.ms", "2000"), stack.Set("replica.socket.timeout.ms", "2000"))
	client := streamtest.Open(t, cluster.Brokers())
	ctx := streamtest.Context(t, 60*time.Second)
	if err := client.CreateTopics(ctx, stream.TopicSpec{Name: "t", Partitions: 6, Replication: 3, Config: map[string]string{"min.insync.replicas": "2"}}); err != nil {
		t.Fatal(err)
	}
	if err := client.WaitForTopics(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	return cluster, client
}

func TestWriterWhileNodesDie(t *testing.T) {
	cluster, client := replicated(t)
	flow := streamtest.StartFlow(t, client, "t", 200, 60*time.Second)
	for _, node := range cluster.Nodes[:2] {
		flow.Acked(200, 30*time.Second)
		node.Kill()
		flow.Acked(200, 60*time.Second)
		node.Restart()
	}
	flow.Acked(200, 60*time.Second)
	flow.Check()
}

func TestWriterWhileANodeIsFrozen(t *testing.T) {
	cluster, client := replicated(t)
	flow := streamtest.StartFlow(t, client, "t", 200, 60*time.Second)
	flow.Acked(200, 30*time.Second)
	cluster.Nodes[1].Stop()
	flow.Acked(200, 60*time.Second)
	cluster.Nodes[1].Continue()
	flow.Acked(200, 60*time.Second)
	flow.Check()
}

// TestGroupWhileNodesDie reads with two members while a node is killed, perhaps the
// coordinator, and another frozen. At-least-once is what stands then: nothing may be missing.
func TestGroupWhileNodesDie(t *testing.T) {
	cluster, client := replicated(t)
	ctx := streamtest.Context(t, 150*time.Second)
	seen := make(chan string, 10_000)
	members, stop := context.WithCancel(ctx)
	left := make(chan error, 2)
	for range 2 {
		c := streamtest.Open(t, cluster.Brokers())
		go func() {
			left <- stream.Consume(members, c, stream.GroupOptions{Group: "g", Topics: []string{"t"}}, func(ctx context.Context, part *stream.Assigned) error {
				for {
					b, err := part.Next(ctx)
					if errors.Is(err, stream.ErrRevoked) {
						return nil
					}
					if err != nil {
						return err
					}
					for i := range b.Records {
						seen <- string(b.Records[i].Value)
						part.Done(b.Records[i].Offset)
					}
					b.Release()
				}
			})
		}()
	}
	w := stream.NewWriter(client, stream.WriterOptions{})
	want, twice := map[string]bool{}, 0
	pass := func(what string) {
		t.Helper()
		for i := range 300 {
			value := fmt.Sprint(what, i)
			if _, err := w.Append(ctx, stream.Message{Topic: "t", Key: []byte(value), Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
			want[value] = true
		}
		start := time.Now()
		for len(want) > 0 {
			select {
			case v := <-seen:
				if !want[v] {
					twice++
				}
				delete(want, v)
			case <-ctx.Done():
				t.Fatalf("%s: %d records are missing", what, len(want))
			}
		}
		t.Logf("%s: all records came after %s", what, time.Since(start).Round(time.Millisecond))
	}
	pass("all run")
	cluster.Nodes[0].Kill()
	pass("one is dead")
	cluster.Nodes[0].Restart()
	pass("it is back")
	cluster.Nodes[2].Stop()
	pass("one is frozen")
	cluster.Nodes[2].Continue()
	pass("it goes on")
	t.Logf("%d records came twice", twice)
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	stop()
	for range 2 {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
}

// TestTLSAndSASL speaks every mechanism to a listener that asks for a client certificate too.
func TestTLSAndSASL(t *testing.T) {
	stack.Require(t)
	cluster := stack.Kafka(t, stack.MutualTLS(), stack.SASL())
	base := stream.Config{Brokers: cluster.Brokers(), TLS: true, CAFile: cluster.CA, CertFile: cluster.ClientCert, KeyFile: cluster.ClientKey, User: stack.User, Password: stack.Password}
	for i, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		cfg := base
		cfg.Mechanism = mechanism
		client := streamtest.OpenWith(t, cfg)
		ctx, stop := context.WithTimeout(t.Context(), 40*time.Second)
		defer stop()
		topic := fmt.Sprint("t", i)
		if err := client.CreateTopics(ctx, stream.TopicSpec{Name: topic, Partitions: 2, Replication: 1}); err != nil {
			t.Fatal(mechanism, err)
		}
		w := stream.NewWriter(client, stream.WriterOptions{})
		if _, err := w.Append(ctx, stream.Message{Topic: topic, Value: []byte("v")}); err != nil {
			t.Fatal(mechanism, err)
		}
		members, leave := context.WithCancel(ctx)
		err := stream.Consume(members, client, stream.GroupOptions{Group: topic, Topics: []string{topic}}, func(ctx context.Context, part *stream.Assigned) error {
			for {
				b, err := part.Next(ctx)
				if errors.Is(err, stream.ErrRevoked) {
					return nil
				}
				if err != nil {
					return err
				}
				part.Done(b.Records[0].Offset)
				b.Release()
				leave()
			}
		})
		if err != nil {
			t.Fatal(mechanism, err)
		}
		leave()
		if err := w.Close(ctx); err != nil {
			t.Error(mechanism, err)
		}
	}
	for name, spoil := range map[string]func(*stream.Config){
		"wrong password":        func(c *stream.Config) { c.Password = "wrong" },
		"no client certificate": func(c *stream.Config) { c.CertFile, c.KeyFile = "", "" },
		"unknown authority":     func(c *stream.Config) { c.CAFile = "" },
		"no TLS":                func(c *stream.Config) { c.TLS, c.CAFile, c.CertFile, c.KeyFile = false, "", "", "" },
	} {
		cfg := base
		cfg.Mechanism = "SCRAM-SHA-512"
		spoil(&cfg)
		client := streamtest.OpenWith(t, cfg)
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Second)
		err := client.Reachable(ctx)
		stop()
		if err == nil {
			t.Errorf("%s: reachable", name)
		}
		t.Logf("%s: %v", name, err)
	}
}
