package stream

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// fetchVersion is Kafka 2.3's, the last before topic ids; Kafka 4 still takes it.
const fetchVersion = 11

// wantedRange says what to fetch of one partition.
type wantedRange struct {
	topic     string
	partition int32
	from      int64
	maxBytes  int
}

// fetched is a broker's answer for one partition.
type fetched struct {
	code     int16
	end      int64   // the high watermark
	first    int64   // the log's start
	raw      *[]byte // record batches, the last of them perhaps cut off; nil if none
	answered bool
}

// fetch asks one broker for many partitions in one request, which are grouped by topic. The
// broker answers at once when it has anything, else after wait.
func (c *Client) fetch(ctx context.Context, broker int32, wanted []wantedRange, wait time.Duration) ([]fetched, error) {
	b := requestHeader(make([]byte, 0, 64+len(wanted)*48), protocol.Fetch, fetchVersion, c.clientID)
	b = be.AppendUint32(b, 0xffffffff) // no replica
	b = be.AppendUint32(b, uint32(wait.Milliseconds()))
	b = be.AppendUint32(b, 1) // at least one byte: never wait for more
	total := 0
	for _, p := range wanted {
		total += p.maxBytes
	}
	b = be.AppendUint32(b, uint32(min(total, maxFetch)))
	b = append(b, 0)                   // read uncommitted: Heed has no transactions
	b = be.AppendUint32(b, 0)          // no fetch session
	b = be.AppendUint32(b, 0xffffffff) // its epoch
	topics := len(b)
	b = be.AppendUint32(b, 0)
	for i := 0; i < len(wanted); {
		topic := wanted[i].topic
		b = appendText(b, topic)
		n := len(b)
		b = be.AppendUint32(b, 0)
		for ; i < len(wanted) && wanted[i].topic == topic; i++ {
			p := &wanted[i]
			b = be.AppendUint32(b, uint32(p.partition))
			b = be.AppendUint32(b, 0xffffffff) // leader epoch: not compared
			b = be.AppendUint64(b, uint64(p.from))
			b = be.AppendUint64(b, 0xffffffffffffffff) // log start: only of followers
			b = be.AppendUint32(b, uint32(p.maxBytes))
			be.PutUint32(b[n:], be.Uint32(b[n:])+1)
		}
		be.PutUint32(b[topics:], be.Uint32(b[topics:])+1)
	}
	b = be.AppendUint32(b, 0) // no forgotten topics
	b = appendText(b, "")     // no rack

	answers := make([]fetched, len(wanted))
	x := &exchange{key: protocol.Fetch, broker: broker, write: finishRequest(b)}
	x.read = func(r *responseReader) error { return readFetch(r, wanted, answers) }
	if _, err := c.roundTrip(ctx, x); err != nil {
		return nil, err // the connection may still be reading into answers: hands off
	}
	return answers, nil
}

// maxFetch bounds one response whatever the number of partitions.
const maxFetch = 64 << 20

func readFetch(r *responseReader, wanted []wantedRange, answers []fetched) error {
	r.int32() // throttle: the broker itself delays
	if code := r.int16(); code != 0 && r.err == nil {
		return kafka.Error(code)
	}
	r.int32() // session
	for range r.count() {
		topic := r.text()
		for range r.count() {
			partition := r.int32()
			a := fetched{code: r.int16(), end: r.int64(), answered: true}
			r.int64() // last stable offset
			a.first = r.int64()
			for range r.count() {
				r.int64() // an aborted transaction's producer
				r.int64() // and first offset
			}
			r.int32() // preferred replica
			if n := r.count(); n > 0 {
				a.raw = takeBuffer(n)
				*a.raw = (*a.raw)[:n]
				r.bytes(*a.raw)
			}
			placed := false
			for i := range wanted {
				if wanted[i].partition == partition && wanted[i].topic == topic && !answers[i].answered {
					answers[i], placed = a, true
					break
				}
			}
			if !placed && a.raw != nil {
				giveBuffer(a.raw)
			}
		}
	}
	return r.err
}

// offsetAt asks a partition's leader for an offset: of FirstOffset, LastOffset, or of the first
// record that is not older than a time in milliseconds; -1 where there is none.
func (c *Client) offsetAt(ctx context.Context, topic string, partition int32, at int64) (int64, error) {
	offsets, err := c.offsetsAt(ctx, topic, []int32{partition}, at)
	if err != nil {
		return 0, err
	}
	return offsets[partition], nil
}

// offsetsAt asks for several partitions of one topic, one request a leader, until all have
// answered or ctx ends.
func (c *Client) offsetsAt(ctx context.Context, topic string, partitions []int32, at int64) (map[int32]int64, error) {
	offsets := make(map[int32]int64, len(partitions))
	pause := backoff{floor: 20 * time.Millisecond, ceiling: 500 * time.Millisecond}
	for {
		t, err := c.topic(ctx, topic)
		if err != nil {
			return nil, err
		}
		byLeader := map[int32][]int32{}
		for _, p := range partitions {
			if _, done := offsets[p]; !done {
				leader := noLeader
				if int(p) < len(t.leaders) {
					leader = t.leaders[p]
				}
				byLeader[leader] = append(byLeader[leader], p)
			}
		}
		for leader, mine := range byLeader {
			if leader == noLeader {
				err = kafka.LeaderNotAvailable
				continue
			}
			if e := c.listOffsets(ctx, leader, topic, mine, at, offsets); e != nil {
				err = e
			}
		}
		if len(offsets) == len(partitions) {
			return offsets, nil
		}
		if !pause.wait(ctx) {
			return nil, err
		}
		_ = c.refresh(ctx)
	}
}

func (c *Client) listOffsets(ctx context.Context, broker int32, topic string, partitions []int32, at int64, into map[int32]int64) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	t := listoffsets.RequestTopic{Topic: topic}
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, listoffsets.RequestPartition{Partition: p, CurrentLeaderEpoch: -1, Timestamp: at})
	}
	res, err := ask[*listoffsets.Response](ctx, c, broker, &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{t}})
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				err = kafka.Error(p.ErrorCode)
				continue
			}
			into[p.Partition] = p.Offset
		}
	}
	return err
}
