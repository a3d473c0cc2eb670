package mobtexting

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// unsubscription reads {id, receiver, type, value, created_at, status}. It names no channel: that
// is the endpoint's. No event for the way back is documented, so none is made up: a sentence
// that speaks of a deleted unsubscriber is told as an account notice and opts nobody in.
func (c *callback) unsubscription() adapter.Item {
	if c.removed() {
		item := c.item(schemas.AccountNotice)
		item.Data.User = c.user("receiver", "mobile")
		item.Data.EventID = c.take("id")
		c.at(&item, "updated_at", "created_at")
		item.Distinct = c.distinct("created_at", "updated_at")
		return item
	}
	item := c.item(schemas.UserOptedOut)
	item.Data.User = c.user("receiver", "mobile")
	item.Data.EventID = c.take("id")
	c.at(&item, "created_at")
	item.Distinct = c.distinct("created_at")

	act := &schemas.ConsentAct{Intent: schemas.OptOut}
	value := c.said.Get("value")
	act.Scope, act.Value = reach(c.said.Get("type").Text(), value.Text())
	if act.Scope == schemas.ScopeAgent {
		item.Data.Business = businessOf(act.Value)
	}
	if !value.IsArray() && !value.IsObject() {
		value.Taken()
	}
	item.Data.Consent = act
	return item
}

// removed says whether the record's sentence tells that it was taken away again.
func (c *callback) removed() bool {
	sentence := strings.ToLower(c.said.Get("status").Text())
	return strings.Contains(sentence, "deleted") || strings.Contains(sentence, "removed")
}

// reach is the scope and value of an unsubscription by its type and value. A scope without a
// name, a sender "*" say, cannot be narrower than all. A type that is not documented reaches as far
// as can be too: a STOP that is misunderstood must not be one that is missed.
func reach(kind, value string) (schemas.Scope, string) {
	scope, known := scopes[strings.ToLower(kind)]
	switch {
	case absent(value) || value == "*":
		return schemas.ScopeAll, "*"
	case !known:
		scope = schemas.ScopeAll
	}
	return scope, value
}

// scopes has the documented types. Tag, service and product divide messages as categories do; which
// of them it was stays in provider_data.
var scopes = map[string]schemas.Scope{
	"sender": schemas.ScopeAgent, "all": schemas.ScopeAll,
	"category": schemas.ScopeCategory, "tag": schemas.ScopeCategory, "service": schemas.ScopeCategory, "product": schemas.ScopeCategory,
}

// contact reads contacts:subscriber:subscription. Created and updated have the same event name:
// the sentence tells them apart, else whether the record was touched after it was made.
func (c *callback) contact() adapter.Item {
	kind := schemas.ContactCreated
	created, updated := c.said.Get("created_at").Text(), c.said.Get("updated_at").Text()
	switch sentence := strings.ToLower(c.said.Get("status").Text()); {
	case c.removed():
		kind = schemas.AccountNotice // no event for it is documented
	case strings.Contains(sentence, "created"):
	case strings.Contains(sentence, "updated"), updated != "" && updated != created:
		kind = schemas.ContactUpdated
	}
	item := c.item(kind)
	item.Data.User = c.user("identity")
	item.Data.EventID = c.take("id")
	c.at(&item, "updated_at", "created_at")
	item.Distinct = c.distinct("created_at", "updated_at") // the id is the contact's, for good
	return item
}

// linkVisit reads a visit to a smart link.
func (c *callback) linkVisit() adapter.Item {
	item := c.item(schemas.LinkClicked)
	item.Data.User = c.user("mobile")
	item.Data.EventID = c.take("id")
	c.at(&item, "created_at")
	item.Distinct = c.distinct("link_id", "created_at")
	return item
}

// distinct joins the members by which the provider tells records with one id apart, and the
// channel, since unsubscriptions are numbered per channel.
func (c *callback) distinct(names ...string) string {
	parts := []string{string(c.channel)}
	for _, name := range names {
		parts = append(parts, c.said.Get(name).Text())
	}
	return strings.Join(parts, "\x00")
}
