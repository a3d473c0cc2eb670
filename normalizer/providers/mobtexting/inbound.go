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

	from := first(recipient, "from")
	item.Data.User = c.userIn(from)
	if !from.Present() {
		// The profile is what the business filled in; only a number in it is certainly a person's.
		if u := adapter.User(c.raw, c.channel, recipient.Get("user").Get("phone").Text()); u != nil && u.Kind == schemas.UserPhone {
			item.Data.User = u
		}
	}
	channel := c.channelEntry(payload.Get("channels"))
	item.Data.Business = businessOf(take(channel, "to"))
	c.takeChannel(channel.Get("name"))
	item.Data.MessageID = take(payload, "id")
	item.Data.EventID = take(message, "id")
	c.atFirst(&item, message.Get("timestamp").Text(), payload.Get("timestamp").Text())
	item.Data.Content = content(message)
	return item
}

// content reads message{type, payload}. Text and media are documented; the others are read as
// WhatsApp and RCS have them, and what is none of those is kept as unsupported.
func content(message adapter.Node) *schemas.Content {
	kind, p := strings.ToLower(message.Get("type").Text()), message.Get("payload")
	if inner := message.Get(kind); !p.Present() && inner.IsObject() { // as Meta nests: {"type":"text","text":{"body":…}}
		p = inner
	}
	plain := p.IsString() // documented are only objects, but a STOP may not be lost for that
	if !p.IsObject() {
		p = message
	}
	out := &schemas.Content{Type: schemas.ContentUnsupported}
	if kind == "" { // the documented payloads tell by themselves what they are
		switch {
		case first(p, "url").Present():
			kind = "media"
		case plain, p.Get("text").Verbatim() != "":
			kind = "text"
		}
	}
	switch kind {
	case "text":
		out.Type = schemas.ContentText
		if out.Text = p.TakeText("text", "body"); plain {
			out.Text = p.TakeText("payload")
		}
	case "image", "video", "audio", "voice", "document", "file", "media", "gif", "sticker":
		out.Type = schemas.ContentMedia
		if kind == "sticker" {
			out.Type = schemas.ContentSticker
		}
		out.Text = p.TakeText("caption", "text")
		m := schemas.Media{URL: take(p, "url", "link"), ID: take(p, "id", "media_id"), MIMEType: take(p, "mime_type", "mimeType"), Name: take(p, "filename", "file_name")}
		if m != (schemas.Media{}) {
			out.Media = []schemas.Media{m}
		}
		if name := p.Get("filename"); !name.Says() { // documented as ""
			name.Taken()
		}
		return out // "image" or "video" stays in provider_data: a media type has no name for it
	case "location":
		lat, lon := p.First("latitude", "lat").Number(), p.First("longitude", "lng", "long").Number()
		if lat == "" || lon == "" {
			break
		}
		out.Type = schemas.ContentLocation
		take(p, "latitude", "lat")
		take(p, "longitude", "lng", "long")
		out.Location = &schemas.Location{Latitude: lat, Longitude: lon, Name: p.TakeText("name"), Address: p.TakeText("address")}
	case "contact", "contacts":
		out.Type, out.Detail = schemas.ContentContacts, message.Get("payload").Taken().Raw()
	case "order":
		out.Type, out.Detail = schemas.ContentOrder, message.Get("payload").Taken().Raw()
	case "reaction":
		out.Type, out.Emoji, out.ReplyTo = schemas.ContentReaction, take(p, "emoji"), take(p, "message_id", "id")
	case "button", "interactive", "quick_reply", "button_reply", "list_reply", "suggestion", "suggestion_response":
		reply := p
		for _, name := range []string{"button_reply", "list_reply", "reply", "button"} {
			if inner := p.Get(name); inner.IsObject() {
				reply = inner
				break
			}
		}
		out.Type = schemas.ContentSuggestionReply
		out.Text, out.Postback = reply.TakeText("text", "title"), take(reply, "payload", "postback", "postback_data", "id")
		if flow := p.Get("nfm_reply"); flow.IsObject() {
			out.Type, out.Text, out.Detail = schemas.ContentFlow, flow.TakeText("body"), flow.Taken().Raw()
		} else if out.Text == "" && out.Postback == "" {
			out.Type = schemas.ContentUnsupported // nothing that somebody chose
		}
	}
	if out.Type == schemas.ContentUnsupported {
		out.Text = p.TakeText("text", "caption")
		return out // type and payload stay in provider_data
	}
	message.Get("type").Taken()
	return out
}

// channelEntry is the entry of channels that the message came in by: the one of the event's
// channel, else the first.
func (c *callback) channelEntry(channels adapter.Node) adapter.Node {
	for e := range channels.Elements() {
		if strings.EqualFold(e.Get("name").Text(), string(c.channel)) {
			return e
		}
	}
	return firstOf(channels)
}

// inboundByVariables reads a composed webhook of a virtual number, whose documented variables are
// from, to, text, timestamp, keyword1, keyword2 and caller. A keyword is what the number's owner
// made of the text, not the text: without text the content is not supported.
func (c *callback) inboundByVariables() adapter.Item {
	if c.channel == "" {
		c.channel = schemas.VMN
	}
	item := c.item(schemas.MessageReceived)
	item.Data.User = c.user("from")
	item.Data.Business = c.business("to")
	item.Data.MessageID = c.take("id", "message_id")
	c.at(&item, "timestamp")
	item.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	if text := c.member("text"); text.Present() {
		item.Data.Content.Type = schemas.ContentText
		written := text.Verbatim()
		if strings.TrimSpace(written) == "" || text.Says() && !placeholder(text.Text()) {
			item.Data.Content.Text = schemas.Text(written)
		}
		if item.Data.Content.Text != "" {
			text.Taken()
		}
		if !c.said.Get("text").Present() {
			item.Distinct = written // the body alone, from which an id is made where none is given, is the same for every text
		}
	}
	return item
}
