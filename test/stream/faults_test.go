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

// TestNodeLossOnKafka: a dead node is fenced after 3 s instead of 9, so that the test is over
// sooner.
func TestNodeLossOnKafka(t *testing.T) {
	stack.Require(t)
	streamtest.NodeLoss(t, func(t *testing.T) streamtest.Mortal {
		cluster := stack.Kafka(t, stack.Nodes(3), stack.Set("broker.session.timeout.ms", "3000"), stack.Set("controller.socket.timeout.ms", "2000"), stack.Set("replica.socket.timeout.ms", "2000"))
		kill := func(n *stack.Node) streamtest.Loss {
			return streamtest.Loss{Name: "one is dead", Lose: n.Kill, Regain: n.Restart}
		}
		freeze := func(n *stack.Node) streamtest.Loss {
			return streamtest.Loss{Name: "one is frozen", Lose: n.Stop, Regain: n.Continue}
		}
		return streamtest.Mortal{
			Brokers: cluster.Brokers(), Silence: 30 * time.Second,
			Losses: []streamtest.Loss{kill(cluster.Nodes[0]), kill(cluster.Nodes[1]), freeze(cluster.Nodes[2])},
		}
	})
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
