package kaleyra

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// rcsEnveloped is the second generation: {"code", "message", "data": {the flat event}, "error"}.
func (c *callback) rcsEnveloped(envelope adapter.Node) {
	c.rcsEvent(envelope.Get("data"), envelope)
}

// rcsEvent is the flat event of both generations.
func (c *callback) rcsEvent(n, envelope adapter.Node) {
	it := adapter.Item{Channel: schemas.RCS}
	it.Data.MessageID = n.Take("messageId")
	it.Data.EventID = n.Take("eventId")
	user, agent := "from", "to"
	if c.fromAgent(n) {
		user, agent = agent, user
	}
	it.Data.User = n.TakeUser(c.raw, schemas.RCS, user)
	it.Data.Business = n.TakeBusiness(agent)
	it.At(c.raw, n.First("sentAt", "timestamp").Text(), naiveZone)
	code := envelope.Get("code")
	switch kind := fold(n.Get(typeName).Text()); {
	case kind == typeUserMessage || kind == "" && n.Get("userMessage").Present():
		it.Kind = schemas.MessageReceived
		it.Data.Content = userMessage(n.Get("userMessage").JSON())
	case kind == typeSubscribe: // exact: a false opt-in is worse than one that is missed
		// "User gives consent to start receiving messages from the brand", which the event does not name.
		it.Kind = schemas.UserOptedIn
		it.Data.Consent = &schemas.ConsentAct{Intent: schemas.OptIn, Scope: schemas.ScopeBrand, Value: "*"}
	case strings.HasPrefix(kind, "UNSUBSCRIBE") || kind == "OPT_OUT" || kind == "OPTOUT" || c.unknownType(kind) && code.Text() == codeUnsubscribe:
		// "agent must stop all future messaging"
		it.Kind = schemas.UserOptedOut
		it.Data.Consent = &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeAgent, Value: "*"}
		if it.Data.Business != nil {
			it.Data.Consent.Value = it.Data.Business.Address
		}
	case kind == typeComposing:
		it.Kind = schemas.UserTyping
	case c.unknownType(kind) && n.Get("userMessage").Says(): // what a user wrote is kept whatever the event is called
		it.Kind = schemas.MessageReceived
		it.Data.Content = userMessage(n.Get("userMessage").JSON())
	default:
		c.rcsReceipt(&it, n, envelope)
	}
	c.add(it, c.whole(n, envelope))
}

// fromAgent says whether `from` is the agent. It is the user in receipts too, where the message
// went the other way (documented), and `to` may be a number like any other; but should an event
// come with its sides changed about, the agent must not become a person who gets receipts and
// stops: then `from` is the endpoint's own agent, or a name where `to` is a phone number.
func (c *callback) fromAgent(n adapter.Node) bool {
	from := n.Get("from").Text()
	if from == "" {
		return false
	}
	if agent := c.raw.Origin.Agent; agent != "" && from == agent && n.Get("to").Text() != agent {
		return true
	}
	if strings.Trim(from, "+0123456789 ") == "" {
		return false // a number, if only a national one
	}
	sender, other := adapter.User(c.raw, schemas.RCS, from), adapter.User(c.raw, schemas.RCS, n.Get("to").Text())
	return sender != nil && sender.Kind == schemas.UserOpaque && other != nil && other.Kind == schemas.UserPhone
}

// whole is the node whose rest is the event's provider_data: the envelope around it, if any.
func (c *callback) whole(n, envelope adapter.Node) adapter.Node {
	if envelope.Present() {
		return envelope
	}
	return n
}

func (c *callback) unknownType(kind string) bool {
	_, known := c.rcs.Find(kind)
	return !known && kind != typeUserMessage && kind != typeSubscribe
}

// rcsReceipt reads SENT, DELIVERED, READ, ERROR, TTL_EXPIRATION_REVOKED and what may come.
func (c *callback) rcsReceipt(it *adapter.Item, n, envelope adapter.Node) {
	kind := n.Get(typeName)
	shown, description := kind.Text(), ""
	failure := envelope.Get("error")
	if !failure.Says() {
		failure = n.Get("error")
	}
	if code := taken(envelope.Get("code")); code != "" {
		shown, description = code, envelope.Take("message")
	} else {
		taken(kind)
		description = n.Take("description")
	}
	reason := failure.First("code", "errorCode", "error_code").Text()
	c.rcs.SetStatus(it, shown, description, kind.Text(), shown)
	if row, ok := c.rcs.Find(reason); ok && row.OptOut {
		it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: reason}
	}
	if it.Data.Status.Description == "" {
		it.Data.Status.Description = failure.Take("message", "description", "reason")
	}
}

// userMessage is what a user sent: text, a tap on a suggestion, a location. Files are documented
// in no generation; what RBM beneath calls userFile is taken for media should it come. A tap of
// another kind than REPLY and ACTION stays a tap: its label is the business's words, which must not
// be read as the user's.
func userMessage(n adapter.Node) *schemas.Content {
	if s := n.Verbatim(); s != "" {
		return &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(n.Taken().Verbatim())}
	}
	kind := fold(n.Get(typeName).Text())
	response := n.Get("response")
	if kind == "" {
		switch {
		case response.IsObject():
			kind = "RESPONSE"
		case n.Get("location").IsObject():
			kind = "LOCATION"
		case n.Get("text").Says():
			kind = "TEXT"
		}
	}
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	switch kind {
	case "TEXT":
		if text := n.Get("text"); !text.IsObject() && !text.IsArray() {
			c.Type, c.Text = schemas.ContentText, n.TakeText("text")
			return c
		}
	case "RESPONSE":
		c.Type = schemas.ContentSuggestionReply
		if fold(response.Get(typeName).Text()) == "ACTION" {
			c.Type = schemas.ContentSuggestionAction
		}
		c.Text = response.TakeText("text")
		c.Postback = response.Take("postbackData")
		return c
	case "LOCATION":
		location := n.Get("location")
		if !location.IsObject() {
			location = n
		}
		if l := whatsapp.TakeLocation(location); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
			c.Text = n.TakeText("text")
			return c
		}
	}
	c.Text = n.TakeText("text", "caption")
	for _, name := range []string{"userFile", "file", "media", "image", "video", "audio", "document"} {
		if m, ok := file(n.Get(name)); ok {
			c.Type, c.Media = schemas.ContentMedia, []schemas.Media{m}
			return c
		}
	}
	if n.Says() {
		c.Detail = n.Taken().Raw()
	}
	return c
}

// file reads a file object, or the payload inside of it.
func file(n adapter.Node) (schemas.Media, bool) {
	if p := n.Get("payload"); p.IsObject() {
		m, ok := file(p)
		m.ThumbnailURL = n.Get("thumbnail").Take("fileUri", "url")
		return m, ok
	}
	m := whatsapp.TakeMedia(n)
	if m.URL == "" {
		m.URL = n.Take("fileUri", "fileUrl", "uri", "mediaUrl")
	}
	if m.MIMEType == "" {
		m.MIMEType = n.Take("mimeType", "contentType")
	}
	if m.Name == "" {
		m.Name = n.Take("fileName", "name")
	}
	return m, m.URL != "" || m.ID != ""
}
