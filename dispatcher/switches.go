package dispatcher

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"sync"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// switches holds which subscriptions are paused or disabled. They stand on heed.subscriptions,
// keyed by subscription, so that every dispatcher obeys and a restart changes nothing.
type switches struct {
	mu  sync.Mutex
	set map[string]schemas.SubscriptionSwitch
}

// apply sets a subscriber as its switch stands.
func (x *switches) apply(s *subscriber) {
	x.mu.Lock()
	is := x.set[s.sub.ID]
	x.mu.Unlock()
	s.set(is.Paused, is.Disabled)
}

func (x *switches) put(is schemas.SubscriptionSwitch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.set[is.Subscription] = is
}

// flip writes a switch and obeys it.
func (d *dispatcher) flip(ctx context.Context, is schemas.SubscriptionSwitch) error {
	data, err := json.Marshal(is)
	if err != nil {
		return err
	}
	event := stream.Event{
		ID: rand.Text(), Source: "heed/dispatcher", Type: schemas.SubscriptionSwitched.Type(), Subject: is.Subscription, Time: is.At,
		DataSchema: schemas.SubscriptionSwitched.DataSchema(), ContentType: "application/json", Data: data,
	}
	if _, err := d.writer.Append(ctx, event.Message(schemas.TopicSubscriptions, []byte(is.Subscription))); err != nil {
		return err
	}
	d.obey(is)
	return nil
}

func (d *dispatcher) obey(is schemas.SubscriptionSwitch) {
	d.switches.put(is)
	if s := d.current().byID(is.Subscription); s != nil {
		s.set(is.Paused, is.Disabled)
	}
}

// gone disables a subscription whose endpoint said 410.
func (d *dispatcher) gone(subscription string) {
	is := schemas.SubscriptionSwitch{Subscription: subscription, Disabled: "gone", By: "dispatcher", At: time.Now().UTC()}
	d.switches.put(is)
	d.host.Log.Warn("subscription disabled: its endpoint answered 410", "subscription", subscription)
	d.tasks.Go(func() {
		_ = d.insist(d.hard, "writing to "+schemas.TopicSubscriptions, func(ctx context.Context) error { return d.flip(ctx, is) })
	})
}

// switchesSoFar reads the switches as they stand; deliveries begin only then. It goes on until it
// has them: ok is false only when the stage stops before.
func (d *dispatcher) switchesSoFar(ctx context.Context) (next int64, ok bool) {
	err := d.insist(ctx, "reading "+schemas.TopicSubscriptions, func(ctx context.Context) (err error) {
		next, err = d.client.Replay(ctx, schemas.TopicSubscriptions, 0, stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				d.switched(&records[i])
			}
			return nil
		})
		return err
	})
	return next, err == nil
}

// followSwitches obeys what others switch.
func (d *dispatcher) followSwitches(from int64) func(context.Context) error {
	return func(ctx context.Context) error {
		cursor := d.client.OpenCursor(schemas.TopicSubscriptions, 0, from)
		defer cursor.Close()
		for ctx.Err() == nil {
			batch, err := cursor.Next(ctx, 5*time.Second)
			if err != nil || batch == nil {
				continue
			}
			for i := range batch.Records {
				d.switched(&batch.Records[i])
			}
			batch.Release()
		}
		return nil
	}
}

// switched obeys a record; one that is none of ours is passed by.
func (d *dispatcher) switched(r *stream.Record) {
	var is schemas.SubscriptionSwitch
	if stream.EventType(r) == schemas.SubscriptionSwitched.Type() && json.Unmarshal(r.Value, &is) == nil && is.Subscription != "" {
		d.obey(is)
	}
}
