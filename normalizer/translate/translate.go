// Package translate makes CloudEvents of what an adapter understood: it is the one place that
// decides an event's id, source, subject, key, time and topic. The normalizer, `heed explain`
// and providertest all go through it, so what explain prints is what the normalizer writes.
//
// It refuses to read a clock, to open a connection and to look at a provider's payload. Personal
// data stand only in an event's data; subject and key are the person's pseudonym.
//
// Invariant: the same callback gives the same ids, whatever white space or key order a retry
// has, and two different items of a callback never share one.
package translate

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// MaxData is the largest data of an event (design §5). Larger content belongs behind a link.
const MaxData = 64 << 10

// Envelope is what a callback's events have in common.
type Envelope struct {
	Recorded    time.Time              // when the events are made (recordedtime); zero: left out
	CallbackID  string                 // id of the raw record (causationid); empty: left out
	Traceparent string                 // of the span that the events belong to; empty: left out
	Tracestate  string                 //
	Pseudonyms  *schemas.Pseudonymizer // nil: DemoPseudonyms

	RawTopic     string // where the raw record stands; empty: nowhere
	RawPartition int32
	RawOffset    int64
}

// Out is one event with the place it goes to.
type Out struct {
	Kind  schemas.Kind
	Index int // place in the callback, from 0
	Topic string
	Key   []byte // also the event's partitionkey
	Event stream.Event
}

// Events gives the events of a callback, in the adapter's order, and everything that is to be
// dead-lettered: the adapter's failures, and items that make no event.
func Events(raw adapter.Raw, res adapter.Result, env Envelope) ([]Out, []adapter.Failure) {
	return new(Translator).Events(raw, res, env)
}

// Translator is Events for many callbacks: it works in the memory of the callback before, and
// remembers what callbacks have in common. The zero Translator is ready; it is for one goroutine.
type Translator struct {
	outs       []Out
	extensions []stream.Extension // of all outs
	bytes      []byte             // data, keys, ids and subjects of all outs
	digest     digest

	source, endpoint string // the source of the endpoint's events
	recordedTime     string // recorded, written
	recorded         time.Time
}

// Room that a Translator keeps from one callback to the next: enough for nearly all.
const (
	keptOuts  = 16
	keptBytes = 64 << 10
	attached  = 11 // extensions that an event has at most
)

// Events is the function of that name, but its events are good until the next call only: copy
// what is to stay, as stream.Messages does.
func (t *Translator) Events(raw adapter.Raw, res adapter.Result, env Envelope) ([]Out, []adapter.Failure) {
	if env.Pseudonyms == nil {
		env.Pseudonyms = DemoPseudonyms()
	}
	if cap(t.outs) > keptOuts || cap(t.bytes) > keptBytes {
		t.outs, t.extensions, t.bytes = nil, nil, nil
	}
	outs := slices.Grow(t.outs[:0], len(res.Items))
	t.extensions = slices.Grow(t.extensions[:0], attached*len(res.Items))
	t.bytes = slices.Grow(t.bytes[:0], 1<<10)
	failures := res.Failures
	for i := range res.Items {
		out, failure := t.event(&raw, &res.Items[i], &env)
		if failure != nil {
			failures = append(failures[:len(failures):len(failures)], *failure)
			continue
		}
		outs = append(outs, out)
	}
	tellApart(outs)
	t.outs = outs
	return outs, failures
}

func (t *Translator) event(raw *adapter.Raw, item *adapter.Item, env *Envelope) (Out, *adapter.Failure) {
	names := kindNames[item.Kind]
	out := Out{Kind: item.Kind, Index: item.Index, Topic: schemas.TopicOf(item.Kind)}
	if out.Topic == "" || out.Topic == schemas.TopicCallbacks {
		return Out{}, &adapter.Failure{Index: item.Index, Class: adapter.Panic, Message: "the adapter made an event of kind \"" + string(item.Kind) + "\", which it may not"}
	}
	data := item.Data
	tidy(&data, &raw.Origin)
	at := when(item.Time, raw.ReceivedAt, &data)

	from := len(t.bytes)
	t.bytes = appendData(t.bytes, &data)
	if size := len(t.bytes) - from; size > MaxData {
		data.ProviderData = cutMark(size, env)
		if t.bytes = appendData(t.bytes[:from], &data); len(t.bytes)-from > MaxData {
			t.bytes = t.bytes[:from]
			return Out{}, &adapter.Failure{Index: item.Index, Class: adapter.TooLarge, Message: "the event's data are larger than 64 KiB, even without provider_data"}
		}
	}

	encoded := t.bytes[from:len(t.bytes):len(t.bytes)]

	id := t.text(t.digest.event(t.bytes, raw, item, &data))
	subject, key := "", ""
	if data.User != nil {
		subject = t.text(env.Pseudonyms.Append(t.bytes, data.User.Kind, data.User.Address))
		key = subject
	} else {
		key = keyWithoutUser(raw.Origin.Provider, data.MessageID, id)
	}
	e := stream.Event{
		ID:          id,
		Source:      t.sourceOf(&raw.Origin),
		Type:        names.eventType,
		Subject:     subject,
		Time:        at,
		DataSchema:  names.dataSchema,
		ContentType: "application/json",
		Data:        encoded,
	}
	first := len(t.extensions)
	add := func(name, value string) {
		if value != "" {
			t.extensions = append(t.extensions, stream.Extension{Name: name, Value: value})
		}
	}
	add(schemas.ExtPartitionKey, key)
	if !env.Recorded.IsZero() {
		add(schemas.ExtRecordedTime, t.recordedAt(env.Recorded))
	}
	add(schemas.ExtTraceparent, attribute(env.Traceparent))
	add(schemas.ExtTracestate, attribute(env.Tracestate))
	add(schemas.ExtCorrelationID, attribute(data.MessageID))
	add(schemas.ExtCausationID, attribute(env.CallbackID))
	add(schemas.ExtProvider, raw.Origin.Provider) // names of adapters and channels are ours
	add(schemas.ExtChannel, string(channel(item.Channel, raw.Origin.Channel)))
	add(schemas.ExtEndpoint, attribute(raw.Origin.Endpoint))
	add(schemas.ExtTenant, attribute(raw.Origin.Tenant))
	add(schemas.ExtBrand, attribute(raw.Origin.Brand))
	e.Extensions = t.extensions[first:len(t.extensions):len(t.extensions)]
	from = len(t.bytes)
	t.bytes = append(t.bytes, key...)
	out.Key, out.Event = t.bytes[from:len(t.bytes):len(t.bytes)], e
	return out, nil
}

