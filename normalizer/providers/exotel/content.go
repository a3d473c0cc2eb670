package exotel

import (
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// contentOf reads what the user sent: {"type": t, t: …}. RCS and WhatsApp share the form, but
// text is a string in RCS and an object in WhatsApp, and RCS has "file" where WhatsApp names the
// sort of media. The table of the RCS document capitalises names that its samples don't.
func contentOf(n adapter.Node) *schemas.Content {
	kind := strings.ToLower(n.Get("type").Text())
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	body := member(n, kind)
	if kind == "" {
		// An item that says no type may say what went wrong, or show its type by its member.
		if failure := n.Get("error"); failure.IsObject() {
			c.Detail = failure.Taken().Raw()
			return c
		}
		for _, name := range []string{"text", "file", "location", "suggested"} {
			if m := member(n, name); m.Says() {
				kind, body = name, m
				break
			}
		}
	}
	switch kind {
	case "text":
		c.Type, c.Text = schemas.ContentText, words(body)
	case "file", "image", "video", "audio", "voice", "document", "gif":
		c.Type, c.Text, c.Media = schemas.ContentMedia, verbatim(body, "caption"), []schemas.Media{media(body)}
	case "sticker":
		c.Type, c.Media = schemas.ContentSticker, []schemas.Media{media(body)}
	case "location":
		if l := location(body); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	case "suggested", "suggestion":
		suggested(c, body)
	case "button":
		c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, verbatim(body, "text"), body.Take("payload")
	case "interactive":
		interactive(c, body)
	case "button_reply", "list_reply", "nfm_reply":
		interactive(c, n)
	case "contacts", "contact":
		c.Type, c.Detail = schemas.ContentContacts, member(n, "contacts", "contact").Taken().Raw()
	case "order":
		c.Type, c.Text, c.Detail = schemas.ContentOrder, verbatim(body, "text"), body.Taken().Raw()
	case "reaction":
		c.Type, c.Emoji, c.ReplyTo = schemas.ContentReaction, body.Take("emoji"), body.Take("message_id", "sid")
	}
	if c.ReplyTo == "" {
		c.ReplyTo = n.Get("context").Take("id", "sid", "message_id")
	}
	if c.Type == schemas.ContentUnsupported {
		c.Text = verbatim(n, "text", "caption")
		if c.Detail == nil && body.Says() {
			c.Detail = body.Taken().Raw()
		}
		return c
	}
	n.Get("type").Taken()
	return c
}

// suggested reads {"response": {"reply"|"action": {"text", "postback": {"data"}}}}.
func suggested(c *schemas.Content, n adapter.Node) {
	response := member(n, "response")
	if !response.Says() {
		response = n
	}
	tap, kind := member(response, "reply"), schemas.ContentSuggestionReply
	if !tap.Says() {
		tap, kind = member(response, "action"), schemas.ContentSuggestionAction
	}
	if !tap.IsObject() {
		return
	}
	c.Type, c.Text = kind, verbatim(tap, "text", "Text")
	if postback := member(tap, "postback"); postback.IsObject() {
		c.Postback = member(postback, "data").Taken().Text()
	} else {
		c.Postback = postback.Taken().Text()
	}
}

// interactive reads a reply to buttons, to a list, or to a flow; a flow's response_json is a
// string in one generation and an object in another.
func interactive(c *schemas.Content, n adapter.Node) {
	for _, name := range []string{"button_reply", "list_reply"} {
		if reply := member(n, name); reply.IsObject() {
			c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, verbatim(reply, "title", "text"), reply.Take("id", "payload")
			n.Get("type").Taken()
			return
		}
	}
	if flow := member(n, "nfm_reply", "flow_reply"); flow.IsObject() {
		c.Type, c.Text = schemas.ContentFlow, verbatim(flow, "body")
		if response := flow.Get("response_json"); response.Says() {
			c.Detail = response.Taken().JSON().Raw()
		}
		n.Get("type").Taken()
	}
}

func media(n adapter.Node) schemas.Media {
	m := schemas.Media{
		URL: n.Take("url", "link", "Url"), ID: n.Take("id"), MIMEType: n.Take("mime_type", "type"), Name: n.Take("name", "filename", "file_name"),
		SHA256: n.Take("sha256"), ThumbnailURL: n.Take("thumbnail_url"),
	}
	if size, err := strconv.ParseInt(n.Get("size").Text(), 10, 64); err == nil && size >= 0 {
		m.Size = size
		n.Get("size").Taken()
	}
	return m
}

// location reads a place; the RCS sample spells "longtitude".
func location(n adapter.Node) *schemas.Location {
	latitude, longitude := n.First("latitude", "lat"), n.First("longitude", "longtitude", "long", "lng")
	l := &schemas.Location{Latitude: latitude.Number(), Longitude: longitude.Number()}
	if l.Latitude == "" || l.Longitude == "" {
		return nil
	}
	latitude.Taken()
	longitude.Taken()
	l.Name, l.Address = verbatim(n, "name"), verbatim(n, "address")
	return l
}

// words is a text that is a string or {"body": …}, unchanged.
func words(n adapter.Node) schemas.Text {
	if n.IsObject() {
		return verbatim(n, "body", "text")
	}
	return schemas.Text(n.Taken().Verbatim())
}

// verbatim is what a person wrote in the first of the members that is there, unchanged.
func verbatim(n adapter.Node, names ...string) schemas.Text {
	for _, name := range names {
		if m := n.Get(name); m.Verbatim() != "" {
			return schemas.Text(m.Taken().Verbatim())
		}
	}
	return ""
}

// member is the first of the members that is there, in small letters or with a capital.
func member(n adapter.Node, names ...string) adapter.Node {
	for _, name := range names {
		if name == "" {
			continue
		}
		if m := n.Get(name); m.Present() {
			return m
		}
		if m := n.Get(strings.ToUpper(name[:1]) + name[1:]); m.Present() {
			return m
		}
	}
	return adapter.Node{}
}
