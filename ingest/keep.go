package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// appender is what ingest needs of a stream.Writer. Enqueue MUST call done exactly once unless it
// returns an error, at ctx's deadline at the latest, and not read the message after that.
type appender interface {
	Enqueue(ctx context.Context, m stream.Message, done func(stream.Position, error)) error
}

// store is what ingest needs of a spool. Put returns nil when the message is on the disk, and
// answers by until; Pending says whether something waits to be drained.
type store interface {
	Put(m stream.Message, until time.Time) error
	Pending() bool
}

// keeper brings callbacks where they outlive this process: to Kafka, or else to the spool.
type keeper struct {
	kafka appender
	spool store         // nil: none
	after time.Duration // how long Kafka has for its acknowledgement
}

// errNotKept says that neither Kafka nor the spool has the callback for certain.
var errNotKept = errors.New("not kept")

// keep returns when the callback is kept, with where; or errNotKept with the reasons; or
// stream.ErrTooLarge. It takes no longer than the answer budget, disk and Kafka together.
// When it returns nobody reads the call's buffers any more.
//
// While the spool holds anything, everything goes there: what came later must not overtake what
// waits, and nobody waits for a Kafka that is known to be away.
func (k *keeper) keep(c *call, m stream.Message) (outcome, error) {
	until := m.Time.Add(answerBudget)
	if k.spool != nil && k.spool.Pending() {
		if k.spool.Put(m, until) == nil {
			return spooled, nil
		}
		// A full or broken spool is no reason to refuse what Kafka would take.
	}
	c.deadline.at = m.Time.Add(k.after)
	err := k.kafka.Enqueue(&c.deadline, m, c.finish)
	if err == nil {
		err = <-c.done
	}
	switch {
	case err == nil:
		return appended, nil
	case errors.Is(err, stream.ErrTooLarge):
		return tooLarge, stream.ErrTooLarge
	case k.spool == nil:
		return notKept, fmt.Errorf("%w: Kafka: %w", errNotKept, err)
	}
	if full := k.spool.Put(m, until); full != nil {
		return notKept, fmt.Errorf("%w: Kafka: %w; spool: %w", errNotKept, err, full)
	}
	return spooled, nil
}

// deadline is a context that has a deadline and nothing else, which is all that the writer
// wants of it: a real one, with its timer, costs each callback half a microsecond. It is never
// Done by itself.
type deadline struct {
	context.Context
	at time.Time
}

// Deadline is when the append's time is over.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }
