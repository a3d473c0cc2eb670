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
