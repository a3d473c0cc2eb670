package exotel

import (
	_ "embed" // the code tables
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

//go:embed codes_whatsapp.tsv
var whatsappTable string

//go:embed codes_portal.tsv
var portalTable string

//go:embed codes_rcs.tsv
var rcsTable string

//go:embed codes_sms.tsv
var smsTable string

//go:embed codes_voice.tsv
var voiceTable string

var (
	whatsappCodes = adapter.MustCodes(whatsappTable) // names, and numbers of the old portal
	portalCodes   = adapter.MustCodes(portalTable)   // numbers of the new portal
	rcsCodes      = adapter.MustCodes(rcsTable)
	smsCodes      = adapter.MustCodes(smsTable)
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
	switch kind := strings.ReplaceAll(strings.ToLower(n.Get("callback_type").Text()), "-", "_"); {
	case kind == "dlr", kind == "message_status", kind == "status", kind == "delivery_report":
		return r.receipt(n, channel, from)
	case kind == "icm", kind == "incoming_message", kind == "inbound_message":
		return r.inbound(n, n.Get("content"), channel)
	case n.Get("content").IsObject():
		return r.inbound(n, n.Get("content"), channel)
	case n.First("status", "exo_status_code", "exo_detailed_status").Says():
		return r.receipt(n, channel, from)
	}
	return r.unknown(channel)
}

// inbound reads a message of the user: from is the user, to the business. content is n itself or
// a member of it.
func (r *reader) inbound(n, content adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: channel}
	n.Get("callback_type").Taken()
	it.Data.User = n.TakeUser(r.raw, channel, "from")
	it.Data.Business = business(n, "to")
	it.Data.MessageID = n.Take("sid", "message_sid", "id")
	r.at(&it, n, "timestamp")
	it.Data.Content = contentOf(content)
	if it.Data.Content.ReplyTo == "" {
		it.Data.Content.ReplyTo = n.Get("context").Take("id")
	}
	return it
}

// receipt reads what became of a message that the business sent: to is the user.
func (r *reader) receipt(n adapter.Node, channel schemas.Channel, from generation) adapter.Item {
	it := adapter.Item{Channel: channel}
	n.Get("callback_type").Taken()
	it.Data.User = n.TakeUser(r.raw, channel, "to", "recipient")
	it.Data.Business = business(n, "from")
	it.Data.MessageID = n.Take("sid", "message_sid", "id", "message_id")
	r.at(&it, n, "timestamp", "DateUpdated", "updated_at")

	number, name, word := n.Get("exo_status_code").Text(), n.Get("exo_detailed_status").Text(), n.Get("status").Text()
	failure := firstOf(n.Get("errors"))
	description := firstText(n.Get("description"), failure.Get("detail"), failure.Get("title"))
	shown := number
	if shown == "" {
		shown = firstText(failure.Get("code"), n.Get("exo_detailed_status"), n.Get("status"))
	}
	r.table(channel, from, name).SetStatus(&it, shown, description, name, number, failure.Get("code").Text(), word)
	if shown == number {
		n.Get("exo_status_code").Taken()
	}
	if description != "" && description == n.Get("description").Text() {
		n.Get("description").Taken()
	}
	return it
}

// table is the code table of a channel and generation. Names are of the old portal wherever they
// come; only bare numbers changed their meaning.
func (r *reader) table(channel schemas.Channel, from generation, name string) adapter.Codes {
	switch channel {
	case schemas.SMS:
		return smsCodes
	case schemas.RCS:
		return rcsCodes
	case schemas.Voice:
		return voiceCodes
	}
	if _, known := whatsappCodes.Find(name); known || from == listed {
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
	channel := r.endpointChannel()
	if channel == "" {
		channel = schemas.WhatsApp
	}
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
		it.Data.Business = business(n, "to")
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
	channel := r.endpointChannel()
	if channel == "" {
		channel = schemas.WhatsApp
	}
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
	if it.Time.IsZero() && it.Data.TimeFlag == "" {
		r.at(&it, n, "timestamp")
	}
	n.Get("type").Taken()
	r.add(it, n)
}

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
	it.Data.Status = &schemas.Status{Code: inner.Take("status", "payment_status"), Meaning: schemas.MeaningUnknown}
	return it
}

func (r *reader) template(n adapter.Node, channel schemas.Channel) adapter.Item {
	it := adapter.Item{Kind: schemas.TemplateStatus, Channel: channel}
	it.Data.EventID = n.Take("template_id", "id")
	it.Data.Status = &schemas.Status{Code: n.Take("status"), Description: n.Take("reason"), Meaning: schemas.MeaningUnknown}
	return it
}

func firstOf(list adapter.Node) adapter.Node {
	for e := range list.Elements() {
		return e
	}
	return list
}

func firstText(nodes ...adapter.Node) string {
	for _, n := range nodes {
		if s := n.Text(); s != "" {
			return s
		}
	}
	return ""
}
