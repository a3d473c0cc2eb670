// Package adapter is the contract between the normalizer and its providers: what an adapter is
// given, what it gives back, and the words both use. A provider's package imports this one and
// schemas, and nothing else of ours; it is pure (no clock, no context, no I/O), so the same
// callback gives the same events for ever.
//
// Invariant: an adapter never drops a callback. Everything ends as an item, as a failure with a
// class, or as ignored with the reason.
package adapter

import (
	"fmt"
	"time"

	"github.com/heedhq/heed/schemas"
)

// Raw is one callback with what is known of the endpoint that it came in by.
type Raw struct {
	Origin     schemas.Origin
	Request    schemas.Capture
	ReceivedAt time.Time

	Memory *Memory // to work in; nil: the result has nothing in common with Raw, and is good for ever
}

// Adapter understands one provider's callbacks.
type Adapter interface {
	// Provider is the name by which endpoints call the adapter.
	Provider() string
	// Adapt turns a callback into events. It MUST NOT panic, whatever the bytes are, MUST give
	// the same result for the same Raw, and MUST NOT keep Raw.
	Adapt(Raw) Result
}

// Result is what became of one callback. Items and Failures may stand side by side: one bad
// item does not sink the others.
type Result struct {
	Items    []Item
	Failures []Failure
	Ignored  string // why the callback says nothing that an event could carry (a ping, a challenge)
}

// Item is one event before the normalizer gives it its envelope (id, source, subject, key).
type Item struct {
	Kind    schemas.Kind
	Channel schemas.Channel
	Index   int       // place in the callback, from 0
	Time    time.Time // when it happened, by the provider; zero: not given (time_source "received")
	Data    schemas.Data

	// Distinct tells this item apart from others with the same provider ids, kind, status code,
	// content and consent act, where the provider's documentation says that they are different
	// events (the new updated_at of a contact, say). Empty for most.
	Distinct string
	// Fingerprint is the item's own bytes, from which the id is derived when the provider gave
	// no id at all; nil means the whole body.
	Fingerprint []byte
}

// Failure is a callback, or one item of it, that could not be understood: it is dead-lettered
// with its class, bytes and headers untouched.
type Failure struct {
	Index   int // place in the callback; WholeCallback when nothing of it was understood
	Class   Class
	Message string // for people; nothing personal
}

// WholeCallback is the Index of a failure that is not of one item.
const WholeCallback = -1

// TooMany is the failure of a callback that holds more items than MaxItems.
func TooMany() Failure {
	return Failure{Index: WholeCallback, Class: TooLarge, Message: fmt.Sprintf("the callback holds more than %d items", MaxItems)}
}

func (f Failure) Error() string { return fmt.Sprintf("%s: %s", f.Class, f.Message) }

// Class is the closed list of reasons for a dead letter; it is a metric label and a filter of
// `heed dead`.
type Class string

// The classes.
const (
	Malformed       Class = "malformed"        // not readable as what it claims to be, after the narrow repair
	Empty           Class = "empty"            // no body and no query where one is needed
	TooDeep         Class = "too_deep"         // nested deeper than MaxDepth
	Encrypted       Class = "encrypted"        // values are encrypted at the provider; turn it off there
	MissingField    Class = "missing_field"    // a member without which the event says nothing
	UnknownProvider Class = "unknown_provider" // the record names a provider that has no adapter
	TooLarge        Class = "too_large"        // the event would be over 64 KiB even without provider_data, or the callback holds more than MaxValues values or MaxItems items
	NotRaw          Class = "not_raw"          // the record is not a captured request
	Panic           Class = "panic"            // the adapter broke; a bug of ours
)
