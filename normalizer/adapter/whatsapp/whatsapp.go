// Package whatsapp reads the `value` objects of the WhatsApp Cloud API, which Meta sends itself and
// other providers pass on within envelopes of their own. Providers' adapters use it; it refuses
// nothing: what it does not know becomes content of type unsupported, or a notice.
//
// Invariant: every element of messages, statuses, user_preferences, calls, message_echoes and
// user_id_update becomes one item or one failure, so one bad element never costs the others.
//
// After developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
// (read 2026-11) and the on-premises API before it.
package whatsapp

import (
	_ "embed"
	"slices"
	"strings"
	"time"

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
func New() *Reader { return &Reader{Codes()} }

// Codes is the table of the statuses and errors, for providers that pass on single codes of it.
func Codes() adapter.Codes { return adapter.MustCodes(table) }

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
	lists := [...]struct {
		list adapter.Node
		read func(adapter.Node) adapter.Item
	}{
		{c.value.Get("messages"), c.message},
		{c.value.Get("statuses"), c.status},
		{c.value.Get("user_preferences"), c.preference},
		{c.value.Get("calls"), c.call},
		{c.value.Get("message_echoes"), c.echo},
		{c.value.Get("user_id_update"), c.identity},
	}
	for contact := range c.value.Get("contacts").Elements() {
		c.contacts = append(c.contacts, contact)
	}
	for _, l := range lists {
		for n := range l.list.Elements() {
			for _, contact := range c.contactOf(n) {
				contact.Item() // those that nobody names stay with all
			}
		}
	}
	for _, l := range lists {
		c.each(l.list, l.read)
	}
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
	if !list.Says() { // absent, null or empty
		return
	}
	items := list.Items()
	if c.index+len(items) > adapter.MaxItems {
		c.res = adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
		return
	}
	for _, n := range items {
		if !n.IsObject() {
			c.res.Failures = append(c.res.Failures, adapter.Failure{Index: c.index, Class: adapter.MissingField, Message: "an element of the batch is not an object"})
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
	it.Data.User = c.user(n, "from", "from_user_id", "from_parent_user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	if system := n.Get("system"); system.Get("type").Text() == "user_preference_changed" {
		// As the on-premises API says what the Cloud API says in user_preferences.
		c.decided(&it, system.Get("marketing").Text(), "marketing_messages")
		return it
	} else if it.Data.User == nil { // who only has a new id (user_changed_user_id) is known by the old one
		it.Data.User = c.user(system, "previous_user_id", "user_id")
	}
	it.Data.Content = Content(n)
	return it
}

func (c *changeReader) status(n adapter.Node) adapter.Item {
	var it adapter.Item
	it.Data.MessageID = n.Take("id")
	written := n.Get("timestamp").Text()
	it.At(c.raw, written, "")
	if participant := n.Get("recipient_participant_id"); participant.Says() || n.Get("recipient_type").Text() == "group" {
		// recipient_id is the group. Each of its people has receipts of the one message: their own
		// ids tell these apart, where a phone number may not be in an event's id.
		it.Data.User = c.user(n, "recipient_participant_id", "recipient_participant_user_id", "recipient_participant_parent_user_id")
		it.Distinct = written + "/" + n.Get("recipient_participant_user_id").Text()
	} else {
		it.Data.User = c.user(n, "recipient_id", "recipient_user_id", "recipient_parent_user_id")
	}
	status := n.Get("status").Text()
	shown, description, code := status, "", ""
	if e := firstError(n); e.Present() {
		code = e.Take("code")
		shown, description = code, e.Take("message", "title", "details")
	} else {
		n.Get("status").Taken()
	}
	c.codes.SetStatus(&it, shown, description, code, status)
	if strings.EqualFold(status, "failed") { // whatever the error's code
		it.Kind = schemas.MessageFailed
	}
	if n.Get("type").Text() == "payment" { // of what was paid by a message, not of the message
		it.Kind = schemas.PaymentStatus
	}
	if n.Get("type").Text() == "call" { // the call goes on; there is no kind that says so
		it.Kind = schemas.MessageStatusUnknown
		it.Data.Status.Meaning = callMeaning(status)
	}
	return it
}

// firstError is the first of n's errors that has a code; of one that is no list, itself.
func firstError(n adapter.Node) adapter.Node {
	errors := n.Get("errors")
	if errors.Get("code").Says() {
		return errors
	}
	for e := range errors.Elements() {
		if e.Get("code").Says() {
			return e
		}
	}
	return adapter.Node{}
}

// call is an event of a call. Of the two ends the direction tells which is the person.
func (c *changeReader) call(n adapter.Node) adapter.Item {
	var it adapter.Item
	it.Data.MessageID = n.Take("id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	direction := ""
	if strings.EqualFold(n.Get("direction").Text(), "BUSINESS_INITIATED") {
		direction = "outbound"
		it.Data.User = c.user(n, "to", "to_user_id", "to_parent_user_id")
	} else {
		if n.Get("direction").Says() {
			direction = "inbound"
		}
		it.Data.User = c.user(n, "from", "from_user_id", "from_parent_user_id")
	}
	event, status := n.Get("event"), n.Get("status")
	if !strings.EqualFold(event.Text(), "terminate") {
		it.Kind = schemas.MessageStatusUnknown // the call goes on; there is no kind that says so
		it.Data.Status = &schemas.Status{Code: event.Taken().Text(), Meaning: schemas.MeaningUnknown}
		return it
	}
	it.Kind = schemas.CallEnded
	it.Data.Status = &schemas.Status{Code: status.Text(), Meaning: callMeaning(status.Text())}
	if e := firstError(n); e.Present() {
		it.Data.Status.Code, it.Data.Status.Description = e.Take("code"), e.Take("message", "title")
	} else {
		status.Taken()
	}
	it.Data.Call = &schemas.Call{
		DurationSeconds: n.Get("duration").Number(),
		StartedAt:       instant(n.Get("start_time")),
		EndedAt:         instant(n.Get("end_time")),
		Direction:       direction,
	}
	if it.Data.Call.DurationSeconds != "" {
		n.Get("duration").Taken()
	}
	return it
}

// instant is a time in RFC 3339, "" when it cannot be read. The written form stays in
// provider_data.
func instant(n adapter.Node) string {
	t, _, ok := adapter.ParseTime(n.Text(), "")
	if !ok {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// callMeaning reads a call's status (…/whatsapp/calling/reference): not the code table, in which
// the same words are a message's.
func callMeaning(status string) schemas.Meaning {
	switch strings.ToUpper(status) {
	case "COMPLETED", "ACCEPTED":
		return schemas.MeaningAnswered
	case "REJECTED":
		return schemas.MeaningRejected
	case "FAILED":
		return schemas.MeaningFailed
	}
	return schemas.MeaningUnknown
}

// echo is a message that the business sent from its phone (field smb_message_echoes): it says
// nothing about the person, so it is no message of theirs.
func (c *changeReader) echo(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.AccountNotice}
	it.Data.MessageID = n.Take("id")
	it.Data.User = c.user(n, "to", "to_user_id", "to_parent_user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	it.Data.Status = &schemas.Status{Code: "message_echoes"}
	return it
}

// identity is a new id of a person (user_id_update, which resellers pass on).
func (c *changeReader) identity(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.AccountNotice}
	if it.Data.User = c.user(n, "wa_id"); it.Data.User == nil {
		it.Data.User = c.user(n.Get("user_id"), "previous", "current")
	}
	it.At(c.raw, n.Get("timestamp").Text(), "")
	it.Distinct = n.Get("timestamp").Text()
	it.Data.Status = &schemas.Status{Code: "user_id_update"}
	return it
}

// preference is what a user decided in WhatsApp itself about messages of a category.
func (c *changeReader) preference(n adapter.Node) adapter.Item {
	var it adapter.Item
	it.Data.User = c.user(n, "wa_id", "user_id", "parent_user_id")
	it.At(c.raw, n.Get("timestamp").Text(), "")
	it.Distinct = n.Get("timestamp").Text() // no id: stop, resume and stop again are three acts
	c.decided(&it, n.Get("value").Text(), n.Take("category"))
	return it
}

// decided makes the item what a user decided about messages of the category.
func (c *changeReader) decided(it *adapter.Item, value, category string) {
	act := &schemas.ConsentAct{Scope: schemas.ScopeCategory, Value: category}
	if category == "" {
		act.Scope, act.Value = schemas.ScopeAgent, "*"
	}
	switch value {
	case "resume", "start": // exact: a false opt-in is worse than one that is missed
		it.Kind, act.Intent = schemas.UserOptedIn, schemas.OptIn
	default:
		if !strings.EqualFold(value, "stop") {
			it.Kind = schemas.AccountNotice
			return
		}
		it.Kind, act.Intent = schemas.UserOptedOut, schemas.OptOut
	}
	it.Data.Consent = act
}

// notice is a change about the account, not about a person.
func (c *changeReader) notice(change adapter.Node) {
	it := adapter.Item{Kind: schemas.AccountNotice}
	field := change.Get("field").Text()
	if strings.HasPrefix(field, "message_template") || c.value.Get("message_template_id").Present() {
		it.Kind = schemas.TemplateStatus
	}
	shown, description := c.value.First("event", "decision").Text(), c.value.First("reason", "rejection_reason").Text()
	if e := firstError(c.value); shown == "" && e.Present() {
		shown, description = e.Get("code").Text(), e.First("message", "title").Text()
	}
	if shown == "" {
		shown = field
	}
	if shown != "" {
		it.Data.Status = &schemas.Status{Code: shown, Description: description}
	}
	if c.business == "" {
		c.business = c.value.Take("display_phone_number")
	}
	c.finish(&it, change)
}
