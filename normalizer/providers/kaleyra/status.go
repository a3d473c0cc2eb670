package kaleyra

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// flatStatus is a receipt whose body the customer composed of Kaleyra's variables, for SMS or
// WhatsApp; both have id, status and mobile.
func (c *callback) flatStatus(n adapter.Node) { c.flatStatusOf(n, c.flatChannel(n)) }

func (c *callback) flatStatusOf(n adapter.Node, channel schemas.Channel) {
	it := adapter.Item{Channel: channel}
	it.Data.MessageID = n.Take("id", "message_id", "messageId")
	it.Data.User = n.TakeUser(c.raw, channel, "mobile", "recipient", "to", "destination", "recipient_id")
	sender := []string{"source", "sender", "sender_id", "from", "wanumber"}
	if n.Get("mobile").Says() {
		sender = append([]string{"phone_number"}, sender...) // beside the user's mobile it is the business's [inferred]
	}
	it.Data.Business = business(n.Take(sender...))
	it.At(c.raw, n.First("timestamp", "status_time", "dlr_time", "delivered_at", "updated_at", "sent_at", "created_at", "time").Text(), naiveZone)
	c.setStatus(&it, n, channel)
	c.add(it, n)
}

// flatChannel is the endpoint's channel, else what the variables tell: SMS has no errors, no
// price and no custom_response.
func (c *callback) flatChannel(n adapter.Node) schemas.Channel {
	if ch := c.raw.Origin.Channel; ch != "" && ch != schemas.AnyChannel {
		return ch
	}
	for _, name := range []string{"custom_response", "phone_number", "error_code", "price", "error", "wanumber"} {
		if n.Get(name).Present() {
			return schemas.WhatsApp
		}
	}
	return schemas.SMS
}

// setStatus reads status and the reason beside it. The status decides what happened, the reason
// why: NOT-SENT with the trace OPT-OUT is a failure because of an opt-out.
func (c *callback) setStatus(it *adapter.Item, n adapter.Node, channel schemas.Channel) {
	status := n.First("status", "channel_status", "statusCode")
	why := n.First("status_trace", "error_code", "reason", "error")
	row, known := c.find(channel, status.Text())
	it.Kind = schemas.MessageStatusUnknown
	it.Data.Status = &schemas.Status{Code: status.Taken().Text(), Meaning: schemas.MeaningUnknown}
	if known {
		it.Kind, it.Data.Status.Meaning = row.Kind, row.Meaning
	}
	if row.OptOut {
		it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: status.Text()}
	}
	if why.Says() && it.Kind != schemas.MessageDelivered && it.Kind != schemas.MessageRead && fold(why.Text()) != fold(status.Text()) {
		reason, understood := c.find(channel, why.Text())
		if !known || it.Kind == schemas.MessageFailed {
			// the reason says more than the status, which stays in provider_data
			it.Data.Status.Code = why.Taken().Text()
			status.Untaken()
			if understood {
				it.Data.Status.Meaning = reason.Meaning
			}
			if it.Kind == schemas.MessageStatusUnknown && reason.Kind != "" {
				it.Kind = reason.Kind
			}
		}
	}
	evidence := []string{"status_trace", "error_code", "error", "reason", "description"}
	if channel == schemas.WhatsApp && it.Kind == schemas.MessageFailed {
		evidence = append(evidence, "message") // for SMS that may be the text that was sent
	}
	for _, name := range evidence {
		if r, ok := c.find(channel, n.Get(name).Text()); ok && r.OptOut && it.Data.Evidence == nil {
			it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: n.Get(name).Text()}
			if it.Kind == schemas.MessageFailed {
				it.Data.Status.Meaning = r.Meaning
			}
		}
	}
	it.Data.Status.Description = n.Take("description", "error", "reason")
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
// was sent and Kaleyra's own "status":"SENT" as well. Keyword, operator and circle stand in MOs only.
func (c *callback) isSMSMessage(n adapter.Node) bool {
	if c.raw.Origin.Kind == schemas.EndpointStatus || !n.Get("message").Present() {
		return false
	}
	for _, name := range []string{"keyword", "operator", "circle", "parts[n]"} {
		if n.Get(name).Present() {
			return true
		}
	}
	return c.raw.Origin.Kind == schemas.EndpointInbound && n.First("source", "from", "mobile").Present()
}

// smsMessage is an MO: source is the user, recipient the business's number. Its status and
// description ("Message has been sent") say nothing of the user.
func (c *callback) smsMessage(n adapter.Node) {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.SMS}
	it.Data.MessageID = n.Take("id", "kid")
	it.Data.User = n.TakeUser(c.raw, schemas.SMS, "source", "from", "mobile")
	it.Data.Business = business(n.Take("recipient", "to"))
	it.At(c.raw, n.First("timestamp", "created_at").Text(), naiveZone)
	it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: verbatim(n, "message")}
	c.add(it, n)
}
