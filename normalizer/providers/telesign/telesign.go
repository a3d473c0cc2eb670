// Package telesign understands what Telesign posts: delivery receipts of every channel, messages
// and keyword actions from end users, verification and template notices, e-mail complaints.
//
// It refuses to take the word of a code it doesn't know: such a receipt is status_unknown with
// everything kept. Used by the normalizer through the list of providers.
//
// Invariant: the end user is phone_number or email, never the sender id that stands beside it.
package telesign

import (
	_ "embed"
	"slices"
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
	view.Finish(&it, body)
	return adapter.Result{Items: append(raw.Items(), it)}
}

// handedOver is the status of every message from an end user: it was handed over to us.
const handedOver = "1500"

// event tells the callbacks apart by what they carry: the kind stands in no single member, and
// sub_resource is missing from Viber, WhatsApp and some receipts.
func (t telesign) event(it *adapter.Item, raw adapter.Raw, body adapter.Node) {
	sub := strings.ToLower(body.Get("sub_resource").Text())
	switch {
	case body.Get("user_response").IsObject(), body.Get("content").Says(), strings.HasPrefix(sub, "mo_"), body.Get("status", "code").Text() == handedOver:
		message(it, raw, body, sub)
	case body.Get("verify").IsObject() || body.Get("inner_methods").Present() || body.Get("state").Present():
		t.verification(it, raw, body, sub)
	case body.Get("channel_status").Present(), body.Get("status", "last_channel").Says():
		t.messagingReceipt(it, raw, body)
	case body.Get("name").Says() && body.Get("channel").Says():
		t.templateStatus(it, raw, body)
	case body.Get("status").Present(), body.Get("additional_info").Present(), body.Get("errors").Present(), namedChannel(sub) != "", raw.Origin.Kind == schemas.EndpointStatus:
		t.receipt(it, raw, body, sub)
	default:
		message(it, raw, body, sub)
	}
}

// user takes the end user from the first of the members that names one, if nobody has been named
// yet. Telesign's numbers carry their country code: the endpoint's default_country would make
// 15145550123 a German number where that is home. It is asked only about what no country has.
func user(it *adapter.Item, raw adapter.Raw, from adapter.Node, names ...string) {
	if it.Data.User != nil {
		return
	}
	abroad := raw
	abroad.Origin.DefaultCountry = ""
	u := from.TakeUser(abroad, it.Channel, names...)
	if u == nil || u.Kind == schemas.UserOpaque {
		u = from.TakeUser(raw, it.Channel, names...)
	}
	it.Data.User = u
}

// business takes the sender that the end user wrote to, or that wrote to the end user; an empty
// one leaves it to the endpoint.
func business(it *adapter.Item, from adapter.Node, names ...string) {
	if it.Data.Business == nil {
		it.Data.Business = from.TakeBusiness(names...)
	}
}

// at gives the item the first of the times that can be read.
func at(it *adapter.Item, raw adapter.Raw, times ...adapter.Node) {
	for _, written := range times {
		if !written.Says() {
			continue
		}
		it.Data.TimeFlag = ""
		if it.At(raw, monthFirst(written.Text()), "UTC"); !it.Time.IsZero() {
			return
		}
	}
}

// monthFirst turns about the day and the month of "2022-31-03T14:51:28Z", as the Verify API's
// document writes them. Only where the month cannot be one: all other pages, and the schema of
// that one, say RFC 3339.
func monthFirst(s string) string {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return s
	}
	if day, month := s[5:7], s[8:10]; day > "12" && day <= "31" && month >= "01" && month <= "12" {
		return s[:5] + month + "-" + day + s[10:]
	}
	return s
}

// namedChannel is the channel that a word of Telesign's means: a sub_resource, a method, a
// channel's own name.
func namedChannel(word string) schemas.Channel {
	word = strings.TrimPrefix(strings.ToLower(word), "mo_")
	switch word {
	case "bulk_sms":
		return schemas.SMS
	case "call":
		return schemas.Voice
	}
	if c := schemas.Channel(word); slices.Contains(schemas.Channels(), c) {
		return c
	}
	return ""
}
