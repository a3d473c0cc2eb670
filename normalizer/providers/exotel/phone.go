package exotel

import (
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// sms reads the SMS callbacks: forms and JSON of both portals, and the GET of inbound SMS. A
// message has a Body, a receipt a status.
func (r *reader) sms(n adapter.Node) adapter.Item {
	it := adapter.Item{Channel: schemas.SMS}
	it.Data.MessageID = n.Take("SmsSid", "SmsMessageSid", "smsSid")
	status := n.First("Status", "SmsStatus", "DetailedStatus", "DetailedStatusCode", "ExoStatusCode")
	if n.Get("Body").Present() && !n.First("DetailedStatus", "DetailedStatusCode", "ExoStatusCode").Says() {
		it.Kind = schemas.MessageReceived
		it.Data.User = n.TakeUser(r.raw, schemas.SMS, "From")
		it.Data.Business = business(n, "To")
		it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: verbatim(n, "Body")}
		r.at(&it, n, "DateCreated", "Date", "DateSent")
		return it
	}
	it.Data.User = n.TakeUser(r.raw, schemas.SMS, "To")
	it.Data.Business = business(n, "From")
	r.at(&it, n, "UpdatedAt", "DateUpdated", "DateSent", "SentAt")
	number := n.First("DetailedStatusCode", "ExoStatusCode").Text()
	name, word := n.Get("DetailedStatus").Text(), n.First("Status", "SmsStatus").Text()
	shown := number
	if shown == "" {
		shown = firstText(n.Get("DetailedStatus"), status)
	}
	// The name before the number, for one page gives the numbers of another table; the word last,
	// for "sent" is all that the old portal says of what was delivered.
	smsCodes.SetStatus(&it, shown, "", name, number, word)
	n.First("DetailedStatusCode", "ExoStatusCode").Taken()
	if name != "" {
		it.Data.Status.Description = n.Take("DetailedStatus")
	}
	return it
}

// call reads a call's status. In an outbound call To is the person that was called; where the
// call connects a person to an app there is only From.
func (r *reader) call(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.CallEnded, Channel: schemas.Voice}
	it.Data.MessageID = n.Take("CallSid")
	direction := strings.ToLower(n.Get("Direction").Text())
	inbound := strings.HasPrefix(direction, "in")
	user, other := []string{"To", "CallTo"}, []string{"From", "CallFrom"}
	if inbound || !n.First(user...).Says() {
		user, other = other, user
	}
	it.Data.User = n.TakeUser(r.raw, schemas.Voice, user...)
	it.Data.Business = business(n, "PhoneNumberSid", "CallerId")
	if it.Data.Business == nil {
		it.Data.Business = business(n, other...)
	}
	r.at(&it, n, "EndTime", "DateUpdated", "StartTime", "DateCreated", "CurrentTime")

	event := strings.ToLower(n.Get("EventType").Text())
	voiceCodes.SetStatus(&it, n.Take("Status", "CallStatus", "DialCallStatus"), "", n.First("Status", "CallStatus", "DialCallStatus").Text())
	it.Kind = schemas.CallEnded
	if event == "answered" {
		it.Kind = schemas.MessageStatusUnknown // the call goes on; there is no kind that says so
		it.Data.Status = &schemas.Status{Code: event, Meaning: schemas.MeaningAnswered}
		n.Get("EventType").Taken()
		return it
	}
	it.Data.Call = &schemas.Call{
		DurationSeconds: n.First("ConversationDuration", "DialCallDuration", "Duration").Number(),
		RecordingURL:    recording(n),
		StartedAt:       r.instant(n, "StartTime"),
		EndedAt:         r.instant(n, "EndTime"),
	}
	if it.Data.Call.DurationSeconds != "" {
		n.First("ConversationDuration", "DialCallDuration", "Duration").Taken()
	}
	switch {
	case inbound:
		it.Data.Call.Direction = "inbound"
	case strings.HasPrefix(direction, "out"):
		it.Data.Call.Direction = "outbound"
	}
	return it
}

// recording is the recording's address; the string "null" is none.
func recording(n adapter.Node) string {
	if url := n.Get("RecordingUrl").Text(); url == "" || strings.EqualFold(url, "null") {
		return ""
	}
	return n.Take("RecordingUrl")
}

// instant is the named time in RFC 3339, "" when it cannot be read. The written form stays in
// provider_data.
func (r *reader) instant(n adapter.Node, name string) string {
	zone := naiveZone
	if r.raw.Origin.NaiveZone != "" {
		zone = r.raw.Origin.NaiveZone
	}
	t, _, ok := adapter.ParseTime(n.Get(name).Text(), zone)
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")
}

// campaign reads the three callbacks of a campaign: of a call, of a number after all its tries,
// and of the whole.
func (r *reader) campaign(n adapter.Node) adapter.Item {
	if n.Get("call_sid").Says() {
		it := adapter.Item{Channel: schemas.Voice}
		it.Data.MessageID = n.Take("call_sid")
		it.Data.User = n.TakeUser(r.raw, schemas.Voice, "number", "to")
		it.Data.Business = business(n, "from", "caller_id")
		r.at(&it, n, "date_updated", "date_created")
		word := n.Take("status")
		voiceCodes.SetStatus(&it, word, "", word)
		it.Kind = schemas.CallEnded
		it.Data.Call = &schemas.Call{Direction: "outbound"}
		return it
	}
	it := adapter.Item{Kind: schemas.CampaignStatus, Channel: r.endpointChannel()}
	it.Data.MessageID = n.Take("campaign_sid")
	it.Data.User = n.TakeUser(r.raw, schemas.Voice, "to", "number")
	it.Data.Business = business(n, "from")
	r.at(&it, n, "date_updated", "date_created")
	it.Data.Status = &schemas.Status{Code: n.Take("status"), Meaning: schemas.MeaningUnknown}
	return it
}
