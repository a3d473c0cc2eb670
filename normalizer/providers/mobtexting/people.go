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
	sentence := strings.ToLower(c.said.Get("status").Text())
	if strings.Contains(sentence, "deleted") || strings.Contains(sentence, "removed") {
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

	act := &schemas.ConsentAct{Intent: schemas.OptOut, Scope: scopeOf(c.said.Get("type").Text()), Value: c.said.Get("value").Text()}
	switch {
	case act.Value == "" || act.Value == "*":
		// A scope without a name, a sender "*" say, cannot be narrower than all.
		act.Scope, act.Value = schemas.ScopeAll, "*"
	case act.Scope == schemas.ScopeAgent:
		item.Data.Business = &schemas.Business{Address: act.Value}
	}
	c.said.Get("value").Taken()
	item.Data.Consent = act
	return item
}

// scopeOf is how far an unsubscription's type reaches. Tag, service and product divide messages
// as categories do; which of them it was stays in provider_data. A type that is not documented
// reaches as far as can be: a STOP that is misunderstood must not be one that is missed.
func scopeOf(kind string) schemas.Scope {
	switch strings.ToLower(kind) {
	case "sender":
		return schemas.ScopeAgent
	case "category", "tag", "service", "product":
		return schemas.ScopeCategory
	}
	return schemas.ScopeAll
}

// contact reads contacts:subscriber:subscription. Created and updated have the same event name:
// the sentence tells them apart, else whether the record was touched after it was made.
func (c *callback) contact() adapter.Item {
	kind := schemas.ContactCreated
	created, updated := c.said.Get("created_at").Text(), c.said.Get("updated_at").Text()
	switch sentence := strings.ToLower(c.said.Get("status").Text()); {
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
