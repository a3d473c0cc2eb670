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
	"compose-chat":  {"message_id": "id", "user": "mobile", "status": "message_status"},
	"compose-url":   {"message_id": "message_id", "user": "mobile_number", "status": "message_status"},
	"compose-voice": {"message_id": "id", "user": "to", "status": "status"},
	"compose-vmn":   {"user": "from", "business": "to", "text": "text", "time": "timestamp"},
	"push-dlr":      {"message_id": "id", "user": "mobile", "status": "status"},
}

// Presets lists the names that an endpoint's mapping may have.
func (mobtexting) Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// mapped is the body as the endpoint's mapping has it, without the names whose value says nothing.
func (c *callback) mapped(m *schemas.Mapping) *adapter.Mapped {
	fields := maps.Clone(presets[m.Preset])
	if fields == nil {
		fields = map[string]string{}
	}
	maps.Copy(fields, m.Fields)
	query := c.query.View()
	if query == nil && len(c.raw.Request.Body) > 0 {
		query = adapter.ReadQuery(c.raw)
	}
	got := adapter.Map(fields, c.body, query)
	for name := range fields {
		switch written := got.Get(name).Text(); {
		case name == "text" || name == "subject": // a person's words, whatever they are
		case absent(written), name == "time" && never(written):
			delete(fields, name)
		}
	}
	got = adapter.Map(fields, c.body, query)
	return &got
}

// byMapping reads the body by the mapping. It reports false when nothing that would make an event
// is found: the shape then decides.
func (c *callback) byMapping() (adapter.Item, bool) {
	says := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return c.mapping.Get(name).Says() })
	}
	if !says("intent", "scope", "status", "status_code", "text", "media_url", "postback", "latitude") {
		return adapter.Item{}, false
	}
	c.channel = c.channelOf(strings.ToLower(c.mapping.Get("channel").Text()))
	item := c.mapping.Event(c.raw, c.channel, naiveZone, c.codes(c.mapping.Get("status").Text()))
	c.mappedReach(&item, says("scope"))
	switch d := &item.Data; {
	case d.Consent != nil:
	case d.Status == nil:
		if item.Time.IsZero() && d.TimeFlag == "" {
			c.at(&item, "timestamp")
		}
	case c.channel == schemas.Voice:
		c.callDetails(&item)
		if len(c.raw.Origin.Mapping.Fields) > 0 {
			c.fingerprint = nil // of documented names; the customer's tell calls apart here
		}
	case item.Time.IsZero() && d.TimeFlag == "":
		c.receiptAt(&item)
	}
	return item, true
}

// mappedReach reads scope by the provider's words for it, where it is not one of ours. A body
// with a scope and without a readable intent is an unsubscription by other key names: it has no
// member for the intent.
func (c *callback) mappedReach(item *adapter.Item, scoped bool) {
	kind, value := c.mapping.Get("scope").Text(), c.mapping.Get("scope_value")
	_, known := scopes[strings.ToLower(kind)]
	d := &item.Data
	switch {
	case !scoped:
		return
	case d.Consent == nil:
		for _, name := range []string{"status", "status_code", "status_description", "text"} {
			c.mapping.Get(name).Untaken()
		}
		item.Kind, d.Status, d.Evidence, d.Content = schemas.UserOptedOut, nil, nil, nil
		d.Consent = &schemas.ConsentAct{Intent: schemas.OptOut}
	case !known:
		return
	case d.Consent.Intent == schemas.OptIn && !value.Says():
		return // a start reaches no further than it says
	}
	d.Consent.Scope, d.Consent.Value = reach(kind, value.Taken().Text())
	if d.Business == nil && d.Consent.Scope == schemas.ScopeAgent {
		d.Business = businessOf(d.Consent.Value)
	}
}
