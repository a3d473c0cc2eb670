package exotel

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// contentTypes are the members by which content that says no type shows what it is.
var contentTypes = []string{
	"text", "body", "file", "location", "suggested", "image", "video", "audio", "voice", "document", "sticker",
	"button", "interactive", "contacts", "order", "reaction",
}

// contentOf reads what the user sent: {"type": t, t: …}. RCS and WhatsApp share the form, but
// text is a string in RCS and an object in WhatsApp, and RCS has "file" where WhatsApp names the
// sort of media. The table of the RCS document capitalises names that its samples don't.
func contentOf(n adapter.Node) *schemas.Content {
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	if !n.IsObject() {
		if text := n.Verbatim(); text != "" {
			n.Taken()
			c.Type, c.Text = schemas.ContentText, schemas.Text(text)
		}
		return c
	}
	given := member(n, "type")
	kind := word(given.Text())
	body := member(n, kind)
	if kind == "" && !member(n, "error").Says() { // an item with neither says its type by its member
		for _, name := range contentTypes {
			if m := member(n, name); m.Says() {
				kind, body = name, m
				break
			}
		}
	}
	switch kind {
	case "text", "body":
		c.Type, c.Text = schemas.ContentText, words(body)
		if c.Text == "" {
			c.Text = verbatim(n, "body", "message")
		}
	case "file", "image", "video", "audio", "voice", "document", "gif":
		if !body.Says() {
			body = member(n, "file", "media")
		}
		if body.IsObject() || body.IsString() {
			c.Type, c.Text, c.Media = schemas.ContentMedia, verbatim(body, "caption"), []schemas.Media{media(body)}
		}
	case "sticker":
		if body.IsObject() || body.IsString() {
			c.Type, c.Media = schemas.ContentSticker, []schemas.Media{media(body)}
		}
	case "location":
		if l := location(body); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	case "suggested", "suggestion":
		suggested(c, body)
	case "suggested_reply": // this and the next are words of the new portal
		tapped(c, itself(body, n), schemas.ContentSuggestionReply)
	case "suggested_action":
		tapped(c, itself(body, n), schemas.ContentSuggestionAction)
	case "button":
		c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, words(body), take(body, "payload")
	case "interactive":
		interactive(c, body)
	case "button_reply", "list_reply", "nfm_reply":
		interactive(c, n)
	case "contacts", "contact":
		c.Type, c.Detail = schemas.ContentContacts, detail(member(n, "contacts", "contact"))
	case "order":
		c.Type, c.Text, c.Detail = schemas.ContentOrder, verbatim(body, "text"), detail(body)
	case "reaction":
		c.Type, c.Emoji, c.ReplyTo = schemas.ContentReaction, take(body, "emoji"), take(body, "message_id", "sid")
	}
	if c.ReplyTo == "" {
		c.ReplyTo = replyTo(n)
	}
	if c.Type == schemas.ContentUnsupported {
		c.Text = verbatim(n, "text", "caption")
		if !body.Says() {
			body = member(n, "error") // what went wrong, with or without a type
		}
		c.Detail = detail(body)
		return c
	}
	if word(given.Text()) == string(c.Type) { // else the provider's word says more: image, list_reply
		given.Taken()
	}
	return c
}

// detail is the provider's own object, nil where it says nothing: null is no detail.
func detail(n adapter.Node) json.RawMessage {
	if !n.Says() {
		return nil
	}
	return n.Taken().Raw()
}

// replyTo is the message that n says it answers.
func replyTo(n adapter.Node) string {
	return take(member(n, "context"), "id", "sid", "message_id")
}

// suggested reads {"response": {"reply"|"action": {"text", "postback": {"data"}}}}. The document's table has
// both as mandatory, its samples send one: where both come, the one that says nothing is passed by.
func suggested(c *schemas.Content, n adapter.Node) {
	response := member(n, "response")
	if !response.Says() {
		response = n
	}
	if reply := member(response, "reply"); reply.Says() {
		if tapped(c, reply, schemas.ContentSuggestionReply); chosen(c) {
			return
		}
	}
	tapped(c, member(response, "action"), schemas.ContentSuggestionAction)
}

// chosen says whether c tells what the user chose.
func chosen(c *schemas.Content) bool { return c.Text != "" || c.Postback != "" }

