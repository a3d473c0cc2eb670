// Package devbroker opens a Kafka broker inside this process (kfake), for heed-demo and for
// tests. It is not replicated and not for production: no production binary may link it.
package devbroker

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/heedhq/heed/internal/stream"
)

// Options say what broker to open. Zero values are usable.
type Options struct {
	Nodes   int                // default 1
	Topics  []stream.TopicSpec // created; replication is as many as there are nodes
	DataDir string             // keeps everything there; empty: in memory
	Ports   []int              // one per node; empty: free ones
	Configs map[string]string  // of the broker
	Extra   []kfake.Opt
}

// Open opens a broker. Cluster.ListenAddrs are its addresses; Cluster.Close ends it.
func Open(o Options) (*kfake.Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	// Retention and compaction run each hour by default, which would let a long demo grow.
	configs := map[string]string{"log.cleaner.backoff.ms": "30000"}
	maps.Copy(configs, o.Configs)
	opts := []kfake.Opt{kfake.NumBrokers(o.Nodes), kfake.BrokerConfigs(configs)}
	if o.DataDir != "" {
		opts = append(opts, kfake.DataDir(o.DataDir))
	}
	if len(o.Ports) > 0 {
		opts = append(opts, kfake.Ports(o.Ports...))
	}
	cluster, err := kfake.NewCluster(append(opts, o.Extra...)...)
	if err != nil {
		return nil, fmt.Errorf("opening the development broker: %w", err)
	}
	if err := create(cluster, o.Topics, o.Nodes); err != nil {
		cluster.Close()
		return nil, fmt.Errorf("opening the development broker: %w", err)
	}
	return cluster, nil
}

func create(cluster *kfake.Cluster, topics []stream.TopicSpec, nodes int) error {
	if len(topics) == 0 {
		return nil
	}
	client, err := stream.Open(stream.Config{Brokers: cluster.ListenAddrs()}, stream.Options{ClientID: "devbroker"})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	names := make([]string, len(topics))
	specs := make([]stream.TopicSpec, len(topics))
	for i, t := range topics {
		t.Replication = min(max(t.Replication, 1), nodes)
		names[i], specs[i] = t.Name, t
	}
	if err := client.CreateTopics(ctx, specs...); err != nil {
		return err
	}
	return client.WaitForTopics(ctx, names...)
}
