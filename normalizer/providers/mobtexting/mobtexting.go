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
	"slices"
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
	if !view.Root().Says() { // a composed webhook with all variables in its URL is posted with the body [], {} or null
		if query := adapter.ReadQuery(raw); query != nil {
			view = query
		}
	}
	bodies := view.Root().Items()
	if len(bodies) > adapter.MaxItems {
		return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
	}
	res := adapter.Result{Items: raw.Items()}
	for i, body := range bodies {
		if !body.IsObject() {
			res.Failures = append(res.Failures, adapter.Failure{Index: i, Class: adapter.Malformed, Message: "the callback is JSON, but not an object"})
			continue
		}
		c := &callback{raw: raw, view: view, body: body, said: body, alone: len(bodies) == 1}
		item := c.read()
		item.Index = i
		view.Finish(&item, body)
		c.keepQuery(&item)
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
	alone       bool         // the only body: what the URL says is then said of it
	query       adapter.Node // of a composed webhook: variables may stand in its URL too
	channel     schemas.Channel
	mapping     *adapter.Mapped
	fingerprint []byte // known instead of the whole body, where that changes with every attempt
}

// read finds out what the body is, by its members: the documentation names an event for every
// body, but most bodies do not. A mapping is for the bodies that customers compose, which
// unsubscriptions and contacts never are: no mapping may take their sentence for a receipt's status.
func (c *callback) read() adapter.Item {
	if payload := c.body.Get("payload").JSON(); payload.IsObject() && payload.Says() {
		c.said = payload
	}
	product, what := c.event()
	c.channel = c.channelOf(product)
	switch {
	case strings.HasSuffix(what, "unsubscription"), c.has("receiver", "type"), c.has("receiver", "value"):
		return c.unsubscription()
	case product == "contacts", c.has("identity", "created_at"):
		return c.contact()
	}
	c.readQuery()
	if m := c.raw.Origin.Mapping; m != nil {
		c.mapping = c.mapped(m)
		if item, ok := c.byMapping(); ok {
			return item
		}
	}
	switch {
	case what == "message:in", c.has("recipient", "message"):
		return c.inbound()
	case c.has("link_id"):
		return c.linkVisit()
	case c.has("identity"):
		return c.contact()
	case product == "voice", c.isCall():
		return c.call()
	case what == "message:status" && !c.has("mobile"), c.has("status", "foreign_id"), c.has("status", "processed_at"):
		return c.chatReceipt()
	}
	status := c.first("status", "message_status").Present()
	switch {
	case !status && c.first("from").Present() && (c.member("text").Present() || c.member("keyword1").Present()):
		return c.inboundByVariables()
	case status && c.first("mobile", "mobile_number", "id", "message_id", "to").Present(), c.has("mobile") && c.isSMS():
		return c.receiptByVariables()
	}
	return c.unknown()
}

// readQuery looks into the URL of what may be a composed webhook: "in the url you can pass the
// replaced variables", whatever the body has (sms/webhook, reach/webhook). An envelope is Mobtexting's own.
func (c *callback) readQuery() {
	if !c.alone || c.said != c.body || len(c.raw.Request.Body) == 0 {
		return
	}
	if query := adapter.ReadQuery(c.raw); query != nil {
		c.query = query.Root()
	}
}

// urlVariables are the documented variables of composed webhooks. Other members of a URL are the
// customer's own, a token perhaps, and stay out of events.
var urlVariables = strings.Fields(`id message_id call_id from to mobile mobile_number status message_status
	credits units deliv_time sent_time submit_time deliv_at sent_at submit_at cid custom custom1 custom2 location region provider
	delivered_at read_at processed_at foreign_id text keyword1 keyword2 timestamp
	bridge source mid flow_id start_at end_at date unixtime duration billing status1 status2 recording_url hangup_by`)

// keepQuery adds to provider_data what the URL said, the body did not, and nobody took.
func (c *callback) keepQuery(item *adapter.Item) {
	for name, n := range c.query.Members() {
		if !slices.Contains(urlVariables, name) || c.said.Get(name).Present() {
			n.Taken()
		}
	}
	rest := c.query.View().Rest(c.query)
	if body := item.Data.ProviderData; len(body) > len("{}") && len(rest) > 0 {
		rest = slices.Concat(body[:len(body)-1], []byte{','}, rest[1:])
	}
	if len(rest) > 0 {
		item.Data.ProviderData = rest
	}
}

// event is the body's event name, lower case, before and after its first colon.
func (c *callback) event() (product, what string) {
	product, what, _ = strings.Cut(strings.ToLower(c.body.Get("event").Text()), ":")
	return product, what
}

