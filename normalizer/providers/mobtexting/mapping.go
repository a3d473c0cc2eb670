package mobtexting

import (
	"maps"
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// presets are the composed webhooks that the documentation shows, our name to their key. Their
// shapes are recognised without configuration too; a preset says it for certain, and fields
// beside it change single keys.
var presets = map[string]map[string]string{
	"compose-sms":   {"message_id": "id", "user": "mobile", "status": "message_status"},
	"compose-chat":  {"message_id": "id", "user": "mobile", "status": "message_status", "time": "read_at"},
	"compose-url":   {"message_id": "message_id", "user": "mobile_number", "status": "message_status"},
	"compose-voice": {"message_id": "id", "user": "to", "status": "status"},
	"compose-vmn":   {"user": "from", "business": "to", "text": "text", "time": "timestamp"},
	"push-dlr":      {"message_id": "id", "user": "mobile", "status": "status", "time": "deliv_time"},
}

// Presets lists the names that an endpoint's mapping may have.
func (mobtexting) Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// mapped reads the body by the endpoint's mapping. It reports false when nothing that would make
// an event is found: the shape then decides.
func (c *callback) mapped(m *schemas.Mapping) (adapter.Item, bool) {
	fields := maps.Clone(presets[m.Preset])
	if fields == nil {
		fields = map[string]string{}
	}
	maps.Copy(fields, m.Fields)
	var query *adapter.View
	if len(c.raw.Request.Body) > 0 {
		query = adapter.ReadQuery(c.raw)
	}
	got := adapter.Map(fields, c.body, query)
	c.channel = c.channelOf(strings.ToLower(got.Get("channel").Text()))
	says := func(name string) bool {
		text := got.Get(name).Text()
		return text != "" && !placeholder(text)
	}

	var item adapter.Item
	switch {
	case says("intent"), says("scope"):
		item = c.item(schemas.UserOptedOut)
		act := &schemas.ConsentAct{Intent: schemas.OptOut, Scope: scopeOf(got.Get("scope").Text()), Value: got.Take("scope_value")}
		if intent := strings.ToLower(got.Get("intent").Text()); intent == "opt_in" || intent == "start" || intent == "subscribe" {
			item.Kind, act.Intent = schemas.UserOptedIn, schemas.OptIn
		}
		if act.Value == "" || act.Value == "*" {
			act.Scope, act.Value = schemas.ScopeAll, "*"
		}
		item.Data.Consent = act
	case says("status"), says("status_code"):
		item = c.item(schemas.MessageStatusUnknown)
		codes := smsCodes
		switch c.channel {
		case schemas.WhatsApp, schemas.RCS, schemas.Viber:
			codes = chatCodes
		case schemas.Voice:
			codes = voiceCodes
		}
		words, number, description := got.Take("status"), got.Take("status_code"), got.Take("status_description")
		shown := words
		if number != "" {
			shown = number
			if description == "" {
				description = words
			}
		}
		codes.SetStatus(&item, shown, description, number, words)
		if c.channel == schemas.Voice {
			item.Kind = schemas.CallEnded
		}
	case says("text"), says("media_url"):
		item = c.item(schemas.MessageReceived)
		out := &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(got.Get("text").Taken().Verbatim()), Postback: got.Take("postback"), ReplyTo: got.Take("reply_to")}
		if url := got.Take("media_url"); url != "" {
			out.Type, out.Media = schemas.ContentMedia, []schemas.Media{{URL: url, MIMEType: got.Take("mime_type"), Name: got.Take("media_name")}}
		}
		item.Data.Content = out
	default:
		return adapter.Item{}, false
	}
	if user := got.Get("user"); !placeholder(user.Text()) {
		if item.Data.User = adapter.User(c.raw, c.channel, user.Text()); item.Data.User != nil {
			user.Taken()
		}
	}
	if business := got.Take("business"); business != "" && !placeholder(business) {
		item.Data.Business = &schemas.Business{Address: business}
	}
	item.Data.MessageID, item.Data.EventID = got.Take("message_id"), got.Take("event_id")
	item.At(c.raw, got.Get("time").Text(), naiveZone)
	return item, true
}
