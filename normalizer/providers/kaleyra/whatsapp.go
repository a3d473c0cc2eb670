package kaleyra

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// whatsAppV2 is {meta_object: one change of Meta, extra_info: what Kaleyra knows beside it}.
func (c *callback) whatsAppV2(n adapter.Node) {
	change, extra := n.Get(metaObject), n.Get(extraInfo)
	value := change.Get("value")
	if n.Get("status").Says() && !value.Get("statuses").Says() && !value.Get("messages").Says() {
		c.unreached(n, value.Get("metadata"), extra)
		return
	}
	k := c.Kaleyra // not c: what a function value holds goes to the heap, for callbacks of every shape
	c.metaChange(change, func(it *adapter.Item) {
		switch {
		case it.Data.Content != nil:
			amendContent(it.Data.Content, extra)
		case it.Data.Status != nil && it.Data.MessageID != "":
			// The id that the API gave to the sender; Meta's own is the event's.
			id := extra.Take("message_id")
			if top := n.Get("message_id"); top.Says() && (id == "" || id == top.Text()) {
				id = taken(top)
			}
			if id != "" {
				it.Data.MessageID, it.Data.EventID = id, it.Data.MessageID
			}
			k.amendStatus(it, n.Get("status").Text())
		}
	})
}

// unreached is the receipt of a message that never reached Meta, so that nothing of Meta's is in it.
// Its own body is documented nowhere; the id and the business stand where all others have them.
func (c *callback) unreached(n, metadata, extra adapter.Node) {
	it := c.flatReceipt(n, schemas.WhatsApp)
	if id := extra.Get("message_id"); it.Data.MessageID == "" || it.Data.MessageID == id.Text() {
		it.Data.MessageID = taken(id)
	}
	if it.Data.Business == nil {
		it.Data.Business = metadata.TakeBusiness("display_phone_number", "phone_number_id")
	}
	c.add(it, n)
}

// amendStatus reads what Meta does not say: Kaleyra's own states and reasons (Not Sent, Number
// Opted Out).
func (k *Kaleyra) amendStatus(it *adapter.Item, status string) {
	s := it.Data.Status
	if row, ok := k.whatsApp.Find(status); ok && it.Kind == schemas.MessageStatusUnknown {
		switch {
		case s.Meaning == schemas.MeaningUnknown:
			it.Kind, s.Meaning = row.Kind, row.Meaning
		case row.Kind == schemas.MessageFailed: // the error is one of Meta's, which says why
			it.Kind = row.Kind
		}
	}
	if row, ok := k.whatsApp.Find(s.Description); ok && it.Kind == schemas.MessageFailed {
		s.Meaning = row.Meaning
		if row.OptOut && it.Data.Evidence == nil {
			it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: s.Code}
		}
	}
}

// amendContent adds the link to the copy that Kaleyra keeps and Kaleyra's id of the message
// that is answered.
func amendContent(c *schemas.Content, extra adapter.Node) {
	if url := extra.Get("media_url"); url.Text() != "" {
		switch {
		case len(c.Media) == 1 && c.Media[0].URL == "":
			c.Media[0].URL = taken(url)
		case len(c.Media) == 0 && c.Type == schemas.ContentUnsupported: // "imagine", "avatar"
			c.Type, c.Media = schemas.ContentMedia, []schemas.Media{{URL: taken(url)}}
		}
	}
	if id := extra.Take("reply_to"); id != "" {
		c.ReplyTo = id
	}
}

// metaEntries reads Meta's whole webhook: entries of changes.
func (c *callback) metaEntries(n adapter.Node) {
	for _, entry := range n.Get("entry").Items() {
		changes := entry.Get("changes").Items()
		if len(changes) == 0 {
			c.fail(c.next(), adapter.MissingField, "an entry without changes")
		}
		for _, change := range changes {
			if !change.IsObject() {
				c.fail(c.next(), adapter.MissingField, "a change is not an object")
				continue
			}
			if c.metaChange(change, nil); c.tooMany {
				return
			}
		}
	}
}

