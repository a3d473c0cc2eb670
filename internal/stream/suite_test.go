package stream_test

import (
	"testing"

	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

func TestSuiteOnKfake(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 3, Configs: map[string]string{"log.cleaner.backoff.ms": "500"}})
	streamtest.Suite(t, cluster.ListenAddrs())
}

func TestNodeLossOnKfake(t *testing.T) {
	streamtest.NodeLoss(t, func(t *testing.T) streamtest.Mortal {
		cluster := streamtest.Cluster(t, devbroker.Options{Nodes: 3})
		remove := func(node, newcomer int32) streamtest.Loss {
			return streamtest.Loss{
				Name: "one is removed",
				Lose: func() {
					if err := cluster.RemoveNode(node); err != nil {
						t.Fatal(err)
					}
				},
				Regain: func() {
					if _, _, err := cluster.AddNode(newcomer, 0); err != nil {
						t.Fatal(err)
					}
					cluster.ShufflePartitionLeaders()
				},
			}
		}
		return streamtest.Mortal{Brokers: cluster.ListenAddrs(), Losses: []streamtest.Loss{remove(1, 7), remove(2, 8)}}
	})
}
