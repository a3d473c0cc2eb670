package mobtexting

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// inbound reads whatsapp:, rcs:, viber: and vmn:message:in. recipient.from is the sender, that is
// the end user; channels[0].to is the business.
func (c *callback) inbound() adapter.Item {
	item := c.item(schemas.MessageReceived)
	payload, message := c.said, c.said.Get("message")
	recipient := payload.Get("recipient")

	item.Data.User = recipient.TakeUser(c.raw, c.channel, "from")
	if item.Data.User == nil && !recipient.Get("from").Says() {
		// The profile is what the business filled in; only a number in it is certainly a person's.
		if u := adapter.User(c.raw, c.channel, recipient.Get("user").Get("phone").Text()); u != nil && u.Kind == schemas.UserPhone {
			item.Data.User = u
		}
	}
	channel := firstOf(payload.Get("channels"))
	if to := channel.Take("to"); to != "" {
		item.Data.Business = &schemas.Business{Address: to}
	}
	channel.Get("name").Taken()
	item.Data.MessageID = payload.Take("id")
	item.Data.EventID = message.Take("id")

	written := message.Get("timestamp").Text()
	if written == "" {
		written = payload.Get("timestamp").Text()
	}
	item.At(c.raw, written, naiveZone)
	item.Data.Content = content(message)
	return item
}

// content reads message{type, payload}. Text and media are documented; the others are read as
// WhatsApp and RCS have them, and what is none of those is kept as unsupported.
func content(message adapter.Node) *schemas.Content {
	kind, p := strings.ToLower(message.Get("type").Text()), message.Get("payload")
	if !p.IsObject() {
		p = message
	}
	out := &schemas.Content{Type: schemas.ContentUnsupported}
	switch kind {
	case "text":
		out.Type = schemas.ContentText
		out.Text = verbatim(p, "text", "body")
	case "image", "video", "audio", "voice", "document", "file", "media", "gif", "sticker":
		out.Type = schemas.ContentMedia
		if kind == "sticker" {
			out.Type = schemas.ContentSticker
		}
		out.Text = verbatim(p, "caption", "text")
		m := schemas.Media{URL: p.Take("url", "link"), ID: p.Take("id", "media_id"), MIMEType: p.Take("mime_type", "mimeType"), Name: p.Take("filename", "file_name")}
		out.Media = []schemas.Media{m}
		p.Get("filename").Taken()
		return out // "image" or "video" stays in provider_data: a media type has no name for it
	case "location":
		lat, lon := p.First("latitude", "lat").Number(), p.First("longitude", "lng", "long").Number()
		if lat == "" || lon == "" {
			break
		}
		out.Type = schemas.ContentLocation
		p.Take("latitude", "lat")
		p.Take("longitude", "lng", "long")
		out.Location = &schemas.Location{Latitude: lat, Longitude: lon, Name: verbatim(p, "name"), Address: verbatim(p, "address")}
	case "contact", "contacts":
		out.Type, out.Detail = schemas.ContentContacts, message.Get("payload").Taken().Raw()
	case "order":
		out.Type, out.Detail = schemas.ContentOrder, message.Get("payload").Taken().Raw()
	case "reaction":
		out.Type, out.Emoji, out.ReplyTo = schemas.ContentReaction, p.Take("emoji"), p.Take("message_id", "id")
	case "button", "interactive", "quick_reply", "button_reply", "list_reply", "suggestion", "suggestion_response":
		reply := p
		for _, name := range []string{"button_reply", "list_reply", "reply", "button"} {
			if inner := p.Get(name); inner.IsObject() {
				reply = inner
				break
			}
		}
		out.Type = schemas.ContentSuggestionReply
		out.Text, out.Postback = verbatim(reply, "text", "title"), reply.Take("payload", "postback", "postback_data", "id")
	}
	if out.Type == schemas.ContentUnsupported {
		out.Text = verbatim(p, "text", "caption")
		return out // type and payload stay in provider_data
	}
	message.Get("type").Taken()
	return out
}

// verbatim is what a person wrote in the first of the members that is there, unchanged.
func verbatim(n adapter.Node, names ...string) schemas.Text {
	for _, name := range names {
		if m := n.Get(name); m.Present() && m.Verbatim() != "" {
			return schemas.Text(m.Taken().Verbatim())
		}
	}
	return ""
}

// inboundByVariables reads a composed webhook of a virtual number, whose documented variables are
// from, to, text, timestamp, keyword1, keyword2 and caller.
func (c *callback) inboundByVariables() adapter.Item {
	if c.channel == "" {
		c.channel = schemas.VMN
	}
	item := c.item(schemas.MessageReceived)
	item.Data.User = c.user("from")
	item.Data.Business = c.business("to")
	item.Data.MessageID = c.take("id", "message_id")
	c.at(&item, "timestamp")
	item.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: verbatim(c.said, "text")}
	return item
}
