package exotel

import (
	_ "embed" // the code tables
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

//go:embed codes_names.tsv
var namesTable string

//go:embed codes_whatsapp.tsv
var whatsappTable string

//go:embed codes_portal.tsv
var portalTable string

//go:embed codes_errors.tsv
var errorsTable string

//go:embed codes_rcs.tsv
var rcsTable string

//go:embed codes_sms.tsv
var smsTable string

//go:embed codes_voice.tsv
var voiceTable string

var (
	nameCodes  = adapter.MustCodes(namesTable) // names and words, which mean the same everywhere
	errorCodes = adapter.MustCodes(errorsTable).Or(whatsapp.Codes())

	whatsappCodes = adapter.MustCodes(whatsappTable).Or(nameCodes).Or(errorCodes) // with numbers of the old portal
	portalCodes   = adapter.MustCodes(portalTable).Or(nameCodes).Or(errorCodes)   // with numbers of the new portal
	rcsCodes      = adapter.MustCodes(rcsTable).Or(nameCodes)
	smsOnlyCodes  = adapter.MustCodes(smsTable)
	smsCodes      = smsOnlyCodes.Or(nameCodes)
	voiceCodes    = adapter.MustCodes(voiceTable)
)

// generation is where a message or receipt stood: it decides what a bare number means.
type generation int

const (
	listed generation = iota // {"whatsapp":{"messages":[…]}}, the old portal's
	flat                     // the new portal's flat receipt
	newer                    // the new portal's events
)

// item reads one message or receipt of the list, or a flat one. callback_type decides where it is
// there; the documents say "dlr" and "icm", the wire also "incoming_message", "message_status" and
// "message-status".
func (r *reader) item(n adapter.Node, channel schemas.Channel, from generation) adapter.Item {
	kind := n.Get("callback_type")
	switch word(kind.Text()) {
	case "dlr", "message_status", "status", "delivery_report":
		kind.Taken()
		return r.receipt(n, channel, from)
	case "icm", "incoming_message", "inbound_message":
		kind.Taken()
		return r.inbound(n, n.Get("content"), channel)
	}
	switch {
	case n.Get("content").Says():
		return r.inbound(n, n.Get("content"), channel)
	case n.First("status", "exo_status_code", "exo_detailed_status").Says():
		return r.receipt(n, channel, from)
	case n.Get("from").Says() && n.First("text", "body").Says():
		return r.inbound(n, n, channel)
	}
	return r.unknown(channel)
}

// inbound reads a message of the user: from is the user, to the business. content is n itself or
// a member of it; where that says nothing, it is looked for in n.
func (r *reader) inbound(n, content adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: channel}
	it.Data.User = n.TakeUser(r.raw, channel, "from")
	it.Data.Business = n.TakeBusiness("to")
	it.Data.MessageID = n.Take("sid", "message_sid", "id")
	r.at(&it, n, "timestamp")
	if it.Data.User == nil {
		it.Data.User = n.Get("contact").TakeUser(r.raw, channel, "wa_id")
	}
	if !content.Says() {
		content = n
	}
	it.Data.Content = contentOf(content)
	if it.Data.Content.ReplyTo == "" {
		it.Data.Content.ReplyTo = replyTo(n)
	}
	return it
}

// receipt reads what became of a message that the business sent: to is the user.
func (r *reader) receipt(n adapter.Node, channel schemas.Channel, from generation) adapter.Item {
	it := adapter.Item{Channel: channel}
	it.Data.User = n.TakeUser(r.raw, channel, "to", "recipient")
	it.Data.Business = n.TakeBusiness("from")
	it.Data.MessageID = n.Take("sid", "message_sid", "id", "message_id")
	r.at(&it, n, "timestamp", "DateUpdated", "updated_at")

	number, name, status := n.Get("exo_status_code").Text(), n.Get("exo_detailed_status").Text(), n.Get("status").Text()
	failures := slices.Collect(n.Get("errors").Elements())
	if len(failures) == 0 {
		failures = []adapter.Node{n.Get("errors")} // one alone, or none
	}
	failure := failures[0]
	description := firstThatSays(n.Get("description"), failure.Get("detail"), failure.Get("title"))
	shown := firstThatSays(n.Get("exo_status_code"), failure.Get("code"), n.Get("exo_detailed_status"), n.Get("status"))
	codes := r.table(channel, from)
	said := spoken(codes, name, number, status)
	for _, f := range failures { // before the word, which says only that it failed
		said = slices.Insert(said, len(said)-1, f.Get("code").Text())
	}
	codes.SetStatus(&it, shown.Taken().Text(), description.Taken().Text(), said...)
	if channel == schemas.SMS {
		smsFailure(&it, number)
	}
	return it
}

// spoken are the codes of a receipt in the order in which they are believed: the name, the number, the
// word. A number beside a name that we know isn't asked, for the same number means other
// things on other pages. Some receipts have the name where others have the word.
func spoken(codes adapter.Codes, name, number, status string) []string {
	if name == "" && strings.Contains(status, "_") && status == strings.ToUpper(status) {
		name = status
	}
	if _, known := codes.Find(name); known {
		return []string{name, status}
	}
	return []string{name, number, status}
}

