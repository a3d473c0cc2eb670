package telesign

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// receipt is that of a message sent over one channel, or of one of a bulk. It doesn't name the
// end user, unless the account has cleansed_phone_number turned on.
func (t telesign) receipt(it *adapter.Item, raw adapter.Raw, body adapter.Node, sub string) {
	status, info := body.Get("status"), body.Get("additional_info")
	switch named := namedChannel(sub); {
	case named != "":
		it.Channel = named
	case it.Channel != "":
	case info.Present() || body.Get("session_id").Present():
		it.Channel = schemas.SMS
	case body.Get("email").Says():
		it.Channel = schemas.Email
	default:
		it.Channel = codeChannel(status.Get("code").Text())
	}
	at(it, raw, status.Get("updated_on"))
	t.setStatus(it, status)
	business(it, info, "sender_id")
	user(it, raw, body, "phone_number", "email")
	user(it, raw, info, "cleansed_phone_number")
	// All of a bulk have the reference_id of the request. session_id is the recipient's where the
	// customer gave one, else the whole request's or null: then only the time tells them apart.
	if session := body.Get("session_id"); sub == "bulk_sms" || session.Says() {
		it.Distinct = session.Text() + "/" + status.Get("updated_on").Text()
	}
}

// codeChannel is the channel that has a code's hundred for itself: 1xx are calls, 2xx SMS.
func codeChannel(code string) schemas.Channel {
	switch {
	case len(code) != 3:
	case code[0] == '1':
		return schemas.Voice
	case code[0] == '2':
		return schemas.SMS
	}
	return ""
}

// messagingReceipt is the omnichannel one: the overall status counts, the channels that were
// tried stay in provider_data.
func (t telesign) messagingReceipt(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	status := body.Get("status")
	last := status.Get("last_channel")
	channel, tried := lastTried(body.Get("channel_status"), last.Text())
	if channel != "" {
		it.Channel = channel
	}
	if namedChannel(last.Text()) != "" {
		last.Taken()
	}
	if !status.Says() {
		status = tried
	}
	at(it, raw, status.Get("updated_on"))
	t.setStatus(it, status)
	// "Delivery error" is all that the overall status says of a message that the last channel
	// refused because the person has opted out.
	code := tried.Get("code").Text()
	if row, _ := t.codes.Find(code); row.OptOut && it.Data.Evidence == nil {
		it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: code}
	}
	user(it, raw, body, "phone_number")
}

// lastTried is the channel that was tried last, the one of that name if there is one, with what
// channel_status says of it. The document has a list of objects of one member, in the order of the
// attempts.
func lastTried(list adapter.Node, last string) (schemas.Channel, adapter.Node) {
	name, tried := last, adapter.Node{}
	look := func(n adapter.Node) {
		for channel, status := range n.Members() {
			if last == "" || strings.EqualFold(channel, last) {
				name, tried = channel, status
			}
		}
	}
	look(list)
	for n := range list.Elements() {
		look(n)
	}
	return namedChannel(name), tried
}

// setStatus reads a status; a bare text in its place is its words.
func (t telesign) setStatus(it *adapter.Item, status adapter.Node) {
	code, words := status.Take("code"), status.Take("description")
	if words == "" && status.Text() != "" {
		words = status.Taken().Text()
	}
	t.codes.SetStatus(it, code, words, code)
	_, known := t.codes.Find(code)
	// Documents say to go by the codes. But a read notice's words are plain, 201 is one for
	// Messaging and a delivery for SMS, and not every code is on a public page.
	switch words := strings.ToLower(words); {
	case words == "read" || words == "seen" || words == "message is read":
		it.Kind, it.Data.Status.Meaning = schemas.MessageRead, schemas.MeaningRead
	case words == "delivered" && !known:
		it.Kind, it.Data.Status.Meaning = schemas.MessageDelivered, schemas.MeaningDelivered
	}
}

// verification is a receipt of the verify products. Its status is that of the transaction: a
// status (SMS Verify, Voice Verify) or a state (Verify API). The other objects with a status of
// their own (sim_swap, inner_methods) stay in provider_data.
func (t telesign) verification(it *adapter.Item, raw adapter.Raw, body adapter.Node, sub string) {
	if named := namedChannel(sub); named != "" {
		it.Channel = named
	}
	status := body.Get("status")
	at(it, raw, status.Get("updated_on"), body.Get("updated_on"))
	if !status.Says() {
		state := body.Take("state")
		t.codes.SetStatus(it, state, "", state)
	} else {
		t.setStatus(it, status)
		// 503 is the carrier's fault for messages, and Telesign's own by the document of SMS Verify.
		if s := it.Data.Status; s.Code == "503" && strings.HasPrefix(strings.ToLower(s.Description), "system unavailable") {
			s.Meaning = schemas.MeaningProviderFault
		}
	}
	it.Kind = schemas.VerifyStatus
	it.Distinct = progress(body)
	info := body.Get("additional_info")
	business(it, info, "sender_id")
	user(it, raw, body.Get("recipient"), "phone_number", "email")
	user(it, raw, body, "phone_number")
	user(it, raw, info, "cleansed_phone_number")
}

// progress tells a transaction's notices apart: sent, then each code that the user enters; or, at
// the Verify API, each method that is tried while the whole stays ONGOING.
func progress(body adapter.Node) string {
	var b strings.Builder
	b.WriteString(body.Get("verify", "code_state").Text() + "/" + body.Get("state").Text())
	for m := range body.Get("inner_methods").Elements() {
		for _, name := range []string{"method", "state", "err_code"} {
			b.WriteString("/" + m.Get(name).Text())
		}
	}
	return b.String()
}

func (t telesign) templateStatus(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	if c := namedChannel(body.Get("channel").Text()); c != "" {
		it.Channel = c
	}
	status := body.Get("status")
	at(it, raw, status.Get("updated_on"))
	t.setStatus(it, status)
	it.Kind = schemas.TemplateStatus
	it.Distinct = body.Get("name").Text() + "/" + string(body.Get("language").Raw()) + "/" + status.Get("updated_on").Text()
}
