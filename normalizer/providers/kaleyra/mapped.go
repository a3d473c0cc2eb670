package kaleyra

import (
	"maps"
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// Presets are the documented shapes by name, for an endpoint's mapping: an endpoint that receives
// one of them only may say so, and then it is not told by its members.
func (*Kaleyra) Presets() []string {
	return []string{"rcs", "sms-dlr", "sms-mo", "whatsapp-message", "whatsapp-status", "failover", "fallback-flow", "template", "quality"}
}

// flat are the presets whose keys a customer may have renamed one by one: fields beside such a
// preset change single keys of it.
var flat = map[string]map[string]string{
	"sms-mo":           {"message_id": "id", "user": "source", "business": "recipient", "text": "message", "time": "timestamp"},
	"sms-dlr":          {"message_id": "id", "user": "mobile", "status": "status", "status_code": "status_trace", "status_description": "description", "time": "timestamp"},
	"whatsapp-message": {"user": "from", "business": "wanumber", "text": "body", "media_url": "media_url", "mime_type": "mime_type", "reply_to": "reply_to", "postback": "custom_response", "time": "created_at"},
	"whatsapp-status":  {"message_id": "id", "user": "mobile", "business": "phone_number", "status": "status", "status_code": "error_code", "status_description": "error", "time": "timestamp"},
	"failover":         {"message_id": "failover_id", "event_id": "channel_status_id", "user": "mobile", "status": "delivered", "status_code": "status_trace", "channel": "channel"},
}

// mapped reads n by the endpoint's mapping, if it has one.
func (c *callback) mapped(n adapter.Node) bool {
	m := c.raw.Origin.Mapping
	if m == nil {
		return false
	}
	if len(m.Fields) > 0 {
		c.byFields(n, *m)
		return true
	}
	switch m.Preset {
	case "rcs":
		if n.Get("data").IsObject() {
			c.rcsEnveloped(n)
		} else {
			c.rcsEvent(n, adapter.Node{})
		}
	case "sms-mo":
		c.smsMessage(n)
	case "sms-dlr":
		c.flatStatusOf(n, schemas.SMS)
	case "whatsapp-message":
		c.whatsAppV1Message(n)
	case "whatsapp-status":
		c.flatStatusOf(n, schemas.WhatsApp)
	case "failover":
		c.failover(n)
	case "fallback-flow":
		c.fallbackFlow(n)
	case "template":
		c.template(n)
	case "quality":
		c.quality(n)
	default:
		return false
	}
	return true
}

func (c *callback) byFields(n adapter.Node, m schemas.Mapping) {
	fields := map[string]string{}
	maps.Copy(fields, flat[m.Preset])
	maps.Copy(fields, m.Fields)
	read := adapter.Map(fields, n, adapter.ReadQuery(c.raw))
	if encrypted(n, slices.Values([]adapter.Node{read.Get("user"), read.Get("status"), read.Get("time"), read.Get("channel"), read.Get("intent")})) {
		c.encrypted(n)
		return
	}
	channel := c.channelNamed(read.Get("channel").Text())
	switch {
	case m.Preset == "failover" && channel == schemas.Email && m.Fields["user"] == "" && n.Get("email").Says():
		fields["user"] = "email" // as in takePerson; read looks there
	case strings.HasPrefix(m.Preset, "whatsapp"):
		channel = schemas.WhatsApp
	case strings.HasPrefix(m.Preset, "sms"):
		channel = schemas.SMS
	}
	it := read.Event(c.raw, channel, naiveZone, adapter.Codes{})
	if m.Preset == "whatsapp-message" {
		whatsAppContent(it.Data.Content, n, read)
	}
	if content := it.Data.Content; content != nil && content.Text == "" { // "<stop>" is no variable
		content.Text = takeVariable(n.Path(fields["text"]))
		if content.Type == schemas.ContentUnsupported && content.Text != "" {
			content.Type = schemas.ContentText
		}
	}
	if it.Data.Status != nil { // by the rule of the documented shapes: the status says what, the code why
		status, why, words := read.Get("status"), read.Get("status_code"), read.Get("status_description")
		description := it.Data.Status.Description
		status.Untaken()
		why.Untaken()
		if channel == schemas.WhatsApp {
			why = c.reason(channel, why, words)
		}
		states := c.states(channel)
		if _, ok := c.failoverStates.Find(status.Text()); ok && m.Preset == "failover" {
			states = c.failoverStates.Find
		}
		c.outcome(&it, states, status, why)
		c.wordsOf(&it, why, words)
		c.proof(&it, words)
		it.Data.Status.Description = description
	}
	c.add(it, n)
}

// whatsAppContent reads what no key of the mapping says of the content (its type, a location,
// contacts): it is where it always is.
func whatsAppContent(c *schemas.Content, n adapter.Node, read adapter.Mapped) {
	if c == nil || c.Type == schemas.ContentLocation {
		return
	}
	ours := map[string]string{}
	for our, documented := range flat["whatsapp-message"] {
		ours[documented] = our
	}
	content := v1Content(func(name string) adapter.Node {
		if our, ok := ours[name]; ok {
			return read.Get(our)
		}
		return n.Get(name)
	})
	if len(content.Media) == 1 && len(c.Media) == 1 {
		content.Media[0].Name = c.Media[0].Name
	}
	*c = *content
}
