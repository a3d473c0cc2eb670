package adapter

import (
	"strconv"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// Mapped reads a callback by the fields of an endpoint's mapping: our name to the customer's key,
// a name, or names and array indexes with points between ("data.items.0.id"). A key that the body lacks is looked up in
// the query, where customers put variables too.
type Mapped struct {
	fields map[string]string
	body   Node
	query  Node
}

// Map reads n, and the query if there is one, by fields.
func Map(fields map[string]string, n Node, query *View) Mapped {
	m := Mapped{fields: fields, body: n}
	if query != nil && query != n.v {
		m.query = query.Root()
	}
	return m
}

// Get is the value that the mapping gives our name to.
func (m Mapped) Get(name string) Node {
	key, ok := m.fields[name]
	if !ok {
		return Node{}
	}
	if n := m.body.Path(key); n.Says() {
		return n
	}
	return m.query.Path(key)
}

// Take is the text of the value that the mapping gives our name to, and marks it as taken.
func (m Mapped) Take(name string) string {
	n := m.Get(name)
	s := n.Text()
	if s != "" {
		n.Taken()
	}
	return s
}

// Event makes the event of a mapped body: a consent act where intent says one, a receipt where
// a status is mapped, else a message. zone is as for Item.At, codes the provider's.
func (m Mapped) Event(raw Raw, channel schemas.Channel, zone string, codes Codes) Item {
	it := Item{Channel: channel}
	d := &it.Data
	d.MessageID, d.EventID = m.Take("message_id"), m.Take("event_id")
	if n := m.Get("user"); n.Says() {
		if d.User = User(raw, channel, n.Text()); d.User != nil {
			n.Taken()
		}
	}
	if address := m.Take("business"); address != "" {
		d.Business = &schemas.Business{Address: address}
	}
	it.At(raw, m.Get("time").Text(), zone)
	switch status, code := m.Get("status").Text(), m.Get("status_code").Text(); {
	case m.Get("intent").Says() && m.consent(&it):
	case status != "" || code != "":
		shown := status
		if code != "" {
			shown = code
			m.Get("status_code").Taken()
		} else {
			m.Get("status").Taken()
		}
		codes.SetStatus(&it, shown, m.Take("status_description"), code, status)
	default:
		it.Kind = schemas.MessageReceived
		d.ProviderAction = actionOf(m.Get("action").Text())
		d.Content = m.content()
	}
	return it
}

// consent reads what the body says of consent; false when it says neither.
func (m Mapped) consent(it *Item) bool {
	act := &schemas.ConsentAct{Scope: schemas.Scope(strings.ToLower(m.Get("scope").Text()))}
	switch FoldCode(m.Get("intent").Text()) {
	case "OPT_OUT", "OPTOUT", "OPTED_OUT", "STOP", "UNSUBSCRIBE", "UNSUBSCRIBED":
		it.Kind, act.Intent = schemas.UserOptedOut, schemas.OptOut
	case "OPT_IN", "OPTIN", "OPTED_IN", "START", "SUBSCRIBE": // exact: a false opt-in is worse than one that is missed
		it.Kind, act.Intent = schemas.UserOptedIn, schemas.OptIn
	default:
		return false
	}
	switch act.Scope {
	case schemas.ScopeAgent, schemas.ScopeBrand, schemas.ScopeChannel, schemas.ScopeCategory, schemas.ScopeAll:
		act.Value = m.Take("scope_value")
	default:
		// No word of how far it reaches: a stop goes for the agent, whatever value stands
		// there, a start for no more than that value.
		act.Scope = schemas.ScopeAgent
		if act.Intent == schemas.OptIn && m.Get("scope_value").Says() {
			act.Scope, act.Value = schemas.ScopeCategory, m.Take("scope_value")
		}
	}
	if act.Value == "" {
		act.Value = "*"
	}
	it.Data.Consent = act
	return true
}

func actionOf(s string) schemas.ProviderAction {
	switch a := schemas.ProviderAction(strings.ToLower(s)); a {
	case schemas.ActionStart, schemas.ActionStop, schemas.ActionHelp, schemas.ActionGeneric:
		return a
	}
	return ""
}

func (m Mapped) content() *schemas.Content {
	c := &schemas.Content{
		Type: schemas.ContentUnsupported, Text: schemas.Text(m.Get("text").Taken().Verbatim()), Subject: schemas.Text(m.Take("subject")),
		Postback: m.Take("postback"), ReplyTo: m.Take("reply_to"),
	}
	latitude, longitude := m.Get("latitude"), m.Get("longitude")
	switch url := m.Take("media_url"); {
	case url != "":
		c.Type = schemas.ContentMedia
		c.Media = []schemas.Media{{URL: url, MIMEType: m.Take("mime_type"), Name: m.Take("media_name")}}
	case latitude.Number() != "" && longitude.Number() != "":
		c.Type = schemas.ContentLocation
		c.Location = &schemas.Location{Latitude: latitude.Taken().Number(), Longitude: longitude.Taken().Number()}
	case c.Postback != "":
		c.Type = schemas.ContentSuggestionReply
	case c.Text != "":
		c.Type = schemas.ContentText
	}
	return c
}

// Path is the value at names and indexes with points between. A member whose own name has the
// points wins.
func (n Node) Path(path string) Node {
	if m := n.member(path); m.Present() {
		return m
	}
	for step := range strings.SplitSeq(path, ".") {
		if i, err := strconv.Atoi(step); err == nil && n.IsArray() {
			n = n.element(i)
			continue
		}
		n = n.member(step)
	}
	return n
}

func (n Node) element(i int) Node {
	for e := range n.Elements() {
		if i == 0 {
			return e
		}
		i--
	}
	return Node{}
}
