package consent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// confirmWithin is how long a confirmation of a STOP may still be sent: 47 CFR
// 64.1200(a)(12).
const confirmWithin = 5 * time.Minute

// publish publishes every change that waits in the outbox, in the order of the facts, and the
// side effects; then it empties the outbox. Cut off in between, it publishes the same events
// with the same ids again.
//
// Exactly once, in ten lines: the script that applies a fact notes in the same step which
// registers went another way, in an outbox of the same Redis slot. The owner publishes the
// outbox, trims it when Kafka has acknowledged, and commits the offset up to which all is
// published to a memberless group. A view that is rebuilt folds the same facts in the same order
// and so meets the same changes; below the committed offset it notes none. Hence a flush neither
// repeats the past nor loses what was not yet published: that is at or above the offset, and is
// found again. An event's id is made of the fact and nothing else. Duplicates need a crash
// between acknowledgement and trim, or a flush within a second of the last publication.
func (o *owner) publish(ctx context.Context, effects []stream.Message) error {
	var list []pending
	err := o.patiently(ctx, func(ctx context.Context) (err error) {
		list, err = o.view.outbox(ctx, o.partition, o.at)
		return err
	})
	if healable(err) { // the rebuild finds the changes again, and publishes them
		if err := o.heal(ctx, err); err != nil || len(effects) == 0 {
			return err
		}
		return o.publish(ctx, effects)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b pending) int { return cmp.Compare(a.offset, b.offset) })
	messages := effects
	offsets := make([]int64, len(list))
	for i := range list {
		offsets[i] = list[i].offset
		more, err := o.change(&list[i])
		if err != nil {
			return err
		}
		messages = append(messages, more...)
		o.metrics.changed(ctx, list[i].fact.Act)
	}
	if len(messages) > 0 {
		if _, err := o.out.Append(ctx, messages...); err != nil {
			return fmt.Errorf("publishing %d changes and side effects: %w", len(messages), err)
		}
	}
	if err := o.fault(stepPublished); err != nil {
		return err
	}
	if len(list) == 0 {
		o.published = max(o.published, o.at)
		return nil
	}
	err = o.patiently(ctx, func(ctx context.Context) error {
		published, err := o.view.trim(ctx, o.partition, offsets)
		o.published = max(o.published, published)
		return err
	})
	if err != nil {
		return err
	}
	return o.fault(stepTrimmed)
}

// change makes consent.changed, and consent.confirmation_due where the person acted, of one
// entry of the outbox.
func (o *owner) change(p *pending) ([]stream.Message, error) {
	f := &p.fact
	user, err := o.read.seals.open(f.Person, f.Sealed)
	if err != nil {
		o.log.Error("a change is published without its address", "partition", o.partition, "offset", p.offset, "error", err)
	}
	name := id(f)
	data := schemas.Change{User: user, Act: f.Act, Scope: f.Scopes[0].Level(), Changes: p.flips, Since: f.At, Cause: f.Cause}
	messages := []stream.Message{o.event(schemas.ConsentChanged, name, f, p.offset, data)}
	if f.Cause.By != "operator" {
		due := schemas.ConfirmationDue{User: user, Act: f.Act, Scope: data.Scope, DueBy: f.Cause.ReceivedAt.Add(confirmWithin), Cause: f.Cause}
		for _, s := range f.Scopes {
			if s.Agent != "" {
				due.Business = &schemas.Business{Address: s.Agent}
			}
		}
		messages = append(messages, o.event(schemas.ConsentConfirmationDue, name, f, p.offset, due))
	}
	return messages, nil
}

// event makes an event about a fact. Its id hangs on the fact alone.
func (o *owner) event(kind schemas.Kind, factID string, f *schemas.Fact, offset int64, data any) stream.Message {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err) // structs of our own, of strings and times
	}
	e := stream.Event{
		ID: eventID(kind, factID), Source: stageSource, Type: kind.Type(), Subject: f.Person, Time: f.At,
		ContentType: "application/json", Data: body,
	}
	e.SetExtension(schemas.ExtPartitionKey, f.Person)
	e.SetExtension(schemas.ExtRecordedTime, stream.FormatTime(f.Cause.ReceivedAt))
	e.SetExtension(schemas.ExtCausationID, f.Cause.ID)
	e.SetExtension(schemas.ExtCorrelationID, f.Cause.MessageID)
	e.SetExtension(schemas.ExtProvider, f.Cause.Provider)
	e.SetExtension(schemas.ExtChannel, string(f.Cause.Channel))
	for _, s := range f.Scopes {
		if s.Brand != "" {
			e.SetExtension(schemas.ExtBrand, s.Brand)
			break
		}
	}
	if trace := o.traces[offset]; trace[0] != "" {
		e.SetExtension(schemas.ExtTraceparent, trace[0])
		e.SetExtension(schemas.ExtTracestate, trace[1])
	}
	return e.Message(schemas.TopicConsent, []byte(f.Person))
}

// side makes an event about an event: help and review.
func (o *owner) side(from *stream.Event, kind schemas.Kind, data any) stream.Message {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	e := stream.Event{
		ID: eventID(kind, from.Source+"\x00"+from.ID), Source: stageSource, Type: kind.Type(), Subject: from.Subject, Time: from.Time,
		ContentType: "application/json", Data: body,
	}
	for _, name := range []string{schemas.ExtPartitionKey, schemas.ExtRecordedTime, schemas.ExtCorrelationID, schemas.ExtProvider, schemas.ExtChannel, schemas.ExtTenant, schemas.ExtBrand, schemas.ExtTraceparent, schemas.ExtTracestate} {
		e.SetExtension(name, from.Extension(name))
	}
	e.SetExtension(schemas.ExtCausationID, from.ID)
	key := from.Subject
	if key == "" {
		key = e.ID
	}
	return e.Message(schemas.TopicConsent, []byte(key))
}

func eventID(kind schemas.Kind, of string) string {
	sum := sha256.Sum256([]byte(string(kind) + "\x00" + of))
	return pseudonymAlphabet.EncodeToString(sum[:16])
}
