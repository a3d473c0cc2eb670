package stream

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// An append's deadline needs no timer of its own: one timer stands at the earliest deadline,
// and when it rings every queue is looked through. In good times that is once per deadline's
// length, over the few records that are in flight.

// answerTo is a callback that is due, to be called without the writer's lock.
type answerTo struct {
	done func(Position, error)
	at   Position
	err  error
}

func call(answers []answerTo) {
	for i := range answers {
		answers[i].done(answers[i].at, answers[i].err)
	}
}

// settled marks an item answered, and gives back its room.
func (w *Writer) settled(it *item, at Position, err error) answerTo {
	a := answerTo{it.done, at, err}
	w.release(it)
	return a
}

func (w *Writer) expireAt(deadline int64) {
	if deadline < w.earlier {
		w.earlier = deadline
		w.expiry.Reset(time.Until(time.Unix(0, deadline)))
	}
}

// expire answers what is due.
func (w *Writer) expire() {
	due := now().UnixNano()
	w.sweep(func(it *item) bool { return it.deadline <= due })
}

// abandon answers items whose caller waits no longer.
func (w *Writer) abandon(c *appendCall) {
	w.sweep(func(it *item) bool { return it.call == c })
}

// abandonAll answers everything, after the lanes have ended.
func (w *Writer) abandonAll() { w.sweep(func(*item) bool { return true }) }

// sweep answers ErrUnknown to every item that is due. Where a lane is just encoding one, whose
// bytes the caller must not get back yet, it waits for that: a copy's time.
func (w *Writer) sweep(due func(*item) bool) {
	for {
		answers, encoded := w.take(due)
		call(answers)
		if encoded == nil {
			return
		}
		<-encoded
	}
}

// take takes the items that are due, and sets the timer to the earliest deadline that is left.
// What waits is dropped; what is sealed goes on without its caller. Where an item that is due is
// being encoded, encoded is closed at the end of that.
func (w *Writer) take(due func(*item) bool) (answers []answerTo, encoded <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.earlier = math.MaxInt64
	for _, t := range w.topics {
		t.unplaced = slices.DeleteFunc(t.unplaced, func(it *item) bool {
			if due(it) {
				answers = append(answers, w.settled(it, Position{}, fmt.Errorf("%w: %w: %s", ErrUnknown, ErrNoTopic, t.name)))
				return true
			}
			w.earlier = min(w.earlier, it.deadline)
			return false
		})
		for _, p := range t.partitions {
			p.waiting = slices.DeleteFunc(p.waiting, func(it *item) bool {
				if due(it) {
					answers = append(answers, w.settled(it, Position{}, p.late()))
					return true
				}
				w.earlier = min(w.earlier, it.deadline)
				return false
			})
			if p.batch == nil {
				continue
			}
			for _, it := range p.batch.items {
				switch {
				case it.answered:
				case !due(it):
					w.earlier = min(w.earlier, it.deadline)
				case p.batch.encoding:
					if p.batch.encoded == nil {
						p.batch.encoded = make(chan struct{})
					}
					encoded = p.batch.encoded
				default:
					it.answered = true
					answers = append(answers, answerTo{it.done, Position{}, p.late()})
					it.message = Message{} // its bytes are in the batch, and its caller's again
				}
			}
		}
	}
	if w.earlier != math.MaxInt64 {
		w.expiry.Reset(time.Until(time.Unix(0, w.earlier)))
	}
	return answers, encoded
}

// late is the error of a record of p that was not acknowledged in time.
func (p *partitionQueue) late() error {
	if p.cause == nil {
		return ErrUnknown
	}
	return fmt.Errorf("%w: %w", ErrUnknown, p.cause)
}

// unanswered counts the records whose callers still wait.
func (w *Writer) unanswered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.records
}
