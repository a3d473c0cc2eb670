package stream

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// metrics are the package's instruments. Labels are topics, partitions and groups: bounded by
// the topic table.
type metrics struct {
	meter       metric.Meter
	appends     metric.Int64Counter
	retries     metric.Int64Counter
	lost        metric.Int64Counter
	corrupt     metric.Int64Counter
	generations metric.Int64Counter
	stalled     metric.Int64Counter
}

func newMetrics(m metric.Meter) (*metrics, error) {
	x := &metrics{meter: m}
	for _, one := range []struct {
		counter    *metric.Int64Counter
		name, help string
	}{
		{&x.appends, "heed_kafka_appended_records", "Records acknowledged by all in-sync replicas."},
		{&x.retries, "heed_kafka_append_retries", "Batches sent again."},
		{&x.lost, "heed_kafka_lost_offsets", "Offsets that retention removed before they were read."},
		{&x.corrupt, "heed_kafka_corrupt_batches", "Batches that were fetched but could not be read."},
		{&x.generations, "heed_kafka_group_generations", "Generations of consumer groups that this program has seen."},
		{&x.stalled, "heed_kafka_stalled_partitions", "Times that a partition was found without a fetch while its lag grew."},
	} {
		var err error
		if *one.counter, err = m.Int64Counter(one.name, metric.WithDescription(one.help)); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (x *metrics) appended(n int) { x.appends.Add(context.Background(), int64(n)) }
func (x *metrics) retried(n int)  { x.retries.Add(context.Background(), int64(n)) }

func onTopic(topic string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("topic", topic))
}
