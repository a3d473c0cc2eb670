package stream

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAbandonWaitsForEncoding: the bytes of a message are its caller's again only once no lane
// reads them.
func TestAbandonWaitsForEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := &appendCall{positions: make([]Position, 2), left: 2, done: make(chan struct{})}
		answer := func(i int) func(Position, error) {
			return func(p Position, err error) { mine.settle(i, p, err) }
		}
		others := 0
		p := &partitionQueue{
			waiting: []*item{{call: mine, done: answer(0)}},
			batch: &batch{encoding: true, items: []*item{
				{deadline: time.Now().Add(time.Hour).UnixNano(), done: func(Position, error) { others++ }},
				{call: mine, done: answer(1)},
			}},
		}
		w := &Writer{records: 3, topics: map[string]*topicQueue{"t": {partitions: []*partitionQueue{p}}}}
		w.expiry = time.AfterFunc(time.Hour, func() {})
		defer w.expiry.Stop()
		go w.abandon(mine)
		synctest.Wait()
		if mine.left != 1 || len(p.waiting) != 0 {
			t.Errorf("while it is encoded: %d of 2 are unanswered, %d wait; want the encoded one alone", mine.left, len(p.waiting))
		}
		w.mu.Lock()
		p.batch.ready()
		w.mu.Unlock()
		<-mine.done
		if !errors.Is(mine.err, ErrUnknown) || others != 0 || !p.batch.items[1].answered || p.batch.items[0].answered {
			t.Errorf("after it: %v, %d others answered", mine.err, others)
		}
	})
}
