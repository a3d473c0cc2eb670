// Package exotel understands the callbacks of Exotel: RCS, WhatsApp, SMS, voice and campaigns, in
// the generations of shapes that its old and new portals document. README.md says where each
// was read.
//
// It refuses to configure a generation: the shape tells. It refuses to guess: a shape that
// nobody documents becomes an event that keeps everything and claims nothing. The normalizer and
// `heed explain` use it through adapter.Adapter.
//
// Invariant: a status code is read by its name, or by the table of the channel and generation
// that it came in: the same number means different things on two of Exotel's own pages.
package exotel

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// naiveZone is where times without a zone are unless the endpoint says otherwise: the same pages
// write +05:30 elsewhere (README, "Times").
const naiveZone = "Asia/Kolkata"

// New makes the adapter.
func New() adapter.Adapter { return exotel{} }

type exotel struct{}

func (exotel) Provider() string { return "exotel" }

// Adapt reads a callback; one body may hold many events.
func (exotel) Adapt(raw adapter.Raw) adapter.Result {
	view, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	r := &reader{raw: raw, view: view, res: adapter.Result{Items: raw.Items()}}
	bodies := view.Root().Items()
	if len(bodies) > adapter.MaxItems {
		return tooMany()
	}
	for _, body := range bodies {
		if !body.IsObject() {
			r.fail(adapter.Malformed, "the callback is JSON, but not an object")
			continue
		}
		r.body(body)
	}
	switch {
	case r.index > adapter.MaxItems:
		return tooMany()
	case len(bodies) == 0:
		r.res.Ignored = "an empty list"
	case r.index == 1 && len(r.res.Failures) == 1:
		r.res.Failures[0].Index = adapter.WholeCallback
	}
	return r.res
}

func tooMany() adapter.Result {
	return adapter.Result{Failures: []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.TooLarge, Message: "the callback has too many items"}}}
}

// reader reads one callback.
type reader struct {
	raw   adapter.Raw
	view  *adapter.View
	index int // of the next item
	res   adapter.Result
}

func (r *reader) fail(class adapter.Class, message string) {
	r.res.Failures = append(r.res.Failures, adapter.Failure{Index: r.index, Class: class, Message: message})
	r.index++
}

// add ends an item that was read from n.
func (r *reader) add(it adapter.Item, n adapter.Node) {
	it.Index = r.index
	r.index++
	r.view.Finish(&it, n)
	r.res.Items = append(r.res.Items, it)
}

// body finds out which generation a body is of, by its members.
func (r *reader) body(n adapter.Node) {
	has := func(names ...string) bool { return n.First(names...).Present() }
	switch event := word(n.Get("event").Text()); {
	case r.channels(n):
	case event != "" && has("call_sid"):
		r.add(r.notification(n, event), n)
	case event != "":
		r.event(n, event)
	case n.Get("data").IsObject() && n.Get("type").Says():
		r.typed(n, word(n.Get("type").Text()))
	case n.Get("type").Text() == "verification":
		r.res.Ignored = "a verification request, which ingest answers"
	case member(n, "ShortenedUrl", "OriginalUrl", "short_url", "short_code").Says():
		r.add(r.click(n), n)
	case has("SmsSid", "SmsMessageSid", "smsSid", "DetailedStatus", "DetailedStatusCode") || has("From") && n.Get("Body").Present():
		r.add(r.sms(n), n)
	case has("CallSid"):
		r.add(r.call(n), n)
	case has("campaign_sid"):
		r.add(r.campaign(n), n)
	case has("status_type") && (has("timestamp") || n.Get("incoming_affected").Present() || n.Get("outgoing_affected").Present()):
		it := adapter.Item{Kind: schemas.AccountNotice}
		it.Data.Status = &schemas.Status{Code: n.Take("status_type"), Meaning: schemas.MeaningUnknown}
		it.At(r.raw, n.Get("timestamp").Text(), naiveZone)
		r.add(it, n)
	case isItem(n):
		r.add(r.item(n, r.flatChannel(n), flat), n)
	case isMessage(n):
		r.add(r.inbound(n, n, r.portalChannel()), n)
	default:
		r.add(r.unknown(r.endpointChannel()), n)
	}
}

