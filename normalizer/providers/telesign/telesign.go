// Package telesign understands what Telesign posts: delivery receipts of every channel, messages
// and keyword actions from end users, verification and template notices, e-mail complaints.
//
// It refuses to take the word of a code it doesn't know: such a receipt is status_unknown with
// everything kept. Used by the normalizer through the list of providers.
//
// Invariant: the end user is phone_number or email, never the sender id that stands beside it.
package telesign

import (
	"cmp"
	_ "embed"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

//go:embed codes.tsv
var codeTable string

// New makes the adapter.
func New() adapter.Adapter { return telesign{adapter.MustCodes(codeTable)} }

type telesign struct{ codes adapter.Codes }

func (telesign) Provider() string { return "telesign" }

// Adapt reads one callback: always one JSON object, one event.
func (t telesign) Adapt(raw adapter.Raw) adapter.Result {
	view, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	body, failure := view.Object()
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	it := adapter.Item{Kind: schemas.MessageReceived}
	if raw.Origin.Channel != schemas.AnyChannel {
		it.Channel = raw.Origin.Channel
	}
	it.Data.MessageID = body.Take("reference_id")
	t.event(&it, raw, body)
	if it.Data.Business == nil && raw.Origin.Agent != "" {
		it.Data.Business = &schemas.Business{Address: raw.Origin.Agent}
	}
	view.Finish(&it, body)
	return adapter.Result{Items: []adapter.Item{it}}
}

// event tells the callbacks apart by what they carry: the kind stands in no single member, and
// sub_resource is missing from Viber, WhatsApp and some receipts.
func (t telesign) event(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	sub := strings.ToLower(body.Get("sub_resource").Text())
	switch {
	case body.Get("user_response").IsObject():
		smsMessage(it, raw, body)
	case sub == "mo_email" || body.Get("email").Present():
		emailAction(it, raw, body)
	case sub == "mo_mms":
		mmsMessage(it, raw, body)
	case sub == "mo_rcs":
		rcsMessage(it, raw, body)
	case body.Get("waba_phone_number").Present():
		whatsAppMessage(it, raw, body)
	case body.Get("verify").IsObject() || body.Get("inner_methods").Present() || body.Get("state").Present():
		verification(it, raw, body)
	case body.Get("channel_status").Present():
		t.messagingReceipt(it, raw, body)
	case body.Get("name").Says() && body.Get("channel").Says():
		templateStatus(it, raw, body)
	case body.Get("content").IsObject() || strings.HasPrefix(sub, "mo_"):
		otherMessage(it, raw, body, sub)
	case body.Get("status").IsObject():
		t.smsReceipt(it, raw, body, sub)
	default:
		it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	}
}

func user(it *adapter.Item, raw adapter.Raw, from adapter.Node) {
	it.Data.User = from.TakeUser(raw, it.Channel, "phone_number")
}

// business is the sender that the end user wrote to; an empty one leaves it to the endpoint.
func business(it *adapter.Item, from adapter.Node, name string) {
	if address := from.Take(name); address != "" {
		it.Data.Business = &schemas.Business{Address: address}
	}
}

// received is the time of a message: status.updated_on is when the platform handed it over,
// submit_timestamp (SMS only) when it came in.
func received(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	at := body.Get("submit_timestamp").Text()
	if at == "" {
		at = body.Get("status", "updated_on").Text()
	}
	it.At(raw, at, "UTC")
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

func smsMessage(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Channel = schemas.SMS
	response := body.Get("user_response")
	received(it, raw, body)
	user(it, raw, response)
	business(it, response, "sender_id")
	action(it, response)
	it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(response.Get("mo_message").Taken().Verbatim())}
}

// emailAction is an unsubscribe or a complaint. It names no brand and no sender, so the opt-out
// is for the whole channel.
func emailAction(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Channel = schemas.Email
	received(it, raw, body)
	it.Data.User = body.TakeUser(raw, it.Channel, "email")
	event := body.Get("content", "end_user_action", "event")
	switch strings.ToLower(event.Text()) {
	case "unsubscribe":
		event.Taken()
		it.Kind = schemas.UserOptedOut
		it.Data.Consent = &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeChannel, Value: "*"}
	case "complaint":
		it.Kind = schemas.EmailComplaint
	default:
		it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	}
}

