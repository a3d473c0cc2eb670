package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// produceVersion is Kafka 2.4's: the first that says which record of a batch is bad. Kafka 4
// still takes it.
const produceVersion = 8

// produceResult is a broker's answer for one partition.
type produceResult struct {
	code int16
	base int64   // offset of the first record
	bad  []int32 // indexes of records that were refused
}

// verdict is what becomes of a batch.
type verdict int

const (
	acked          verdict = iota
	retry                  // the same bytes, to the same broker
	retryElsewhere         // the same bytes, after a look at who leads the partition
	newProducer            // under a new producer id
	split                  // in smaller batches
	refused                // not at all
)

// judge decides on the code of a produce response (protocol guide, "error codes"; the producer
// part of KIP-98).
func judge(code int16) verdict {
	switch kafka.Error(code) {
	case 0, kafka.DuplicateSequenceNumber:
		return acked
	case kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.UnknownTopicOrPartition, kafka.ReplicaNotAvailable,
		kafka.KafkaStorageError, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.BrokerNotAvailable, kafka.NetworkException,
		kafka.UnknownTopicID, kafka.InconsistentTopicID:
		return retryElsewhere
	case kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerId, kafka.InvalidProducerEpoch, kafka.ProducerFenced, kafka.InvalidProducerIDMapping:
		return newProducer
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge:
		return split
	case kafka.InvalidRecord, kafka.InvalidTimestamp, kafka.InvalidTopic, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed,
		kafka.PolicyViolation, kafka.UnsupportedCompressionType, kafka.UnsupportedForMessageFormat, kafka.UnsupportedVersion,
		kafka.InvalidRequiredAcks, kafka.InvalidRequest, kafka.TransactionalIDAuthorizationFailed:
		return refused
	}
	// REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS and its AFTER_APPEND, CORRUPT_MESSAGE, a loading
	// coordinator, quotas, and whatever comes to exist: the bytes are safe to repeat.
	return retry
}

// appendProduce encodes one request with the batches of all partitions given, which are
// grouped by topic. Large batches are not copied but inserted.
func appendProduce(b []byte, clientID string, sent []*partitionQueue, timeout time.Duration) ([]byte, []insert) {
	var large []insert
	b = requestHeader(b, protocol.Produce, produceVersion, clientID)
	b = be.AppendUint16(b, 0xffff) // no transaction
	b = be.AppendUint16(b, 0xffff) // acks = -1: all in-sync replicas
	b = be.AppendUint32(b, uint32(timeout.Milliseconds()))
	groupByTopic(sent)
	topics := len(b)
	b = be.AppendUint32(b, 0)
	for i := 0; i < len(sent); {
		topic := sent[i].topic
		b = appendText(b, topic.name)
		n := len(b)
		b = be.AppendUint32(b, 0)
		for ; i < len(sent) && sent[i].topic == topic; i++ {
			b = be.AppendUint32(b, uint32(sent[i].partition))
			records := *sent[i].batch.bytes
			b = be.AppendUint32(b, uint32(len(records)))
			if len(records) >= insertFrom {
				large = append(large, insert{len(b), records})
			} else {
				b = append(b, records...)
			}
			be.PutUint32(b[n:], be.Uint32(b[n:])+1)
		}
		be.PutUint32(b[topics:], be.Uint32(b[topics:])+1)
	}
	return finishRequest(b, large...), large
}

// insertFrom is the size from which a write of its own costs less than a copy.
const insertFrom = 32 << 10

// groupByTopic brings partitions of one topic together, in the order of first appearance. A
// lane has a handful of topics, and most requests one.
func groupByTopic(sent []*partitionQueue) {
	for i := 1; i < len(sent); i++ {
		if sent[i].topic == sent[i-1].topic {
			continue
		}
		for j := i + 1; j < len(sent); j++ {
			if sent[j].topic == sent[i-1].topic {
				sent[i], sent[j] = sent[j], sent[i]
				break
			}
		}
	}
}

// produce sends an encoded request and returns the results in the order of sent.
func (c *Client) produce(ctx context.Context, broker int32, request []byte, large []insert, sent []*partitionQueue) ([]produceResult, error) {
	results := make([]produceResult, len(sent))
	answered := 0
	x := &exchange{key: protocol.Produce, broker: broker, write: request, large: large}
	x.read = func(r *responseReader) error {
		for range r.count() {
			topic := r.text()
			for range r.count() {
				partition := r.int32()
				result := produceResult{code: r.int16(), base: r.int64()}
				r.int64() // log append time
				r.int64() // log start offset
				for range r.count() {
					result.bad = append(result.bad, r.int32())
					r.text()
				}
				r.text() // the broker's words, which may quote the record
				for i, p := range sent {
					if p.partition == partition && p.topic.name == topic {
						results[i] = result
						answered++
						break
					}
				}
			}
		}
		r.int32() // throttle: the broker itself delays our next request
		return nil
	}
	if _, err := c.roundTrip(ctx, x); err != nil {
		return nil, err
	}
	if answered != len(sent) {
		return nil, fmt.Errorf("the broker answered for %d of %d partitions", answered, len(sent))
	}
	return results, nil
}
