package kaleyra

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// flatStatus is a receipt whose body the customer composed of Kaleyra's variables, for SMS or
// WhatsApp; both have id, status and mobile.
func (c *callback) flatStatus(n adapter.Node) { c.flatStatusOf(n, c.flatChannel(n)) }

func (c *callback) flatStatusOf(n adapter.Node, channel schemas.Channel) {
	c.add(c.flatReceipt(n, channel), n)
}

func (c *callback) flatReceipt(n adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Channel: channel}
	it.Data.MessageID = n.Take("id", "message_id", "messageId")
	it.Data.User = c.takePerson(n, channel, "mobile", "recipient", "to", "destination", "recipient_id", "email")
	sender := []string{"source", "sender", "sender_id", "from", "wanumber"}
	if n.Get("mobile").Says() {
		sender = append([]string{"phone_number"}, sender...) // beside the user's mobile it is the business's [inferred]
	}
	it.Data.Business = n.TakeBusiness(sender...)
	it.At(c.raw, n.First("timestamp", "status_time", "dlr_time", "delivered_at", "updated_at", "sent_at", "created_at", "time").Text(), naiveZone)
	c.setStatus(&it, n, channel)
	return it
}

// flatChannel is the endpoint's channel, else what the variables tell: SMS has no errors, no
// price, no custom_response, and no state "read".
func (c *callback) flatChannel(n adapter.Node) schemas.Channel {
	if ch := c.raw.Origin.Channel; ch != "" && ch != schemas.AnyChannel {
		return ch
	}
	for _, name := range []string{"custom_response", "phone_number", "error_code", "price", "error", "wanumber"} {
		if n.Get(name).Present() {
			return schemas.WhatsApp
		}
	}
	if fold(n.Get("status").Text()) == "READ" {
		return schemas.WhatsApp
	}
	return schemas.SMS
}

// setStatus reads status and the reason beside it.
func (c *callback) setStatus(it *adapter.Item, n adapter.Node, channel schemas.Channel) {
	status := n.First("status", "channel_status", "statusCode")
	why, words, fault := n.First("status_trace", "error_code", "reason"), n.First("description", "error", "reason"), n.Get("error")
	evidence := []adapter.Node{n.Get("status_trace"), n.Get("error_code"), fault, n.Get("reason"), n.Get("description")}
	inside := func(e adapter.Node) { // an error as Meta writes it
		if why.Text() == "" {
			why = e.First("code", "title")
		}
		if words.Text() == "" {
			words = e.First("title", "message")
		}
		evidence = append(evidence, e.Get("code"), e.Get("title"), e.Get("message"))
	}
	if fault.IsObject() {
		inside(fault)
	}
	for e := range n.Get("errors").Elements() {
		inside(e)
	}
	why = c.reason(channel, why, fault)
	it.Channel = channel
	c.outcome(it, c.states(channel), status, why)
	c.wordsOf(it, why, words)
	if channel == schemas.WhatsApp && it.Kind == schemas.MessageFailed {
		evidence = append(evidence, n.Get("message")) // for SMS that may be the text that was sent
	}
	c.proof(it, evidence...)
	it.Data.Status.Description = taken(words)
}

// states is how the statuses of a channel are looked up.
func (c *callback) states(channel schemas.Channel) func(string) (adapter.Code, bool) {
	return func(code string) (adapter.Code, bool) { return c.find(channel, code) }
}

// outcome reads a status and the reason beside it. The status decides what happened, the reason
// why: NOT-SENT with the trace OPT-OUT is a failure because of an opt-out. A failure's reason is the
// code that is shown, and the status stays in provider_data.
func (c *callback) outcome(it *adapter.Item, states func(string) (adapter.Code, bool), status, why adapter.Node) {
	row, known := states(status.Text())
	reason, understood := c.find(it.Channel, why.Text())
	it.Kind = schemas.MessageStatusUnknown
	it.Data.Status = &schemas.Status{Meaning: schemas.MeaningUnknown}
	if known {
		it.Kind, it.Data.Status.Meaning = row.Kind, row.Meaning
	}
	shown := status
	switch {
	case why.Text() == "" || why.Text() == status.Text():
	case known && it.Kind != schemas.MessageFailed:
	case !understood:
		shown = why
	case !known || reason.Kind == "" || reason.Kind == schemas.MessageFailed: // "SENT" is no reason for a failure
		it.Data.Status.Meaning, shown = reason.Meaning, why
		if it.Kind == schemas.MessageStatusUnknown && reason.Kind != "" {
			it.Kind = reason.Kind
		}
	}
	it.Data.Status.Code = taken(shown)
	c.proof(it, status, why)
}