// mmsMessage has numbered members: text_1, url_image_1, url_video_2 …
func mmsMessage(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Channel = schemas.MMS
	received(it, raw, body)
	user(it, raw, body)
	content := body.Get("content")
	c := &schemas.Content{Type: schemas.ContentText, Subject: schemas.Text(content.Get("subject").Verbatim())}
	var text strings.Builder
	for _, part := range numbered(content, "text_") {
		text.WriteString(part.Taken().Verbatim())
	}
	c.Text = schemas.Text(text.String())
	for _, part := range numbered(content, "url_") {
		c.Type = schemas.ContentMedia
		c.Media = append(c.Media, schemas.Media{URL: part.Taken().Text()})
	}
	it.Data.Content = c
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
		number, err := strconv.Atoi(name[strings.LastIndexByte(name, '_')+1:])
		if err != nil {
			continue
		}
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

func rcsMessage(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Channel = schemas.RCS
	received(it, raw, body)
	user(it, raw, body)
	business(it, body, "rcs_sender_id")
	content := body.Get("content")
	it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	switch {
	case content.Get("end_user_action").IsObject():
		endUserAction(it, content.Get("end_user_action"))
	case content.Get("location").IsObject():
		location(it, content.Get("location"))
	case content.Get("file").IsObject():
		file := content.Get("file", "payload")
		m := schemas.Media{URL: file.Take("uri"), MIMEType: file.Take("mime_type"), Name: file.Take("name")}
		m.Size, _ = strconv.ParseInt(string(file.Get("size_bytes").Taken().Number()), 10, 64)
		it.Data.Content = &schemas.Content{Type: schemas.ContentMedia, Media: []schemas.Media{m}}
	case content.Get("text").Present():
		it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(content.Get("text").Taken().Verbatim())}
	}
}

// endUserAction is a keyword when it has an action, else the answer to a suggestion.
func endUserAction(it *adapter.Item, from adapter.Node) {
	c := &schemas.Content{Type: schemas.ContentSuggestionReply}
	if action(it, from); it.Data.ProviderAction != "" || from.Get("keyword").Says() {
		c.Type = schemas.ContentText
	}
	c.Text = schemas.Text(from.Get("text").Taken().Verbatim())
	c.Postback = from.Take("postback_data")
	c.ReplyTo = from.Take("original_reference_id")
	it.Data.Content = c
}

func location(it *adapter.Item, from adapter.Node) {
	it.Data.Content = &schemas.Content{Type: schemas.ContentLocation, Location: &schemas.Location{
		Latitude:  from.Get("latitude").Taken().Number(),
		Longitude: from.Get("longitude").Taken().Number(),
		Name:      schemas.Text(from.Get("name").Taken().Verbatim()),
		Address:   schemas.Text(from.Get("address").Taken().Verbatim()),
	}}
}

func whatsAppMessage(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Channel = schemas.WhatsApp
	received(it, raw, body)
	user(it, raw, body)
	business(it, body, "waba_phone_number")
	content := body.Get("content")
	inner := content.Get("content")
	kind := strings.ToLower(content.Get("type").Text())
	it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	switch {
	case content.Get("end_user_action").IsObject():
		endUserAction(it, content.Get("end_user_action"))
	case kind == "location":
		location(it, inner)
	case kind == "image" || kind == "audio" || kind == "video" || kind == "document" || kind == "sticker":
		c := &schemas.Content{Type: schemas.ContentMedia, Text: schemas.Text(inner.Get("body").Taken().Verbatim())}
		if kind == "sticker" {
			c.Type = schemas.ContentSticker
		}
		c.Media = []schemas.Media{{URL: inner.Take("url"), MIMEType: inner.Take("mime_type"), Name: inner.Take("filename"), SHA256: inner.Take("sha256")}}
		it.Data.Content = c
	case kind == "text" || kind == "" && inner.Get("body").Present():
		it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(inner.Get("body").Taken().Verbatim())}
	}
}

