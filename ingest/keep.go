package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// appender is what ingest needs of a stream.Writer. Enqueue MUST call done exactly once unless
// it returns an error, also when ctx ends first.
type appender interface {
	Enqueue(ctx context.Context, m stream.Message, done func(stream.Position, error)) error
}

// store is what ingest needs of a spool. Put returns nil when the message is on the disk;
// Pending says whether something waits to be drained.
type store interface {
	Put(m stream.Message) error
	Pending() bool
}

// keeper brings callbacks where they outlive this process: to Kafka, or else to the spool.
type keeper struct {
	kafka    appender
	spool    store // nil: none
	deadline deadlines
}

// errNotKept says that neither Kafka nor the spool has the callback for certain.
var errNotKept = errors.New("not kept")

// keep returns when the callback is kept, with where; or errNotKept; or stream.ErrTooLarge.
// reusable says that nobody reads the call's buffers any more.
//
// While the spool holds anything, everything goes there: what came later must not overtake what
// waits, and nobody waits for a Kafka that is known to be away.
func (k *keeper) keep(c *call, m stream.Message) (where outcome, reusable bool, err error) {
	if k.spool != nil && k.spool.Pending() {
		if err := k.spool.Put(m); err == nil {
			return spooled, true, nil
		}
		// A full or broken spool is no reason to refuse what Kafka would take.
	}
	err = k.kafka.Enqueue(k.deadline.at(time.Now()), m, c.finish)
	handed := err == nil
	if handed {
		err = <-c.done
	}
	switch {
	case err == nil:
		return appended, true, nil
	case errors.Is(err, stream.ErrTooLarge):
		return tooLarge, true, stream.ErrTooLarge
	case k.spool != nil && k.spool.Put(m) == nil:
		return spooled, !handed, nil
	}
	return notKept, !handed, errNotKept
}

// deadlines hands out contexts that end after a while; requests of the same 32nd of that while
// share one, since a context with a timer of its own costs each callback half a microsecond.
type deadlines struct {
	after time.Duration

	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time
}

// at is a context that ends after d.after, or at most a 32nd of it later.
func (d *deadlines) at(now time.Time) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.until) {
		return d.ctx
	}
	share := d.after / 32
	// The context before ends by itself: requests still wait on it.
	d.ctx, d.cancel = context.WithTimeout(context.Background(), d.after+share)
	d.until = now.Add(share)
	return d.ctx
}

// stop frees the last timer.
func (d *deadlines) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel != nil {
		d.cancel()
	}
}
