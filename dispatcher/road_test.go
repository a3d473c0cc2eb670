package dispatcher_test

import (
	"testing"

	"github.com/heedhq/heed/dispatcher/dispatchertest"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

func TestMain(m *testing.M) {
	dispatchertest.Become()
	m.Run()
}

func TestSuiteOnKfake(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: dispatchertest.Topics(4)})
	dispatchertest.Suite(t, cluster.ListenAddrs())
}
