package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// producerSession is a producer id from the cluster; per partition it counts records.
type producerSession struct {
	id    int64
	epoch int16
}

// sequenceState is where a partition stands in its session.
type sequenceState struct {
	session *producerSession
	count   int32 // the next sequence number
}

// next takes n sequence numbers, of id's session: a partition changes sessions only here, when
// nothing of the old one is left to be repeated.
func (s *sequenceState) next(id *producerSession, n int) sequence {
	if s.session != id {
		*s = sequenceState{session: id}
	}
	seq := sequence{id.id, id.epoch, s.count}
	s.count = (s.count + int32(n)) & 0x7fffffff // wraps to 0, as in Java
	return seq
}

// back returns n sequence numbers that the broker has not taken.
func (s *sequenceState) back(n int) { s.count = (s.count - int32(n)) & 0x7fffffff }

// producerID gets the writer's session when it is first needed, and again when it is lost.
type producerID struct {
	session atomic.Pointer[producerSession]
	asking  sync.Mutex // held over the network; nobody who holds the writer's lock takes it
}

// get returns the session. It waits for Kafka as long as it takes, and fails only when the
// writer is closed: meanwhile records wait and expire.
func (p *producerID) get(w *Writer) (*producerSession, error) {
	if s := p.session.Load(); s != nil {
		return s, nil
	}
	p.asking.Lock()
	defer p.asking.Unlock()
	// The first request of a cluster's life takes some 200 ms: its coordinator is loading.
	pause := backoff{floor: 20 * time.Millisecond, ceiling: time.Second}
	for {
		if s := p.session.Load(); s != nil {
			return s, nil
		}
		session, err := w.client.initProducer(w.ctx)
		if err == nil {
			p.session.Store(session)
			return session, nil
		}
		if pause.tries == 6 {
			w.client.log.Warn("no producer id yet; records wait", "error", err)
		}
		if !pause.wait(w.ctx) {
			return nil, w.ctx.Err()
		}
	}
}

// drop forgets a session that a broker has refused.
func (p *producerID) drop(refused *producerSession) { p.session.CompareAndSwap(refused, nil) }

func (c *Client) initProducer(ctx context.Context) (*producerSession, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	res, err := ask[*initproducerid.Response](ctx, c, anyBroker, &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return nil, err
	}
	if res.ErrorCode != 0 {
		return nil, kafka.Error(res.ErrorCode)
	}
	if res.ProducerID < 0 {
		return nil, errors.New("the broker gave no producer id")
	}
	return &producerSession{res.ProducerID, res.ProducerEpoch}, nil
}