// reason is why or, where that says nothing, an error that is a reason by its name; other words are
// a description and no code.
func (c *callback) reason(channel schemas.Channel, why, fault adapter.Node) adapter.Node {
	if _, known := c.find(channel, fault.Text()); known && why.Text() == "" {
		return fault
	}
	return why
}

// wordsOf reads the words of a failure whose code is in no table, or that has none.
func (c *callback) wordsOf(it *adapter.Item, why, words adapter.Node) {
	if _, known := c.find(it.Channel, why.Text()); known || it.Kind != schemas.MessageFailed {
		return
	}
	if row, ok := c.find(it.Channel, words.Text()); ok && row.Kind == schemas.MessageFailed {
		it.Data.Status.Meaning = row.Meaning
	}
}

// proof looks for a word that proves an opt-out at Kaleyra.
func (c *callback) proof(it *adapter.Item, words ...adapter.Node) {
	for _, word := range words {
		row, ok := c.find(it.Channel, word.Text())
		if !ok || !row.OptOut || it.Data.Evidence != nil {
			continue
		}
		it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: word.Text()}
		if it.Kind == schemas.MessageFailed {
			it.Data.Status.Meaning = row.Meaning
		}
	}
}

// find looks a status or reason up in the channel's table; WhatsApp's numbers are Meta's.
func (c *callback) find(channel schemas.Channel, code string) (adapter.Code, bool) {
	if code == "" {
		return adapter.Code{}, false
	}
	switch channel {
	case schemas.WhatsApp:
		if row, ok := c.whatsApp.Find(code); ok {
			return row, true
		}
		return c.meta.Code(code)
	case schemas.RCS:
		return c.rcs.Find(code)
	}
	return c.sms.Find(code)
}

// isSMSMessage says whether n is an MO rather than a receipt, which may carry the text that
// was sent and Kaleyra's own "status":"SENT" as well. Keyword, operator and circle stand in MOs; beside
// another status of a receipt than an MO's SENT the keyword alone is believed, since a receipt that is
// taken for an MO makes a person of the sender id. An endpoint for receipts always believes the keyword
// alone, and one for messages takes a text for an MO unless the status is none that an MO has.
func (c *callback) isSMSMessage(n adapter.Node) bool {
	if !n.Get("message").Present() {
		return false
	}
	if c.raw.Origin.Kind == schemas.EndpointStatus {
		return n.Get("keyword").Says() && n.Get("source").Says()
	}
	status := fold(n.Get("status").Text())
	if _, receipt := c.sms.Find(status); receipt && status != "SENT" && !n.Get("keyword").Says() {
		return false
	}
	for _, name := range []string{"keyword", "operator", "circle", "parts[n]"} {
		if n.Get(name).Present() {
			return true
		}
	}
	return c.raw.Origin.Kind == schemas.EndpointInbound && c.flatChannel(n) == schemas.SMS &&
		n.First("source", "from", "mobile").Present() && (status == "" || status == "SENT")
}

// smsMessage is an MO: source is the user, recipient the business's number. Its status and
// description ("Message has been sent") say nothing of the user.
func (c *callback) smsMessage(n adapter.Node) {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.SMS}
	it.Data.MessageID = n.Take("id", "kid")
	it.Data.User = n.TakeUser(c.raw, schemas.SMS, "source", "from", "mobile")
	it.Data.Business = n.TakeBusiness("recipient", "to")
	it.At(c.raw, n.First("timestamp", "created_at").Text(), naiveZone)
	it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: takeVariable(n.Get("message"))}
	c.add(it, n)
}
