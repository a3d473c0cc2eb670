// Package consent runs the consent stage's suite against Apache Kafka and real Redis: flushed,
// restarted empty and restored from an old snapshot under load.
package consent

import (
	"testing"

	"github.com/heedhq/heed/consent"
	"github.com/heedhq/heed/consent/consenttest"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// servers gives each test a Kafka and a Redis of its own.
type servers struct{ redis *stack.OwnServer }

func (s *servers) open(t testing.TB) ([]string, string) {
	stack.Require(t)
	s.redis = stack.Redis(t)
	return stack.Kafka(t).Brokers(), s.redis.URL()
}

func TestRoadOnKafkaAndRedis(t *testing.T) {
	stack.Require(t)
	s := &servers{}
	consenttest.Run(t, consenttest.Servers{
		Open: s.open, Stage: consent.Stage,
		RestartEmpty: func(testing.TB) { s.redis.RestartEmpty() },
		Snapshot: func(testing.TB) func(testing.TB) {
			restore := s.redis.Save()
			return func(testing.TB) { restore() }
		},
	})
}

// BenchmarkStopToDeny: STOP acknowledged on heed.inbound → deny, at 200 STOPs a second.
func BenchmarkStopToDeny(b *testing.B) {
	s := &servers{}
	r := consenttest.Begin(b, consenttest.Servers{Open: s.open, Stage: consent.Stage})
	r.Latency(200, 200) // warm up
	for b.Loop() {
		took := r.Latency(400, 200)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
}