// text takes over t.bytes with a text appended to it, and is that text.
func (t *Translator) text(longer []byte) string {
	from := len(t.bytes)
	t.bytes = longer
	return textOf(longer[from:])
}

// sourceOf is the endpoint's source; most callbacks come by the endpoint of the one before.
func (t *Translator) sourceOf(o *schemas.Origin) string {
	if t.source == "" || t.endpoint != o.Endpoint {
		t.source, t.endpoint = o.Source(), o.Endpoint
	}
	return t.source
}

// recordedAt writes the time at which events are made, one for a whole batch.
func (t *Translator) recordedAt(at time.Time) string {
	if t.recordedTime == "" || !t.recorded.Equal(at) {
		t.recordedTime, t.recorded = stream.FormatTime(at), at
	}
	return t.recordedTime
}

// kindNames are the names of every kind, put together once.
var kindNames = func() map[schemas.Kind]kindName {
	names := map[schemas.Kind]kindName{}
	for _, k := range schemas.Kinds() {
		names[k] = kindName{k.Type(), k.DataSchema()}
	}
	return names
}()

type kindName struct{ eventType, dataSchema string }

// tidy brings the item's data under the rules that hold for every provider (contract §3): ids without
// outer blanks, no user without an address, the endpoint's agent where the body names no
// business.
func tidy(data *schemas.Data, origin *schemas.Origin) {
	data.MessageID = strings.TrimSpace(data.MessageID)
	data.EventID = strings.TrimSpace(data.EventID)
	if data.User != nil && data.User.Address == "" {
		data.User = nil
	}
	if (data.Business == nil || data.Business.Address == "") && origin.Agent != "" {
		data.Business = &schemas.Business{Address: origin.Agent}
	}
	if data.Business != nil && data.Business.Address == "" {
		data.Business = nil
	}
	if bytes.Equal(data.ProviderData, []byte("null")) || bytes.Equal(data.ProviderData, []byte("{}")) {
		data.ProviderData = nil
	}
}

// old is how far before its receipt a provider's time is flagged: no provider retries that long.
const old = 30 * 24 * time.Hour

// Times that RFC 3339, with its four digits of a year, can write.
var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	endOfTime = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// when decides the event's time and says in data where it comes from. A provider's time stays as
// it is, also when it cannot be: it is flagged, and only consent clamps it (contract §3).
func when(provider, received time.Time, data *schemas.Data) time.Time {
	data.TimeSource = schemas.TimeProvider
	switch {
	case provider.IsZero():
		data.TimeSource = schemas.TimeReceived
		return received
	case provider.Before(firstTime) || !provider.Before(endOfTime):
		data.TimeSource, data.TimeFlag = schemas.TimeReceived, schemas.TimeUnreadable
		return received
	case provider.After(received):
		data.TimeFlag = schemas.TimeFuture
	case data.TimeFlag == "" && received.Sub(provider) > old: // a zone that is missing says more than age, which anybody can see
		data.TimeFlag = schemas.TimeOld
	}
	return provider
}

// channel is the item's channel, else the endpoint's where that is a single one.
func channel(item, endpoint schemas.Channel) schemas.Channel {
	if item == "" {
		item = endpoint
	}
	if item == schemas.AnyChannel {
		return ""
	}
	return item
}

// DemoPseudonyms are the pseudonyms under a key that everybody knows: for output that must be
// the same on every machine (`heed explain`, golden cases), never for a stage.
func DemoPseudonyms() *schemas.Pseudonymizer {
	p, err := schemas.ParsePseudonymKeys(strings.Repeat("0", 64))
	if err != nil {
		panic(err) // the key above is well-formed
	}
	return p
}
