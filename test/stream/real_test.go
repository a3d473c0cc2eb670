// Package stream runs internal/stream's suite against Apache Kafka, and breaks clusters under
// it: killed and frozen nodes, TLS and SASL listeners.
package stream

import (
	"testing"

	"github.com/heedhq/heed/internal/stream/streamtest"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

func TestSuiteOnKafka(t *testing.T) {
	stack.Require(t)
	cluster := stack.Kafka(t, stack.Set("log.cleaner.backoff.ms", "500"), stack.Set("log.retention.check.interval.ms", "1000"))
	streamtest.Suite(t, cluster.Brokers())
}
