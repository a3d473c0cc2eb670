package dispatcher_test

import (
	"testing"
	"time"

	"github.com/heedhq/heed/dispatcher/dispatchertest"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

func TestRoad(t *testing.T) {
	cluster := streamtest.Cluster(t, devbroker.Options{Topics: dispatchertest.Topics(4)})
	s := dispatchertest.NewStand(t, cluster.ListenAddrs())
	sink := dispatchertest.NewSink(t, nil)
	s.Send("early", 0, 10)
	s.Start(dispatchertest.Subscription("a", "early", sink.URL, "start: earliest"))
	sink.AwaitAll(t, 20*time.Second, "early", 0, 10)
	s.Send("early", 10, 300)
	sink.AwaitAll(t, 20*time.Second, "early", 0, 300)
}