// itself is body where it is an object, else n, whose members are then the body's.
func itself(body, n adapter.Node) adapter.Node {
	if body.IsObject() {
		return body
	}
	return n
}

func tapped(c *schemas.Content, n adapter.Node, kind schemas.ContentType) {
	if !n.IsObject() {
		return
	}
	c.Type, c.Text = kind, verbatim(n, "text")
	switch postback := member(n, "postback"); {
	case postback.IsObject():
		c.Postback = take(postback, "data")
	case postback.Text() != "":
		c.Postback = postback.Taken().Text()
	default:
		c.Postback = take(n, "postback_data")
	}
}

// interactive reads a reply to buttons, to a list, or to a flow, whichever says something; a flow's
// response_json is a string in one generation and an object in another.
func interactive(c *schemas.Content, n adapter.Node) {
	for _, name := range []string{"button_reply", "list_reply"} {
		if reply := member(n, name); reply.IsObject() {
			c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, verbatim(reply, "title", "text"), take(reply, "id", "payload")
			if chosen(c) {
				return
			}
		}
	}
	if flow := member(n, "nfm_reply", "flow_reply"); flow.IsObject() && (flow.Says() || c.Type == schemas.ContentUnsupported) {
		c.Type, c.Text = schemas.ContentFlow, verbatim(flow, "body")
		if response := member(flow, "response_json"); response.Says() {
			c.Detail = response.Taken().JSON().Raw()
		}
	}
}

func media(n adapter.Node) schemas.Media {
	if !n.IsObject() {
		return schemas.Media{URL: n.Taken().Text()}
	}
	m := schemas.Media{
		URL: take(n, "url", "link"), ID: take(n, "id"), MIMEType: take(n, "mime_type", "type"), Name: take(n, "name", "filename", "file_name"),
		SHA256: take(n, "sha256"), ThumbnailURL: take(n, "thumbnail_url"),
	}
	size := member(n, "size")
	if bytes, err := strconv.ParseInt(size.Text(), 10, 64); err == nil && bytes >= 0 {
		m.Size = bytes
		size.Taken()
	}
	return m
}

// location reads a place; the RCS sample spells "longtitude".
func location(n adapter.Node) *schemas.Location {
	latitude, longitude := member(n, "latitude", "lat"), member(n, "longitude", "longtitude", "long", "lng")
	l := &schemas.Location{Latitude: latitude.Number(), Longitude: longitude.Number()}
	if l.Latitude == "" || l.Longitude == "" {
		return nil
	}
	latitude.Taken()
	longitude.Taken()
	l.Name, l.Address = verbatim(n, "name", "label"), verbatim(n, "address")
	return l
}

// words is a text that is a string or {"body": …}, unchanged.
func words(n adapter.Node) schemas.Text {
	if n.IsObject() {
		return verbatim(n, "body", "text")
	}
	text := n.Verbatim()
	if text != "" {
		n.Taken()
	}
	return schemas.Text(text)
}

// verbatim is what a person wrote in the first of the members that is there, unchanged.
func verbatim(n adapter.Node, names ...string) schemas.Text {
	for _, name := range names {
		if m := member(n, name); m.Verbatim() != "" {
			return schemas.Text(m.Taken().Verbatim())
		}
	}
	return ""
}

// take is Node.Take in any letter case.
func take(n adapter.Node, names ...string) string {
	m := member(n, names...)
	s := m.Text()
	if s != "" {
		m.Taken()
	}
	return s
}

// member is the first of the members that says something, else one that is there: in small
// letters, as samples have them, or in any, as tables do.
func member(n adapter.Node, names ...string) adapter.Node {
	for _, name := range names {
		if m := n.Get(name); m.Says() {
			return m
		}
	}
	there := adapter.Node{}
	for written, m := range n.Members() {
		for _, name := range names {
			if len(written) != len(name) || !strings.EqualFold(written, name) { // ours are ASCII
				continue
			}
			if m.Says() {
				return m
			}
			there = m
		}
	}
	return there
}

// word is a word of Exotel's in one spelling: the same one comes as "message_status", "message-status"
// and "Message Status".
func word(s string) string {
	return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(s))
}
