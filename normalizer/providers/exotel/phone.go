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
	name, status := n.Get("DetailedStatus").Text(), n.First("Status", "SmsStatus").Text()
	code := n.First("DetailedStatusCode", "ExoStatusCode")
	if e := n.Get("ErrorCode"); !code.Says() && !strings.EqualFold(e.Text(), "null") { // null, or the word in a form, where nothing failed
		code = e
	}
	number := code.Text()
	_, sent := smsCodes.Find(status) // a receipt may repeat the Body that was sent
	if n.Get("Body").Present() && name == "" && number == "" && (!sent || r.raw.Origin.Kind == schemas.EndpointInbound) {
		it.Kind = schemas.MessageReceived
		it.Data.User = n.TakeUser(r.raw, schemas.SMS, "From")
		it.Data.Business = n.TakeBusiness("To")
		it.Data.Content = &schemas.Content{Type: schemas.ContentText, Text: verbatim(n, "Body")}
		r.at(&it, n, "DateCreated", "Date", "DateSent")
		return it
	}
	it.Data.User = n.TakeUser(r.raw, schemas.SMS, "To")
	it.Data.Business = n.TakeBusiness("From")
	r.at(&it, n, "UpdatedAt", "DateUpdated", "DateSent", "SentAt")
	shown := firstThatSays(code, n.Get("DetailedStatus"), n.First("Status", "SmsStatus"))
	smsCodes.SetStatus(&it, shown.Taken().Text(), "", spoken(smsCodes, name, number, status)...)
	smsFailure(&it, number)
	if name != "" {
		it.Data.Status.Description = n.Take("DetailedStatus")
	}
	return it
}

// click reads that a shortened link was followed: by an SMS with its id and receiver, or, of the links'
// own interface, with the link's.
func (r *reader) click(n adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.LinkClicked, Channel: r.endpointChannel()}
	it.Data.MessageID = take(n, "SmsSid", "sms_sid")
	if it.Data.MessageID != "" {
		it.Channel = schemas.SMS
	}
	it.Data.EventID = take(n, "sid")
	if to := member(n, "To"); to.Says() {
		if it.Data.User = adapter.User(r.raw, schemas.SMS, to.Text()); it.Data.User != nil {
			to.Taken()
		}
	}
	at := member(n, "ClickedAt", "last_viewed").Text()
	it.At(r.raw, at, naiveZone)
	it.Distinct = at + " " + member(n, "total_clicks").Text() // the ids are the link's, which may be followed again
	return it
}

// call reads a call's status. In an outbound call To is the person that was called; where the
// call connects a person to an app there is only From. A request that tells no outcome and no
// direction is of an applet in the flow of an incoming call.
func (r *reader) call(n adapter.Node) adapter.Item {
	it := adapter.Item{Channel: schemas.Voice}
	it.Data.MessageID = n.Take("CallSid")
	event, state := strings.ToLower(n.Get("EventType").Text()), strings.ToLower(n.Get("CallState").Text())
	status := n.First("Status", "CallStatus", "DialCallStatus", "CallType")
	said := status.Text()
	tells := said != "" || event != "" || state != ""
	direction := strings.ToLower(n.Get("Direction").Text())
	inbound := strings.HasPrefix(direction, "in") || direction == "" && !tells
	user, other := []string{"To", "CallTo", "ToNumber"}, []string{"From", "CallFrom", "FromNumber"}
	if inbound || !n.First(user...).Says() {
		user, other = other, user
	}
	it.Data.User = n.TakeUser(r.raw, schemas.Voice, user...)
	it.Data.Business = n.TakeBusiness("PhoneNumberSid", "CallerId", "VirtualNumber")
	if it.Data.Business == nil {
		it.Data.Business = n.TakeBusiness(other...)
	}
	times := []string{"EndTime", "DateUpdated", "CurrentTime", "StartTime", "DateCreated"}
	if r.instant(n, "EndTime") == "" { // 1970-01-01 05:30:00 while the call goes on
		times = times[1:]
	}
	r.at(&it, n, times...)

	over := event == "terminal" || state == "terminal" || said != "" && event == "" && state == ""
	voiceCodes.SetStatus(&it, said, "", said)
	switch _, known := voiceCodes.Find(said); {
	case event == "answered": // there is no kind that says so
		it.Kind = schemas.MessageStatusUnknown
		it.Data.Status = &schemas.Status{Code: event, Meaning: schemas.MeaningAnswered}
		n.Get("EventType").Taken()
		it.Distinct = legs(n) // it is told of each leg
		return it
	case state == "active":
		it.Kind = schemas.MessageStatusUnknown
	case !known && over:
		it.Kind = schemas.CallEnded
	case said == "" && event != "": // "stream-start", and what the document says may be added
		it.Data.Status.Code = n.Take("EventType")
	}
	if said != "" {
		status.Taken()
	}
	if it.Kind != schemas.CallEnded { // a call may report many times before it ends
		it.Distinct = strings.TrimSpace(n.Get("CallDetail").Text() + " " + n.Get("CurrentTime").Text() + " " + n.Get("StreamSid").Text())
		return it
	}
	duration := n.First("ConversationDuration", "DialCallDuration", "Duration", "TotalDuration")
	it.Data.Call = &schemas.Call{
		DurationSeconds: duration.Number(),
		RecordingURL:    recording(n),
		StartedAt:       r.instant(n, "StartTime"),
		EndedAt:         r.instant(n, "EndTime"),
	}
	if it.Data.Call.DurationSeconds != "" {
		duration.Taken()
	}
	switch {
	case inbound:
		it.Data.Call.Direction = "inbound"
	case strings.HasPrefix(direction, "out"):
		it.Data.Call.Direction = "outbound"
	}
	return it
}

