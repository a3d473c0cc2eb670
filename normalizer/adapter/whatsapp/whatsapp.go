// Package whatsapp reads the `value` objects of the WhatsApp Cloud API, which Meta sends itself and
// other providers pass on within envelopes of their own. Providers' adapters use it; it refuses
// nothing: what it does not know becomes content of type unsupported, or a notice.
//
// Invariant: every element of messages, statuses and user_preferences becomes one item or one
// failure, so one bad element never costs the others.
//
// After developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
// (read 2026-11) and the on-premises API before it.
package whatsapp

import (
	_ "embed"
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

//go:embed codes.tsv
var table string

// Reader reads value objects.
type Reader struct {
	codes adapter.Codes
}

// New makes a reader.
func New() *Reader { return &Reader{adapter.MustCodes(table)} }

// Amend lets a provider put what it says outside of the value object onto an item.
type Amend func(it *adapter.Item)

// Change reads one change: {"field", "value"}, or a value object alone. from is the index of its
// first item in the callback; with more than adapter.MaxItems the result is adapter.TooMany alone.
func (r *Reader) Change(raw adapter.Raw, v *adapter.View, change adapter.Node, from int, amend Amend) adapter.Result {
	c := changeReader{Reader: r, raw: raw, v: v, value: change, index: from, amend: amend}
	if value := change.Get("value"); value.IsObject() {
		c.value = value
	}
	metadata := c.value.Get("metadata")
	c.business = metadata.Take("display_phone_number")
	if c.business == "" {
		c.business = metadata.Take("phone_number_id")
	}
	c.contacts = c.value.Get("contacts").Items()
	c.each(c.value.Get("messages"), c.message)
	c.each(c.value.Get("statuses"), c.status)
	c.each(c.value.Get("user_preferences"), c.preference)
	if len(c.res.Items) == 0 && len(c.res.Failures) == 0 {
		c.notice(change)
	}
	return c.res
}

// Code is the row of a status or of an error code.
func (r *Reader) Code(code string) (adapter.Code, bool) { return r.codes.Find(code) }

type changeReader struct {
	*Reader
	raw      adapter.Raw
	v        *adapter.View
	value    adapter.Node
	business string
	contacts []adapter.Node

	contactByID map[string]adapter.Node
	index       int
	amend       Amend
	res         adapter.Result
}

func (c *changeReader) each(list adapter.Node, read func(adapter.Node) adapter.Item) {
	if !list.Present() {
		return
	}
	items := list.Items()
	if c.index+len(items) > adapter.MaxItems {
		c.res = adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
		return
	}
	for _, n := range items {
		if !n.IsObject() {
			c.res.Failures = append(c.res.Failures, adapter.Failure{Index: c.index, Class: adapter.MissingField, Message: "an element of messages, statuses or user_preferences is not an object"})
			c.index++
			continue
		}
		it := read(n)
		c.finish(&it, n, c.contactOf(n)...)
	}
}

func (c *changeReader) finish(it *adapter.Item, n adapter.Node, with ...adapter.Node) {
	it.Index, it.Channel = c.index, schemas.WhatsApp
	c.index++
	if c.business != "" {
		it.Data.Business = &schemas.Business{Address: c.business}
	}
	if c.amend != nil {
		c.amend(it)
	}
	c.v.Finish(it, n, with...)
	c.res.Items = append(c.res.Items, *it)
}

// contactOf is the contact that an element is about: the only one, or the one with its id. Other
// people's contacts are none of this event's business.
func (c *changeReader) contactOf(n adapter.Node) []adapter.Node {
	if len(c.contacts) < 2 {
		return c.contacts
	}
	if c.contactByID == nil {
		c.contactByID = make(map[string]adapter.Node, len(c.contacts))
		for _, contact := range slices.Backward(c.contacts) { // the first of an id counts
			for _, name := range []string{"user_id", "wa_id"} {
				if id := contact.Get(name).Text(); id != "" {
					c.contactByID[id] = contact
				}
			}
		}
	}
	for _, name := range []string{"from", "from_user_id", "recipient_id", "recipient_user_id", "recipient_participant_id", "recipient_participant_user_id", "to", "to_user_id", "wa_id", "user_id"} {
		if contact, ok := c.contactByID[n.Get(name).Text()]; ok {
			return []adapter.Node{contact}
		}
	}
	return nil
}

func (c *changeReader) user(n adapter.Node, names ...string) *schemas.User {
	for _, name := range names {
		if u := n.TakeUser(c.raw, schemas.WhatsApp, name); u != nil {
			return u
		}
	}
	return nil
}

func (c *changeReader) message(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived}
	it.Data.MessageID = n.Take("id")
	it.Data.User = c.user(n, "from", "from_user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	it.Data.Content = Content(n)
	return it
}

func (c *changeReader) status(n adapter.Node) adapter.Item {
	var it adapter.Item
	it.Data.MessageID = n.Take("id")
	it.Data.User = c.user(n, "recipient_id", "recipient_user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	status := n.Get("status").Text()
	shown, description, code := status, "", ""
	for e := range n.Get("errors").Elements() {
		if code = e.Take("code"); code != "" {
			shown, description = code, e.Take("message", "title", "details")
			break
		}
	}
	if code == "" {
		n.Get("status").Taken()
	}
	c.codes.SetStatus(&it, shown, description, code, status)
	if strings.EqualFold(status, "failed") { // whatever the error's code
		it.Kind = schemas.MessageFailed
	}
	return it
}

// preference is what a user decided in WhatsApp itself about messages of a category.
func (c *changeReader) preference(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.UserOptedOut}
	it.Data.User = c.user(n, "wa_id", "user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	it.Distinct = n.Get("timestamp").Text() // no id: stop, resume and stop again are three acts
	act := &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeCategory, Value: n.Take("category")}
	if act.Value == "" {
		act.Scope, act.Value = schemas.ScopeAgent, "*"
	}
	switch n.Get("value").Text() {
	case "resume", "start": // exact: a false opt-in is worse than one that is missed
		it.Kind, act.Intent = schemas.UserOptedIn, schemas.OptIn
	case "stop":
	default:
		it.Kind, act = schemas.AccountNotice, nil
	}
	it.Data.Consent = act
	return it
}

// notice is a change about the account, not about a person.
func (c *changeReader) notice(change adapter.Node) {
	it := adapter.Item{Kind: schemas.AccountNotice}
	field := change.Get("field").Text()
	event := c.value.Get("event").Text()
	if strings.HasPrefix(field, "message_template") || c.value.Get("message_template_id").Present() {
		it.Kind = schemas.TemplateStatus
	}
	shown := event
	if shown == "" {
		shown = field
	}
	it.Data.Status = &schemas.Status{Code: shown, Description: c.value.Get("reason").Text()}
	if c.business == "" {
		c.business = c.value.Take("display_phone_number")
	}
	c.finish(&it, change)
}