// has says whether all of the named members are there, if only as null.
func (c *callback) has(names ...string) bool {
	for _, name := range names {
		if !c.said.Get(name).Present() {
			return false
		}
	}
	return true
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

// item begins an item. The name of a documented event is said by kind and channel; any other
// stays in provider_data.
func (c *callback) item(kind schemas.Kind) adapter.Item {
	switch product, what := c.event(); what {
	case "message:in", "message:status", "message:out", "unsubscription":
		if product == string(c.channel) {
			c.body.Get("event").Taken()
		}
	case "subscriber:subscription":
		if product == "contacts" {
			c.body.Get("event").Taken()
		}
	}
	return adapter.Item{Kind: kind, Channel: c.channel}
}

// takeChannel takes the member that names the item's channel; one that names another stays.
func (c *callback) takeChannel(n adapter.Node) {
	if strings.EqualFold(n.Text(), string(c.channel)) {
		n.Taken()
	}
}

// user is the end user in the first of the named members that says something.
func (c *callback) user(names ...string) *schemas.User { return c.userIn(c.first(names...)) }

func (c *callback) userIn(n adapter.Node) *schemas.User {
	u := adapter.User(c.raw, c.channel, n.Text())
	if u != nil {
		n.Taken()
	}
	return u
}

// business is the business side in the first of the named members, nil when there is none.
func (c *callback) business(names ...string) *schemas.Business {
	return businessOf(c.take(names...))
}

func businessOf(address string) *schemas.Business {
	if address == "" {
		return nil
	}
	return &schemas.Business{Address: address}
}

// member is the named member as it stands, in the body before the query.
func (c *callback) member(name string) adapter.Node {
	if n := c.said.Get(name); n.Present() {
		return n
	}
	return c.query.Get(name)
}

// take is the text of the first of the named members that says something.
func (c *callback) take(names ...string) string { return c.first(names...).Taken().Text() }

// first is the first of the named members that says something, in the body before the query.
func (c *callback) first(names ...string) adapter.Node {
	if n := first(c.said, names...); n.Present() {
		return n
	}
	return first(c.query, names...)
}

// first is the first of the named members of n that says something, if it is a scalar.
func first(n adapter.Node, names ...string) adapter.Node {
	for _, name := range names {
		if m := n.Get(name); !absent(m.Text()) {
			return m
		}
	}
	return adapter.Node{}
}

// take takes the first of the named members of n that says something.
func take(n adapter.Node, names ...string) string { return first(n, names...).Taken().Text() }

// absent says whether s says nothing: the string "null", which the pages print for members that
// nobody filled in, or a variable that nothing was put into. Never asked of what a person wrote.
func absent(s string) bool {
	return s == "" || strings.EqualFold(s, "null") || placeholder(s)
}

// placeholder says whether s is a variable of the push-DLR URLs of before 2021, "{mobile}", or of
// composed webhooks without the "@" that the pages print before it, "{{payload.mobile}}".
func placeholder(s string) bool {
	if inner, ok := strings.CutPrefix(s, "{{"); ok && strings.HasSuffix(inner, "}}") {
		s = s[1 : len(s)-1]
	}
	if len(s) < 3 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	inner := strings.TrimSpace(s[1 : len(s)-1])
	return inner != "" && !strings.ContainsAny(inner, "{}\":, ")
}

// never says whether a time stands for "not yet": 0000-00-00 00:00:00 is what MySQL has for it.
func never(written string) bool { return absent(written) || strings.HasPrefix(written, "0000-") }

// at gives the item the first of the named times that can be read; when there are some but none
// can be read, the item is flagged.
func (c *callback) at(item *adapter.Item, names ...string) {
	times := make([]string, len(names))
	for i, name := range names {
		times[i] = c.first(name).Text()
	}
	c.atFirst(item, times...)
}

func (c *callback) atFirst(item *adapter.Item, times ...string) {
	for _, written := range times {
		if never(written) {
			continue
		}
		item.Data.TimeFlag = "" // of one that could not be read
		if item.At(c.raw, written, naiveZone); !item.Time.IsZero() {
			return
		}
	}
}

// unknown keeps a body that nobody documents: as a receipt where the endpoint takes receipts,
// else as an inbound message whose content is not supported. Whom a mapping names in it is told.
func (c *callback) unknown() adapter.Item {
	item := c.item(schemas.MessageReceived)
	if c.raw.Origin.Kind == schemas.EndpointStatus {
		item.Kind, item.Data.Status = schemas.MessageStatusUnknown, &schemas.Status{Meaning: schemas.MeaningUnknown}
	} else {
		item.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	}
	if m := c.mapping; m != nil {
		item.Data.User = c.userIn(m.Get("user"))
		item.Data.Business = businessOf(m.Take("business"))
		item.Data.MessageID, item.Data.EventID = m.Take("message_id"), m.Take("event_id")
		c.atFirst(&item, m.Get("time").Text())
	}
	return item
}
