// Package dispatcher runs the dispatcher's suite on real Apache Kafka.
package dispatcher

import (
	"testing"
	"time"

	"github.com/heedhq/heed/dispatcher/dispatchertest"
	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) {
	dispatchertest.Become()
	stack.Main(m)
}

func TestSuiteOnRealKafka(t *testing.T) {
	stack.Require(t)
	cluster := stack.Kafka(t)
	client := streamtest.Open(t, cluster.Brokers())
	ctx := streamtest.Context(t, 60*time.Second)
	topics := dispatchertest.Topics(4)
	names := make([]string, len(topics))
	for i, topic := range topics {
		names[i] = topic.Name
	}
	if err := client.CreateTopics(ctx, topics...); err != nil {
		t.Fatal(err)
	}
	if err := client.WaitForTopics(ctx, names...); err != nil {
		t.Fatal(err)
	}
	dispatchertest.Suite(t, cluster.Brokers())
}
