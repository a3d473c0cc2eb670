package telesign

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// message is what an end user wrote, tapped or did. The channels' contents have no member in
// common that means different things, so a content is read by its shape, whatever the channel.
func message(it *adapter.Item, raw adapter.Raw, body adapter.Node, sub string) {
	response, n := body.Get("user_response"), body.Get("content")
	it.Channel = messageChannel(it.Channel, body, sub)
	// status.updated_on is when the platform handed the message over, submit_timestamp (SMS
	// only) when it came in.
	at(it, raw, body.Get("submit_timestamp"), body.Get("status", "updated_on"))
	if it.Channel == schemas.Email {
		user(it, raw, body, "email")
	}
	user(it, raw, response, "phone_number")
	user(it, raw, body, "phone_number")
	business(it, response, "sender_id")
	business(it, body, "rcs_sender_id", "waba_phone_number")
	switch event := n.Get("end_user_action", "event"); {
	case response.IsObject():
		action(it, response)
		it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: text(response, "mo_message")}
	case event.Says() && emailAction(it, event):
	case actionSays(n.Get("end_user_action")) && !event.Says():
		it.Data.Content = endUserAction(it, n)
	default:
		it.Data.Content = content(n, it.Channel)
	}
}

// messageChannel is the channel that the callback shows, else the endpoint's. One that shows none
// and came by an endpoint of any channel is Viber's, which alone has neither a sub_resource nor a
// sender.
func messageChannel(endpoint schemas.Channel, body adapter.Node, sub string) schemas.Channel {
	n := body.Get("content")
	named := namedChannel(sub)
	switch {
	case named != "":
		return named
	case body.Get("user_response").IsObject():
		return schemas.SMS
	case body.Get("email").Says() || n.Get("end_user_action", "event").Says():
		return schemas.Email
	case body.Get("rcs_sender_id").IsString():
		return schemas.RCS
	case body.Get("waba_phone_number").Present() || n.Get("content").Says():
		return schemas.WhatsApp
	case endpoint != "" || sub != "" || !n.IsObject():
		return endpoint
	case hasNumbered(n): // MMS and RCS have a sub_resource; without it their content is still not Viber's
		return schemas.MMS
	case n.Get("file").Says() || n.Get("location").Says():
		return schemas.RCS
	}
	return schemas.Viber
}

// emailAction reads an unsubscribe or a complaint, false if it is neither. It names no brand and
// no sender, so the opt-out is for the whole channel. The provider's own word stays in
// provider_data, as the proof.
func emailAction(it *adapter.Item, event adapter.Node) bool {
	switch strings.ToLower(event.Text()) {
	case "unsubscribe":
		it.Kind = schemas.UserOptedOut
		it.Data.Consent = &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeChannel, Value: "*"}
	case "complaint":
		it.Kind = schemas.EmailComplaint
	default:
		return false
	}
	return true
}

// action is the keyword action: lower case in SMS and in the guides, upper case in the RCS and
// WhatsApp schema.
func action(it *adapter.Item, from adapter.Node) {
	switch a := schemas.ProviderAction(strings.ToLower(from.Get("action").Text())); a {
	case schemas.ActionStart, schemas.ActionStop, schemas.ActionHelp, schemas.ActionGeneric:
		from.Get("action").Taken()
		it.Data.ProviderAction = a
	}
}

// actionSays says whether an end_user_action is one: the schema calls members required that only one
// kind of content has, so beside a text it may be {}, or full of nulls.
func actionSays(from adapter.Node) bool {
	return from.First("action", "keyword", "text", "postback_data", "original_reference_id").Present()
}

// endUserAction is a keyword when it has an action, else the answer to a suggestion. Where it lacks
// the words, they are the content's.
func endUserAction(it *adapter.Item, n adapter.Node) *schemas.Content {
	from := n.Get("end_user_action")
	c := &schemas.Content{Type: schemas.ContentSuggestionReply}
	if from.Get("action").Says() || from.Get("keyword").Says() {
		c.Type = schemas.ContentText
	}
	action(it, from)
	if c.Text = text(from, "text"); c.Text == "" {
		c.Text = text(n.Get("content"), "body")
	}
	if c.Text == "" {
		c.Text = text(n, "text")
	}
	c.Postback = from.Take("postback_data")
	c.ReplyTo = from.Take("original_reference_id")
	return c
}

// text is a text as the person wrote it.
func text(n adapter.Node, names ...string) schemas.Text {
	for _, name := range names {
		if s := n.Get(name).Verbatim(); s != "" { // not Says: somebody may write <b>, which is no variable here
			n.Get(name).Taken()
			return schemas.Text(s)
		}
	}
	return ""
}

