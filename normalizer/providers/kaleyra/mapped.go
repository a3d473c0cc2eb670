package kaleyra

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// Presets are the documented shapes by name, for an endpoint's mapping: an endpoint that receives
// one of them only may say so, and then it is not told by its members.
func (*Kaleyra) Presets() []string {
	return []string{"rcs", "sms-dlr", "sms-mo", "whatsapp-message", "whatsapp-status", "failover", "fallback-flow", "template", "quality"}
}

// mapped reads n by the endpoint's mapping, if it has one.
func (c *callback) mapped(n adapter.Node) bool {
	m := c.raw.Origin.Mapping
	if m == nil || !anything(n) {
		return false
	}
	if len(m.Fields) > 0 {
		channel := c.channelNamed("")
		codes := c.sms
		switch channel {
		case schemas.WhatsApp:
			codes = c.whatsApp
		case schemas.RCS:
			codes = c.rcs
		}
		it := adapter.Map(m.Fields, n, adapter.ReadQuery(c.raw)).Event(c.raw, channel, naiveZone, codes)
		c.add(it, n)
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
