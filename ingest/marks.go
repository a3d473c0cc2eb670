package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// markEvery is how often a mark goes to every partition: a reader's clock ticks as often.
const markEvery = time.Second

// marks writes this replica's time marks: "whatever this replica accepted before T stands before
// this record". Two facts make that true: T is never later than the receipt of anything that is
// still underway or spooled, and a callback is answered only after its record is acknowledged,
// so it has a smaller offset than a mark that is appended later.
type marks struct {
	replica    string
	kafka      appender
	partitions func(context.Context) (int32, error) // of heed.callbacks
	before     func() time.Time                     // nothing received earlier is still underway or spooled

	acked   atomic.Int64 // when Kafka last acknowledged one, in Unix nanoseconds
	count   atomic.Int64 // of marks, for their ids
	written atomic.Int64 // acknowledged
	failed  atomic.Int64
}

// run writes marks until ctx ends.
func (m *marks) run(ctx context.Context) error {
	m.acked.Store(time.Now().UnixNano())
	tick := time.NewTicker(slotTime)
	defer tick.Stop()
	for i := 0; ; i++ {
		if i%int(markEvery/slotTime) == 0 {
			m.write(ctx, false)
		} else {
			m.before() // moves the clock of what is underway
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// write hands one mark per partition over, and doesn't wait: a partition without a leader must
// not hold up the others. The wait group is done when all are settled.
func (m *marks) write(ctx context.Context, leaving bool) *sync.WaitGroup {
	var settled sync.WaitGroup
	n, err := m.partitions(ctx)
	if err != nil {
		m.failed.Add(1)
		return &settled
	}
	at := m.before()
	// A mark that comes late is worth nothing: the next one says more.
	due := &deadline{Context: context.Background(), at: time.Now().Add(5 * time.Second)}
	for p := range n {
		settled.Add(1)
		err := m.kafka.Enqueue(due, m.message(p, n, at, leaving), func(_ stream.Position, err error) {
			defer settled.Done()
			m.settle(err)
		})
		if err != nil {
			m.settle(err)
			settled.Done()
		}
	}
	return &settled
}

func (m *marks) settle(err error) {
	if err != nil {
		m.failed.Add(1)
		return
	}
	m.written.Add(1)
	m.acked.Store(time.Now().UnixNano())
}

// silence is how long Kafka may acknowledge no mark on any partition until it is told. A broker
// can answer questions and take nothing: its replicas are too few, its disk is full.
const silence = 5 * time.Second

// silent says that Kafka acknowledges nothing, which only shows once run has begun.
func (m *marks) silent() error {
	last := m.acked.Load()
	if last == 0 {
		return nil
	}
	if quiet := time.Since(time.Unix(0, last)); quiet > silence {
		return fmt.Errorf("kafka has acknowledged nothing for %s", quiet.Round(time.Second))
	}
	return nil
}

func (m *marks) message(partition, partitions int32, at time.Time, leaving bool) stream.Message {
	data, err := json.Marshal(schemas.Mark{Replica: m.replica, Partition: partition, Partitions: partitions, Time: at.UTC(), Leaving: leaving})
	if err != nil {
		panic(fmt.Sprintf("ingest: a mark can't be encoded: %v", err)) // it has nothing that could fail
	}
	event := stream.Event{
		ID:          m.replica + "-mark-" + strconv.FormatInt(m.count.Add(1), 36),
		Source:      "heed/ingest",
		Type:        schemas.TimeMark.Type(),
		Time:        at,
		ContentType: "application/json",
		Data:        data,
	}
	message := event.Message(schemas.TopicCallbacks, nil)
	message.To = stream.At(partition)
	return message
}

// leave writes the last marks of a replica that stops with nothing left, and waits for them.
func (m *marks) leave(ctx context.Context) {
	settled := make(chan struct{})
	go func() {
		m.write(ctx, true).Wait()
		close(settled)
	}()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}