// metaChange reads one change of Meta's.
func (c *callback) metaChange(change adapter.Node, amend whatsapp.Amend) {
	res := c.meta.Change(c.raw, c.v, change, c.next(), amend)
	c.tooMany = len(res.Failures) > 0 && res.Failures[0].Index == adapter.WholeCallback
	c.res.Items = append(c.res.Items, res.Items...)
	c.res.Failures = append(c.res.Failures, res.Failures...)
}

// isWhatsAppV1Message says whether n is composed of the variables of incoming WhatsApp messages.
// Without a status it is no receipt, whatever the endpoint is for.
func (c *callback) isWhatsAppV1Message(n adapter.Node) bool {
	if n.Get("status").Says() {
		return false
	}
	if n.Get("wanumber").Present() {
		return true
	}
	said := n.First("body", "message", "media_url", "location", "contacts", typeName).Present()
	incoming := c.raw.Origin.Channel == schemas.WhatsApp && c.raw.Origin.Kind != schemas.EndpointStatus
	return said && n.First("from", "mobile").Present() && (n.Get("created_at").Present() || incoming)
}

// whatsAppV1Message is an incoming message as flat variables. There is no id: the event's is
// made of its content, created_at included.
func (c *callback) whatsAppV1Message(n adapter.Node) {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.WhatsApp}
	it.Data.MessageID = n.Take("id", "message_id")
	it.Data.User = n.TakeUser(c.raw, schemas.WhatsApp, "from", "mobile")
	it.Data.Business = n.TakeBusiness("wanumber")
	it.At(c.raw, n.First("created_at", "timestamp").Text(), naiveZone)
	it.Data.Content = v1Content(func(name string) adapter.Node { return n.Get(name) })
	c.add(it, n)
}

// v1Content reads the content from the variables, by their documented names.
func v1Content(variable func(string) adapter.Node) *schemas.Content {
	media := func() []schemas.Media {
		m := schemas.Media{URL: taken(variable("media_url")), MIMEType: taken(variable("mime_type"))}
		if m == (schemas.Media{}) {
			return nil
		}
		return []schemas.Media{m}
	}
	c := &schemas.Content{Type: schemas.ContentUnsupported, ReplyTo: taken(variable("reply_to"))}
	location, contacts := variable("location").JSON(), variable("contacts").JSON()
	kind := strings.ToLower(variable(typeName).Text())
	if kind == "" {
		switch {
		case variable("media_url").Says():
			kind = "document"
		case location.IsObject():
			kind = "location"
		case contacts.Says():
			kind = "contacts"
		default:
			kind = "text"
		}
	}
	switch kind {
	case "text":
		c.Type = schemas.ContentText
	case "image", "video", "voice", "audio", "document", "gif":
		c.Type, c.Media = schemas.ContentMedia, media()
	case "sticker":
		c.Type, c.Media = schemas.ContentSticker, media()
	case "location":
		if l := v1Location(location); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	case "contacts", "contact":
		if contacts.Says() {
			c.Type, c.Detail = schemas.ContentContacts, contacts.Raw()
			variable("contacts").Taken()
		}
	case "button", "interactive", "button_reply", "list_reply", "quick_reply":
		c.Type, c.Postback = schemas.ContentSuggestionReply, taken(variable("custom_response"))
	}
	c.Text = takeVariable(variable("body"), variable("message"))
	if c.Type == schemas.ContentUnsupported && c.Text != "" && variable("media_url").Says() {
		c.Type, c.Media = schemas.ContentMedia, media()
	}
	return c
}

// v1Location reads a location variable: JSON, or "18.59,73.89".
func v1Location(n adapter.Node) *schemas.Location {
	if n.IsObject() {
		return whatsapp.TakeLocation(n)
	}
	latitude, longitude, ok := strings.Cut(n.Text(), ",")
	l := &schemas.Location{Latitude: adapter.Number(latitude), Longitude: adapter.Number(longitude)}
	if !ok || l.Latitude == "" || l.Longitude == "" {
		return nil
	}
	return l
}