// content reads what a message carries. What no page describes is unsupported, with its words
// (they may be a STOP) and its own object.
func content(n adapter.Node, channel schemas.Channel) *schemas.Content {
	if kind := n.Get("type"); kind.Says() || n.Get("content").Says() {
		if c := whatsAppContent(n, strings.ToLower(kind.Text())); c != nil {
			return c
		}
	}
	if l := whatsapp.TakeLocation(n.Get("location")); l != nil {
		return &schemas.Content{Type: schemas.ContentLocation, Text: text(n, "text"), Location: l}
	}
	if file := n.Get("file", "payload"); file.First("uri", "name", "mime_type").Present() {
		return &schemas.Content{Type: schemas.ContentMedia, Text: text(n, "text"), Media: []schemas.Media{rcsFile(file)}}
	}
	if c := mmsContent(n); c != nil {
		return c
	}
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	switch {
	case n.Get("media").Says():
		c.Type = schemas.ContentMedia
		c.Media = []schemas.Media{{URL: n.Take("media"), Name: n.Take("file_name")}}
	case n.Get("text").IsString() || n.Get("text").Verbatim() != "", channel == schemas.MMS && n.Get("subject").IsString(): // an MMS may be a subject alone
		c.Type = schemas.ContentText
	case n.IsString():
		c.Type, c.Text = schemas.ContentText, schemas.Text(n.Taken().Verbatim())
		return c
	case n.Says():
		c.Detail = n.Taken().Raw()
		inner := n.Get("content")
		if c.Text = text(inner, "body", "caption", "text"); c.Text == "" {
			c.Text = text(n, "body", "caption")
		}
		return c
	}
	c.Text = text(n, "text")
	c.Subject = text(n, "subject")
	c.ReplyTo = n.Take("original_reference_id")
	c.Postback = n.Take("tracking_data")
	return c
}

// whatsAppContent is content.content, whose kind stands beside it. nil when it is of no kind that
// we know.
func whatsAppContent(n adapter.Node, kind string) *schemas.Content {
	inner := n.Get("content")
	switch kind {
	case "location":
		if l := whatsapp.TakeLocation(inner); l != nil {
			return &schemas.Content{Type: schemas.ContentLocation, Location: l}
		}
	case "image", "audio", "video", "document":
		return &schemas.Content{Type: schemas.ContentMedia, Text: text(inner, "body", "caption"), Media: []schemas.Media{whatsapp.TakeMedia(inner)}}
	case "sticker":
		return &schemas.Content{Type: schemas.ContentSticker, Media: []schemas.Media{whatsapp.TakeMedia(inner)}}
	case "text", "":
		if inner.IsString() {
			return &schemas.Content{Type: schemas.ContentText, Text: text(n, "content")}
		}
		if inner.Get("body").Present() {
			return &schemas.Content{Type: schemas.ContentText, Text: text(inner, "body")}
		}
	}
	return nil
}

func rcsFile(file adapter.Node) schemas.Media {
	m := schemas.Media{URL: file.Take("uri"), MIMEType: file.Take("mime_type"), Name: file.Take("name")}
	if size, err := strconv.ParseInt(file.Get("size_bytes").Text(), 10, 64); err == nil && size >= 0 {
		file.Get("size_bytes").Taken()
		m.Size = size
	}
	return m
}

// mmsContent has numbered members: text_1, url_image_1, url_video_2 … nil when there is none; one
// that is empty is one. A link's name alone says whether it is an image, a video or a sound, so it
// stays in provider_data.
func mmsContent(n adapter.Node) *schemas.Content {
	if !hasNumbered(n) {
		return nil
	}
	texts, links := numbered(n, "text_"), numbered(n, "url_")
	c := &schemas.Content{Type: schemas.ContentText, Subject: text(n, "subject")}
	var all strings.Builder
	all.WriteString(string(text(n, "text")))
	for _, part := range texts {
		all.WriteString(part.Taken().Verbatim())
	}
	c.Text = schemas.Text(all.String())
	for _, link := range links {
		c.Type = schemas.ContentMedia
		c.Media = append(c.Media, schemas.Media{URL: link.Text()})
	}
	return c
}

// hasNumbered says whether the object has a member of an MMS that is a text, a link or empty.
func hasNumbered(n adapter.Node) bool {
	for name, value := range n.Members() {
		if (strings.HasPrefix(name, "text_") || strings.HasPrefix(name, "url_")) && !value.IsObject() && !value.IsArray() {
			return true
		}
	}
	return false
}

// numbered lists the members that say something and whose name begins with prefix, by the number
// at the end of the name: their order in the object means nothing.
func numbered(n adapter.Node, prefix string) []adapter.Node {
	type part struct {
		number int
		name   string
		value  adapter.Node
	}
	var parts []part
	for name, value := range n.Members() {
		if !strings.HasPrefix(name, prefix) || value.Verbatim() == "" {
			continue
		}
		number, _ := strconv.Atoi(name[strings.LastIndexByte(name, '_')+1:]) // none: the only one
		parts = append(parts, part{number, name, value})
	}
	slices.SortStableFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.name, b.name))
	})
	values := make([]adapter.Node, len(parts))
	for i := range parts {
		values[i] = parts[i].value
	}
	return values
}