// otherMessage is a message without a sub_resource that we know and without a sender of a
// channel: Viber, unless the endpoint says otherwise.
func otherMessage(it *adapter.Item, raw adapter.Raw, body adapter.Node, sub string) {
	if it.Channel == "" && sub == "" {
		it.Channel = schemas.Viber
	}
	received(it, raw, body)
	user(it, raw, body)
	content := body.Get("content")
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	switch {
	case content.Get("end_user_action").IsObject():
		endUserAction(it, content.Get("end_user_action"))
		return
	case content.Get("media").Says():
		c.Type = schemas.ContentMedia
		c.Media = []schemas.Media{{URL: content.Take("media"), Name: content.Take("file_name")}}
	case content.Get("text").IsString():
		c.Type = schemas.ContentText
	}
	c.Text = schemas.Text(content.Get("text").Taken().Verbatim())
	c.ReplyTo = content.Take("original_reference_id")
	c.Postback = content.Take("tracking_data")
	it.Data.Content = c
}

// smsReceipt is the receipt of an SMS or of one of a bulk. It doesn't name the end user, unless
// the account has cleansed_phone_number turned on.
func (t telesign) smsReceipt(it *adapter.Item, raw adapter.Raw, body adapter.Node, sub string) {
	if it.Channel == "" && (sub == "sms" || sub == "bulk_sms" || body.Get("additional_info").Present()) {
		it.Channel = schemas.SMS
	}
	status := body.Get("status")
	it.At(raw, status.Get("updated_on").Text(), "UTC")
	t.setStatus(it, status)
	info := body.Get("additional_info")
	business(it, info, "sender_id")
	if user(it, raw, body); it.Data.User == nil {
		it.Data.User = info.TakeUser(raw, it.Channel, "cleansed_phone_number")
	}
}

// messagingReceipt is the omnichannel one: the overall status counts, the channels that were
// tried stay in provider_data.
func (t telesign) messagingReceipt(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	status := body.Get("status")
	it.At(raw, status.Get("updated_on").Text(), "UTC")
	if last := schemas.Channel(strings.ToLower(status.Get("last_channel").Text())); knownChannel(last) {
		status.Get("last_channel").Taken()
		it.Channel = last
	}
	t.setStatus(it, status)
	user(it, raw, body)
}

func (t telesign) setStatus(it *adapter.Item, status adapter.Node) {
	code, words := status.Take("code"), status.Take("description")
	t.codes.SetStatus(it, code, words, code)
	if _, known := t.codes.Find(code); known {
		return
	}
	// Read notices of the omnichannel product have codes that no public page lists; their words
	// are plain.
	switch strings.ToLower(words) {
	case "read", "seen":
		it.Kind, it.Data.Status.Meaning = schemas.MessageRead, schemas.MeaningRead
	case "delivered":
		it.Kind, it.Data.Status.Meaning = schemas.MessageDelivered, schemas.MeaningDelivered
	}
}

func knownChannel(c schemas.Channel) bool {
	for _, known := range schemas.Channels() {
		if c == known {
			return true
		}
	}
	return false
}

// verification is a receipt of the verify products. Its status is that of the transaction; the
// other objects with a status of their own (sim_swap, inner_methods) stay in provider_data.
func verification(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Kind = schemas.VerifyStatus
	status := body.Get("status")
	it.At(raw, status.Get("updated_on").Text(), "UTC")
	it.Data.Status = &schemas.Status{Code: status.Take("code"), Description: status.Take("description"), Meaning: schemas.MeaningUnknown}
	// One transaction has many notices: sent, then each code that the user enters.
	it.Distinct = body.Get("verify", "code_state").Text() + "/" + body.Get("state").Text()
	if sub := body.Get("sub_resource").Text(); it.Channel == "" && strings.EqualFold(sub, "sms") {
		it.Channel = schemas.SMS
	}
	user(it, raw, body)
}

func templateStatus(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	it.Kind = schemas.TemplateStatus
	if c := schemas.Channel(strings.ToLower(body.Get("channel").Text())); knownChannel(c) {
		it.Channel = c
	}
	status := body.Get("status")
	at := status.Get("updated_on").Text()
	it.At(raw, at, "UTC")
	it.Data.Status = &schemas.Status{Code: status.Take("code"), Description: status.Take("description"), Meaning: schemas.MeaningTemplate}
	it.Distinct = body.Get("name").Text() + "/" + string(body.Get("language").Raw()) + "/" + at
}
