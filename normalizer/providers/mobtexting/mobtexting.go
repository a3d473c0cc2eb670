// Package mobtexting understands the callbacks of Mobtexting, which BICS sells under its own name
// as a CPaaS: SMS, WhatsApp, RCS, Viber, voice, virtual numbers, contacts and smart links. README.md
// says where each shape was read.
//
// It refuses to guess: a shape that nobody documents becomes an event that keeps everything and
// claims nothing. The normalizer and `heed explain` use it through adapter.Adapter.
//
// Invariant: the end user is found by kind, never by member name: "from" is the user of an
// inbound message and the business of a receipt.
package mobtexting

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// naiveZone is where times without a zone are unless the endpoint says otherwise: a pull-status
// sample shows one time in both forms, 5:30 apart (README, "Times").
const naiveZone = "Asia/Kolkata"

// New makes the adapter.
func New() adapter.Adapter { return mobtexting{} }

type mobtexting struct{}

func (mobtexting) Provider() string { return "mobtexting" }

// Adapt reads a callback: one body is one event; a list of bodies is taken item by item.
func (mobtexting) Adapt(raw adapter.Raw) adapter.Result {
	view, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	bodies := view.Root().Items()
	if len(bodies) > adapter.MaxItems {
		return adapter.Result{Failures: []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.TooLarge, Message: "the callback has too many items"}}}
	}
	var res adapter.Result
	for i, body := range bodies {
		if !body.IsObject() {
			res.Failures = append(res.Failures, adapter.Failure{Index: i, Class: adapter.Malformed, Message: "the callback is JSON, but not an object"})
			continue
		}
		c := &callback{raw: raw, view: view, body: body, said: body}
		item := c.read()
		item.Index = i
		view.Finish(&item, body)
		if item.Data.MessageID == "" && item.Data.EventID == "" && c.fingerprint != nil {
			item.Fingerprint = c.fingerprint
		}
		res.Items = append(res.Items, item)
	}
	if len(bodies) == 0 {
		res.Ignored = "an empty list"
	}
	if len(res.Failures) == 1 && len(bodies) == 1 {
		res.Failures[0].Index = adapter.WholeCallback
	}
	return res
}

// callback is one body while it is read.
type callback struct {
	raw         adapter.Raw
	view        *adapter.View
	body        adapter.Node // the whole of it
	said        adapter.Node // what it says: the body, or its payload when it has the envelope
	channel     schemas.Channel
	fingerprint []byte // known instead of the whole body, where that changes with every attempt
}

// read finds out what the body is, by its members: the documentation names an event for every
// body, but most bodies do not.
func (c *callback) read() adapter.Item {
	if c.raw.Origin.Mapping != nil {
		if item, ok := c.mapped(c.raw.Origin.Mapping); ok {
			return item
		}
	}
	event := strings.ToLower(c.body.Get("event").Text())
	if payload := c.body.Get("payload"); payload.IsObject() && payload.Says() {
		c.said = payload
	}
	product, what, _ := strings.Cut(event, ":")
	c.channel = c.channelOf(product)
	has := func(names ...string) bool {
		for _, name := range names {
			if !c.said.Get(name).Present() {
				return false
			}
		}
		return true
	}
	switch {
	case what == "message:in", has("recipient", "message"):
		return c.inbound()
	case strings.HasSuffix(what, "unsubscription"), has("receiver", "type"), has("receiver", "value"):
		return c.unsubscription()
	case has("link_id"):
		return c.linkVisit()
	case product == "contacts", has("identity"):
		return c.contact()
	case product == "voice", c.isCall():
		return c.call()
	case what == "message:status" && !has("mobile"), has("status", "foreign_id"), has("status", "processed_at"):
		return c.chatReceipt()
	case has("text", "from"):
		return c.inboundByVariables()
	case c.said.First("status", "message_status").Says() && c.said.First("mobile", "mobile_number", "id", "message_id", "to").Says():
		return c.receiptByVariables()
	}
	return c.unknown()
}

// channelOf is the channel by the event's name or the body, else the endpoint's: most bodies name
// none. "mip" is the name that WhatsApp receipts had until 2021.
func (c *callback) channelOf(product string) schemas.Channel {
	for _, name := range []string{product, c.said.Get("channel").Text(), firstOf(c.said.Get("channels")).Get("name").Text()} {
		switch name = strings.ToLower(name); name {
		case "sms", "rcs", "whatsapp", "viber", "voice", "vmn", "email", "mms":
			return schemas.Channel(name)
		case "mip":
			if channel := c.endpointChannel(); channel != "" {
				return channel
			}
			return schemas.WhatsApp
		}
	}
	return c.endpointChannel()
}

func (c *callback) endpointChannel() schemas.Channel {
	if c.raw.Origin.Channel == schemas.AnyChannel {
		return ""
	}
	return c.raw.Origin.Channel
}

func firstOf(list adapter.Node) adapter.Node {
	for e := range list.Elements() {
		return e
	}
	return list
}

// item begins an item.
func (c *callback) item(kind schemas.Kind) adapter.Item {
	c.body.Get("event").Taken()
	return adapter.Item{Kind: kind, Channel: c.channel}
}

// user is the end user in the first of the named members that says something.
func (c *callback) user(names ...string) *schemas.User {
	if placeholder(c.said.First(names...).Text()) {
		return nil
	}
	return c.said.TakeUser(c.raw, c.channel, names...)
}

// business is the business side in the first of the named members, nil when there is none.
func (c *callback) business(names ...string) *schemas.Business {
	if address := c.take(names...); address != "" {
		return &schemas.Business{Address: address}
	}
	return nil
}

// take is the text of the first of the named members that says something.
func (c *callback) take(names ...string) string {
	if placeholder(c.said.First(names...).Text()) {
		return ""
	}
	return c.said.Take(names...)
}

// placeholder says whether s is a variable of the push-DLR URLs of before 2021 that nothing was
// put into: "{mobile}".
func placeholder(s string) bool {
	return len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && !strings.ContainsAny(s[1:len(s)-1], "{}\":, ")
}

// at gives the item the first of the named times that can be read; when there are some but none
// can be read, the item is flagged.
func (c *callback) at(item *adapter.Item, names ...string) {
	for _, name := range names {
		written := c.said.Get(name).Text()
		if written == "" || strings.HasPrefix(written, "0000-") || placeholder(written) { // 0000-…: MySQL's "never"
			continue
		}
		item.Data.TimeFlag = "" // of one that could not be read
		if item.At(c.raw, written, naiveZone); !item.Time.IsZero() {
			return
		}
	}
}

// unknown keeps a body that nobody documents: as a receipt where the endpoint takes receipts,
// else as an inbound message whose content is not supported.
func (c *callback) unknown() adapter.Item {
	if c.raw.Origin.Kind == schemas.EndpointStatus {
		item := c.item(schemas.MessageStatusUnknown)
		item.Data.Status = &schemas.Status{Meaning: schemas.MeaningUnknown}
		return item
	}
	item := c.item(schemas.MessageReceived)
	item.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	return item
}