// channels reads {"rcs"|"whatsapp"|"sms": {"messages": […]}}, which may name several channels: an
// RCS message that fell back to SMS reports both.
func (r *reader) channels(n adapter.Node) bool {
	type message struct {
		channel schemas.Channel
		node    adapter.Node
	}
	found := false
	var all []message // listed before one is read: an item leaves the others out of its provider_data
	for _, channel := range []schemas.Channel{schemas.RCS, schemas.WhatsApp, schemas.SMS} {
		messages := member(member(n, string(channel)), "messages")
		found = found || messages.Present()
		if !messages.Says() { // null is as empty as []
			continue
		}
		for _, m := range messages.Items() {
			all = append(all, message{channel, m})
		}
	}
	if r.index+len(all) > adapter.MaxItems {
		r.index += len(all)
		return true
	}
	for _, m := range all {
		if !m.node.IsObject() {
			r.fail(adapter.MissingField, "an element of messages is not an object")
			continue
		}
		r.add(r.item(m.node, m.channel, listed), m.node)
	}
	if found && len(all) == 0 {
		r.res.Ignored = "a list of no messages"
	}
	return found
}

func (r *reader) endpointChannel() schemas.Channel {
	if r.raw.Origin.Channel == schemas.AnyChannel {
		return ""
	}
	return r.raw.Origin.Channel
}

// portalChannel is the channel of the new portal's events, which are documented for WhatsApp alone, unless
// the endpoint is of another.
func (r *reader) portalChannel() schemas.Channel {
	if channel := r.endpointChannel(); channel != "" {
		return channel
	}
	return schemas.WhatsApp
}

// flatChannel is the channel of a body that names none: the endpoint's, else that of a name which
// only SMS has, else by the range of its code, which is one per channel on every page of flat bodies.
func (r *reader) flatChannel(n adapter.Node) schemas.Channel {
	if channel := r.endpointChannel(); channel != "" {
		return channel
	}
	if _, sms := smsOnlyCodes.Find(n.First("exo_detailed_status", "status").Text()); sms {
		return schemas.SMS
	}
	code := n.First("exo_status_code", "ExoStatusCode").Text()
	if len(code) != 5 {
		return ""
	}
	switch code[0] {
	case '2':
		return schemas.SMS
	case '3':
		return schemas.WhatsApp
	case '4':
		return schemas.RCS
	}
	return ""
}

// isItem says whether a body is a message or a receipt by itself.
func isItem(n adapter.Node) bool {
	return n.First("callback_type", "exo_status_code", "exo_detailed_status").Says() ||
		n.First("sid", "message_sid", "message_id", "id").Says() && (n.Get("status").Says() || n.Get("content").IsObject())
}

// isMessage says whether a body is a message of the user without anything around it:
// {"from": …, "type": t, t: …}, as the guide's pages on interactive and media messages show it.
func isMessage(n adapter.Node) bool {
	kind := word(n.Get("type").Text())
	return kind != "" && n.Get("from").Says() && member(n, kind).Says()
}

// unknown keeps a body that nobody documents: as a receipt where the endpoint takes receipts,
// else as an inbound message whose content is not supported.
func (r *reader) unknown(channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: channel}
	if r.raw.Origin.Kind == schemas.EndpointStatus {
		it.Kind = schemas.MessageStatusUnknown
		it.Data.Status = &schemas.Status{Meaning: schemas.MeaningUnknown}
		return it
	}
	it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	return it
}

// at gives the item the first of the named times that says something.
func (r *reader) at(it *adapter.Item, n adapter.Node, names ...string) {
	it.At(r.raw, n.First(names...).Text(), naiveZone)
}
