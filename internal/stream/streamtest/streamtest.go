// Package streamtest helps to test what reads and writes Kafka: a broker inside the test's
// process, a client for it, and the suite that every cluster must pass (Suite), kfake as well
// as Apache Kafka.
//
// It is for tests only; devbroker is the same broker for programs.
package streamtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
)

// Kfake opens a broker with topics for the length of the test and returns its addresses.
func Kfake(t testing.TB, topics ...stream.TopicSpec) []string {
	t.Helper()
	return Cluster(t, devbroker.Options{Topics: topics}).ListenAddrs()
}

// Cluster opens a broker whose faults the test can steer (kfake's Fault, ControlKey,
// MoveTopicPartition and so on).
func Cluster(t testing.TB, o devbroker.Options) *kfake.Cluster {
	t.Helper()
	cluster, err := devbroker.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

// Open opens a client for the length of the test; it logs to the test.
func Open(t testing.TB, brokers []string) *stream.Client {
	t.Helper()
	return OpenWith(t, stream.Config{Brokers: brokers})
}

// OpenWith opens a client with a configuration of its own.
func OpenWith(t testing.TB, cfg stream.Config) *stream.Client {
	t.Helper()
	client, err := stream.Open(cfg, stream.Options{ClientID: "test", Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// Context ends after d, or when the test does.
func Context(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// Read reads all records that a topic holds now, partition by partition.
func Read(t testing.TB, c *stream.Client, topic string) []stream.Record {
	t.Helper()
	ctx := Context(t, 30*time.Second)
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []stream.Record
	for p := range n {
		_, err := c.Replay(ctx, topic, p, stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				all = append(all, records[i].Clone())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
