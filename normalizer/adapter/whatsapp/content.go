package whatsapp

import (
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// Content is what a message object says, and takes it from there.
func Content(n adapter.Node) *schemas.Content {
	kind := strings.ToLower(n.Get("type").Text())
	if kind == "" && n.Get("text").Says() {
		kind = "text"
	}
	body := n.First(kind, n.Get("type").Text())
	c := &schemas.Content{Type: schemas.ContentUnsupported, ReplyTo: n.Get("context", "id").Text()}
	switch kind {
	case "text":
		c.Type, c.Text = schemas.ContentText, body.TakeText("body")
		if body.IsString() {
			c.Text = schemas.Text(body.Taken().Verbatim())
		}
	case "image", "audio", "voice", "video", "document", "gif":
		c.Type, c.Text = schemas.ContentMedia, body.TakeText("caption")
		c.Media = []schemas.Media{TakeMedia(body)}
	case "sticker":
		c.Type = schemas.ContentSticker
		c.Media = []schemas.Media{TakeMedia(body)}
	case "location":
		if l := TakeLocation(body); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	case "contacts":
		c.Type, c.Detail = schemas.ContentContacts, body.Taken().Raw()
	case "reaction":
		c.Type, c.Emoji = schemas.ContentReaction, body.Take("emoji")
		if id := body.First("message_id", "messsage_id").Text(); id != "" { // both spellings are about
			c.ReplyTo = id
		}
	case "order":
		c.Type, c.Text, c.Detail = schemas.ContentOrder, body.TakeText("text"), body.Taken().Raw()
	case "button":
		c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, body.TakeText("text"), body.Take("payload")
	case "interactive":
		interactive(c, body)
	}
	if c.Type == schemas.ContentUnsupported {
		if kind != "system" { // whose body WhatsApp wrote, not the user
			c.Text = body.TakeText("body", "caption", "text")
		}
		if body.Says() {
			c.Detail = body.Taken().Raw()
		}
	}
	return c
}

func interactive(c *schemas.Content, n adapter.Node) {
	kind := n.Get("type").Text()
	reply := n.Get(kind)
	switch kind {
	case "button_reply", "list_reply":
		c.Type, c.Text, c.Postback = schemas.ContentSuggestionReply, reply.TakeText("title"), reply.Take("id")
	case "nfm_reply", "address_message", "flow", "address":
		c.Type, c.Text = schemas.ContentFlow, reply.TakeText("body")
		c.Detail = reply.Taken().Raw()
	}
}

// TakeMedia reads a media object.
func TakeMedia(n adapter.Node) schemas.Media {
	size, err := strconv.ParseInt(n.Get("file_size").Text(), 10, 64)
	if err != nil || size < 0 {
		size = 0
	} else {
		n.Get("file_size").Taken()
	}
	return schemas.Media{
		URL: n.Take("url", "link"), ID: n.Take("id"), MIMEType: n.Take("mime_type"), Name: n.Take("filename"), SHA256: n.Take("sha256"), Size: size,
	}
}

// TakeLocation reads a location object; nil when it lacks a coordinate.
func TakeLocation(n adapter.Node) *schemas.Location {
	latitude, longitude := n.First("latitude", "lat"), n.First("longitude", "longtitude", "long", "lng")
	l := &schemas.Location{Latitude: latitude.Number(), Longitude: longitude.Number()}
	if l.Latitude == "" || l.Longitude == "" {
		return nil
	}
	latitude.Taken()
	longitude.Taken()
	l.Name, l.Address = n.TakeText("name"), n.TakeText("address")
	return l
}