// notification reads what the WebRTC application is told of a call: {"event": …, "call_sid"}. The first
// names both sides, and so does the last of a call that nobody took; those between name the call. The
// business is the ExoPhone; the other side is an agent's SIP address.
func (r *reader) notification(n adapter.Node, event string) adapter.Item {
	it := adapter.Item{Channel: schemas.Voice}
	it.Data.MessageID = n.Take("call_sid")
	direction, user, other := "inbound", "from", "to"
	switch said := strings.ToLower(n.Get("direction").Text()); {
	case strings.HasPrefix(said, "out") || said == "" && event == "outbound_call":
		direction, user, other = "outbound", "to", "from"
	case said == "" && event != "incoming_call" && event != "missed_call":
		direction = ""
	}
	if direction != "" {
		it.Data.User = n.TakeUser(r.raw, schemas.Voice, user)
		if it.Data.Business = n.TakeBusiness("exophone"); it.Data.Business == nil {
			it.Data.Business = n.TakeBusiness(other)
		}
	}
	r.at(&it, n, "timestamp")
	shown := firstThatSays(n.Get("status"), n.Get("event")).Taken().Text()
	voiceCodes.SetStatus(&it, shown, "", shown)
	if it.Kind == schemas.CallEnded {
		it.Data.Call = &schemas.Call{DurationSeconds: n.Get("duration").Number(), Direction: direction}
		if it.Data.Call.DurationSeconds != "" {
			n.Get("duration").Taken()
		}
	}
	return it
}

// legs are the statuses of a call's legs, "" where none is told.
func legs(n adapter.Node) string {
	said := ""
	for leg := range n.Get("Legs").Elements() {
		said += leg.Get("Status").Text() + " "
	}
	for _, name := range []string{"Legs[0][Status]", "Legs[1][Status]"} {
		said += n.Get(name).Text() + " "
	}
	return strings.TrimSpace(said)
}

// recording is the recording's address; the string "null" is none.
func recording(n adapter.Node) string {
	url := n.First("RecordingUrl", "CallRecordings")
	if url.Text() == "" || strings.EqualFold(url.Text(), "null") {
		return ""
	}
	return url.Taken().Text()
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
		it.Data.Business = n.TakeBusiness("from", "caller_id")
		r.at(&it, n, "date_updated", "date_created")
		status := n.Take("status")
		voiceCodes.SetStatus(&it, status, "", status)
		it.Kind = schemas.CallEnded
		it.Data.Call = &schemas.Call{Direction: "outbound"}
		return it
	}
	it := adapter.Item{Kind: schemas.CampaignStatus, Channel: r.endpointChannel()}
	if calls := n.Get("call_sids"); calls.Present() {
		// All numbers of a campaign come with its id and one of few words: the calls tell them apart.
		it.Channel, it.Distinct = schemas.Voice, string(calls.Raw())
	}
	it.Data.MessageID = n.Take("campaign_sid")
	it.Data.User = n.TakeUser(r.raw, schemas.Voice, "to", "number")
	it.Data.Business = n.TakeBusiness("from")
	r.at(&it, n, "date_updated", "date_created")
	it.Data.Status = &schemas.Status{Code: n.Take("status"), Meaning: schemas.MeaningUnknown}
	return it
}
