package dispatcher

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// item is an event in memory, shared by every delivery of it.
type item struct {
	event     stream.Event
	key       []byte
	headers   []stream.Header // as they stood on the record
	topic     string          // where it stood first
	partition int32
	offset    int64
	time      time.Time // of the record
}

// newItem copies a record out of its fetch buffer.
func newItem(r *stream.Record) (*item, error) {
	own := *r
	own.Key, own.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	own.Headers = make([]stream.Header, len(r.Headers))
	for i, h := range r.Headers {
		own.Headers[i] = stream.Header{Key: h.Key, Value: bytes.Clone(h.Value)}
	}
	event, err := stream.ParseEvent(&own)
	if err != nil {
		return nil, err
	}
	return &item{event: event, key: own.Key, headers: own.Headers, topic: r.Topic, partition: r.Partition, offset: r.Offset, time: r.Time}, nil
}

// size is what the item holds in memory, about.
func (it *item) size() int64 { return int64(len(it.event.Data) + 1024) }

// origin is where a delivery's record was read from: a lane, or a retry tier's partition.
type origin interface {
	// begin says that an attempt starts; false when the partition is no longer ours.
	begin() bool
	// end says that the attempt, and what followed from it, is over. It is called once for
	// every begin that said true.
	end()
	// finish says that the record is done with: taken, parked or dead.
	finish(offset int64)
	// count says how many attempts the record has had.
	count(offset int64, attempts int)
	// shed says that the delivery left the memory without being done: it must come again.
	shed(d *delivery)
}

// delivery is one event on its way to one subscriber.
type delivery struct {
	item         *item
	from         origin
	subscription string
	offset       int64  // of the record at its origin
	chain        string // deliveries of one chain go one after the other; "" is none
	attempts     int    // counted so far
	firstFailed  time.Time
	lastFailed   time.Time
	lastReason   string
	seq          uint64    // order of admission
	due          time.Time // while delayed
	alone        bool      // not to be batched with others: a batch with it was refused
}

// delayed is a heap of deliveries by due time.
type delayed []*delivery

func (h delayed) Len() int           { return len(h) }
func (h delayed) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h delayed) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *delayed) Push(x any)        { *h = append(*h, x.(*delivery)) }
func (h *delayed) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}

// ownHeader says whether a header is the dispatcher's own on retry records and dead letters.
func ownHeader(key string) bool {
	return strings.HasPrefix(key, "heed-") || strings.HasPrefix(key, schemas.HeaderDeadPrefix)
}

// retryMessage is the delivery as a record of a retry tier: the event as it was, and beside it
// whose it is and what it has been through.
func retryMessage(d *delivery, topic string) stream.Message {
	m := originalMessage(d.item, topic)
	m.Headers = append(m.Headers, deliveryHeaders(d)...)
	return m
}

// deadMessage is the delivery as a dead letter.
func deadMessage(d *delivery, class schemas.DeadReason, version string) stream.Message {
	m := retryMessage(d, schemas.TopicDispatchDead)
	first := d.firstFailed
	m.Headers = append(m.Headers, deadHeaders(class, d.lastReason, d.item.topic, d.item.partition, d.item.offset, first, version)...)
	return m
}

// undecodableMessage is a record that is no CloudEvent as a dead letter.
func undecodableMessage(r *stream.Record, why error, at time.Time, version string) stream.Message {
	m := stream.Message{Topic: schemas.TopicDispatchDead, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
	for _, h := range r.Headers {
		if !ownHeader(h.Key) {
			m.Headers = append(m.Headers, stream.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
		}
	}
	m.Headers = append(m.Headers, deadHeaders(schemas.DeadDecode, why.Error(), r.Topic, r.Partition, r.Offset, at, version)...)
	return m
}

func originalMessage(it *item, topic string) stream.Message {
	m := stream.Message{Topic: topic, Key: it.key, Value: it.event.Data}
	for _, h := range it.headers {
		if !ownHeader(h.Key) {
			m.Headers = append(m.Headers, h)
		}
	}
	return m
}

func text(key, value string) stream.Header { return stream.Header{Key: key, Value: []byte(value)} }

func deliveryHeaders(d *delivery) []stream.Header {
	return []stream.Header{
		text(schemas.HeaderSubscription, d.subscription),
		text(schemas.HeaderAttempts, strconv.Itoa(d.attempts)),
		text(schemas.HeaderOriginTopic, d.item.topic),
		text(schemas.HeaderOriginPart, strconv.Itoa(int(d.item.partition))),
		text(schemas.HeaderOriginOffset, strconv.FormatInt(d.item.offset, 10)),
		text(schemas.HeaderFirstFailed, stream.FormatTime(d.firstFailed)),
		text(schemas.HeaderLastReason, d.lastReason),
	}
}

func deadHeaders(class schemas.DeadReason, message, topic string, partition int32, offset int64, first time.Time, version string) []stream.Header {
	return []stream.Header{
		text(schemas.HeaderDeadStage, string(schemas.StageDispatcher)),
		text(schemas.HeaderDeadClass, string(class)),
		text(schemas.HeaderDeadMessage, message),
		text(schemas.HeaderDeadTopic, topic),
		text(schemas.HeaderDeadPartition, strconv.Itoa(int(partition))),
		text(schemas.HeaderDeadOffset, strconv.FormatInt(offset, 10)),
		text(schemas.HeaderDeadFirstFailedAt, stream.FormatTime(first)),
		text(schemas.HeaderDeadVersion, version),
	}
}

// parseRetry reads a retry tier's record.
func parseRetry(r *stream.Record) (subscription string, d *delivery, err error) {
	it, err := newItem(r)
	if err != nil {
		return "", nil, err
	}
	d = &delivery{item: it, offset: r.Offset, lastReason: string(r.Header(schemas.HeaderLastReason))}
	partition, err1 := strconv.ParseInt(string(r.Header(schemas.HeaderOriginPart)), 10, 32)
	offset, err2 := strconv.ParseInt(string(r.Header(schemas.HeaderOriginOffset)), 10, 64)
	attempts, err3 := strconv.Atoi(string(r.Header(schemas.HeaderAttempts)))
	if subscription = string(r.Header(schemas.HeaderSubscription)); subscription == "" || err1 != nil || err2 != nil || err3 != nil {
		return "", nil, fmt.Errorf("the record is not one of a retry tier: its heed- headers are missing or damaged")
	}
	it.topic, it.partition, it.offset = string(r.Header(schemas.HeaderOriginTopic)), int32(partition), offset
	d.attempts = attempts
	if first, err := time.Parse(time.RFC3339Nano, string(r.Header(schemas.HeaderFirstFailed))); err == nil {
		d.firstFailed = first
	}
	return subscription, d, nil
}