// smsFailure reads a number of the failures of SMS that no table names: the documents keep 23xxx and
// 24xxx for them and say that there will be more.
func smsFailure(it *adapter.Item, number string) {
	if it.Kind == schemas.MessageStatusUnknown && len(number) == 5 && (number[:2] == "23" || number[:2] == "24") {
		it.Kind, it.Data.Status.Meaning = schemas.MessageFailed, schemas.MeaningFailed
	}
}

// table is the code table of a channel and generation.
func (r *reader) table(channel schemas.Channel, from generation) adapter.Codes {
	switch channel {
	case schemas.SMS:
		return smsCodes
	case schemas.RCS:
		return rcsCodes
	case schemas.Voice:
		return voiceCodes
	}
	if from == listed {
		return whatsappCodes
	}
	return portalCodes
}

// event reads {"event": …}, the new portal's WhatsApp reference.
func (r *reader) event(n adapter.Node, event string) {
	m := n.Get("message")
	if !m.IsObject() {
		m = n
	}
	channel := r.portalChannel()
	var it adapter.Item
	switch event {
	case "incoming_message", "inbound_message":
		it = r.inbound(m, m, channel)
		if it.Data.User == nil {
			it.Data.User = n.Get("contact").TakeUser(r.raw, channel, "wa_id")
		}
	case "message_status", "status":
		it = r.receipt(m, channel, newer)
	case "flow_response":
		it = adapter.Item{Kind: schemas.MessageReceived, Channel: channel}
		it.Data.User = n.TakeUser(r.raw, channel, "from")
		it.Data.Business = n.TakeBusiness("to")
		it.Data.MessageID = n.Take("message_id") // the flow's message: the response has no id of its own
		it.Data.Content = &schemas.Content{Type: schemas.ContentFlow, Detail: n.Get("response_json").Taken().JSON().Raw()}
	case "payment_status", "payment":
		it = r.payment(n, channel)
	case "template_status", "template_status_update":
		it = r.template(n, channel)
	default:
		it = r.unknown(channel)
	}
	if it.Time.IsZero() && it.Data.TimeFlag == "" {
		r.at(&it, n, "timestamp")
	}
	if it.Kind != schemas.MessageReceived || it.Data.Content.Type != schemas.ContentUnsupported {
		n.Get("event").Taken()
	}
	r.add(it, n)
}

// typed reads {"type": …, "data": {…}}, the new portal's WhatsApp guide.
func (r *reader) typed(n adapter.Node, kind string) {
	data := n.Get("data")
	channel := r.portalChannel()
	var it adapter.Item
	switch kind {
	case "verification":
		r.res.Ignored = "a verification request, which ingest answers"
		return
	case "inbound_message", "incoming_message":
		it = r.inbound(data, data.Get("message"), channel)
	case "message_status", "status":
		it = r.receipt(data, channel, newer)
	case "template_status":
		it = r.template(data, channel)
	case "payment_status":
		it = r.payment(data, channel)
	default:
		r.add(r.unknown(channel), n)
		return
	}
	for _, from := range []adapter.Node{data, n} {
		if it.Time.IsZero() && it.Data.TimeFlag == "" {
			r.at(&it, from, "timestamp")
		}
	}
	n.Get("type").Taken()
	r.add(it, n)
}

// payment reads what became of a payment: of the reference, which names the message, or of the guide, which
// names the payment, and when it was made where it was.
func (r *reader) payment(n adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.PaymentStatus, Channel: channel}
	inner := n
	for _, name := range []string{"payment", "message"} {
		if p := n.Get(name); p.IsObject() {
			inner = p
			break
		}
	}
	it.Data.User = n.TakeUser(r.raw, channel, "from", "recipient", "to")
	it.Data.MessageID = n.Take("message_id", "message_sid")
	it.Data.EventID = n.Take("payment_id")
	it.Distinct = n.Get("transaction_id").Text() // who fails to pay may try again
	it.Data.Status = &schemas.Status{
		Code: inner.Take("status", "payment_status"), Description: n.Get("error").Take("message"), Meaning: schemas.MeaningUnknown,
	}
	if !n.Get("timestamp").Says() {
		r.at(&it, n.Get("transaction"), "timestamp")
	}
	return it
}

func (r *reader) template(n adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.TemplateStatus, Channel: channel}
	it.Data.EventID = n.Take("template_id", "id")
	it.Data.Status = &schemas.Status{Code: n.Take("status"), Description: n.Take("reason"), Meaning: schemas.MeaningUnknown}
	return it
}

// firstThatSays is the first of the values that has a text.
func firstThatSays(nodes ...adapter.Node) adapter.Node {
	for _, n := range nodes {
		if n.Text() != "" {
			return n
		}
	}
	return adapter.Node{}
}
