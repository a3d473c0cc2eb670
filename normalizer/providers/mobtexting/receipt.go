package mobtexting

import (
	_ "embed" // the code tables
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

//go:embed codes_sms.tsv
var smsTable string

//go:embed codes_chat.tsv
var chatTable string

//go:embed codes_voice.tsv
var voiceTable string

// The code tables. One word has different meanings on a phone line and in an inbox, so there is
// one for each kind of receipt.
var (
	smsCodes   = adapter.MustCodes(smsTable)
	chatCodes  = adapter.MustCodes(chatTable)
	voiceCodes = adapter.MustCodes(voiceTable)
)

// codes is the table for a word on the item's channel. Where nobody names the channel both
// kinds of messages are looked through.
func (c *callback) codes(word string) adapter.Codes {
	switch c.channel {
	case schemas.WhatsApp, schemas.RCS, schemas.Viber:
		return chatCodes
	case schemas.Voice:
		return voiceCodes
	case "":
		if !knows(smsCodes, word) {
			return chatCodes
		}
	}
	return smsCodes
}

func knows(codes adapter.Codes, word string) bool {
	_, ok := codes.Find(word)
	return ok
}

// chatReceipt reads whatsapp:, rcs: and viber:message:status. The message went the other way, so
// from is the business and to the user.
func (c *callback) chatReceipt() adapter.Item {
	item := c.item(schemas.MessageStatusUnknown)
	item.Data.User = c.user("to", "mobile", "mobile_number") // the last two, and message_id, in composed ones
	item.Data.Business = c.business("from")
	item.Data.MessageID = c.take("id", "message_id")
	c.takeChannel(c.said.Get("channel"))
	c.status(&item)
	switch item.Kind {
	case schemas.MessageDelivered:
		c.at(&item, "delivered_at", "timestamp", "processed_at")
	case schemas.MessageRead:
		c.at(&item, "read_at", "timestamp", "processed_at")
	default:
		c.at(&item, "timestamp", "processed_at", "submit_time")
	}
	return item
}

// receiptByVariables reads the SMS delivery report, its GET form of before 2021, and composed
// webhooks with the documented key names: mobile or mobile_number, status or message_status, id
// or message_id.
func (c *callback) receiptByVariables() adapter.Item {
	if c.channel == "" && c.isSMS() {
		c.channel = schemas.SMS
	}
	item := c.item(schemas.MessageStatusUnknown)
	item.Data.User = c.user("mobile", "mobile_number", "to")
	item.Data.Business = c.business("sender", "from")
	item.Data.MessageID = c.take("id", "message_id")
	c.takeChannel(c.said.Get("channel"))
	c.status(&item)
	if c.channel == schemas.Voice && !c.isSMS() {
		c.callDetails(&item)
	}
	if item.Time.IsZero() && item.Data.TimeFlag == "" {
		c.receiptAt(&item)
	}
	return item
}

// receiptAt gives a receipt with documented key names its time. Counts since 1970 go before times
// without a zone: they cannot be misread.
func (c *callback) receiptAt(item *adapter.Item) {
	switch item.Kind {
	case schemas.MessageSent:
		c.at(item, "submit_at", "submit_time", "sent_at", "sent_time", "processed_at", "timestamp")
	case schemas.MessageRead:
		c.at(item, "read_at", "deliv_at", "deliv_time", "timestamp")
	default:
		c.at(item, "deliv_at", "delivered_at", "deliv_time", "submit_at", "submit_time", "sent_at", "sent_time", "processed_at", "timestamp")
	}
}

// isSMS says whether a receipt that names no channel is one of an SMS: by a variable that is
// documented for SMS alone, or by a word that no other channel has.
func (c *callback) isSMS() bool {
	if c.first("units", "credits", "deliv_time", "submit_time", "sent_time", "deliv_at", "sent_at", "submit_at", "cid", "custom", "custom1", "custom2").Present() {
		return true
	}
	word := c.first("status", "message_status").Text()
	return knows(smsCodes, word) && !knows(chatCodes, word)
}

// status gives the item its status, by the provider's number or word.
func (c *callback) status(item *adapter.Item) {
	words := c.take("status", "message_status")
	number := c.take("status_code", "error_code")
	shown, description := words, ""
	if number != "" {
		shown, description = number, words
	}
	c.codes(words).SetStatus(item, shown, description, number, words)
}

// isCall says whether the body is a call record: it names the bridge number, or its source, or a
// state that only calls have.
func (c *callback) isCall() bool {
	if c.member("mobile").Present() {
		return false
	}
	switch strings.ToUpper(c.member("source").Text()) {
	case "OBD", "C2C":
		return true
	}
	if c.member("bridge").Present() {
		return true
	}
	word := c.first("status", "message_status").Text()
	if !knows(voiceCodes, word) {
		return c.channel == schemas.Voice && word != "" && c.first("to", "id", "call_id").Present() // reports are of ended calls only
	}
	onlyCalls := !knows(smsCodes, word) && !knows(chatCodes, word)
	return c.channel == schemas.Voice || c.member("duration").Present() || c.channel == "" && onlyCalls && c.member("to").Present()
}

// call reads a call record. Both sources dial outwards: OBD plays to the number in to, C2C first
// rings the agent in from, then joins the customer in to through the bridge number. When to is a
// recorded flow ("flow:220") the person is the one in from; when to is the bridge itself
// somebody rang it, as in the call logs.
func (c *callback) call() adapter.Item {
	c.channel = schemas.Voice
	item := c.item(schemas.CallEnded)
	to, bridge := c.first("to").Text(), c.first("bridge").Text()
	inbound := to != "" && (to == bridge || c.sameNumber(to, bridge))
	person := "to"
	if inbound || strings.HasPrefix(strings.ToLower(to), "flow:") {
		person = "from"
	}
	item.Data.User = c.user(person)
	c.status(&item)
	c.callDetails(&item)
	if item.Data.Business == nil && person == "to" {
		item.Data.Business = c.business("from")
	}
	if inbound {
		c.member("to").Taken()
		item.Data.Call.Direction = "inbound"
	}
	return item
}

// sameNumber says whether two ways of writing are certainly one number: "+9180…" in one member
// and 9180…, without quotes, in the other.
func (c *callback) sameNumber(a, b string) bool {
	x, y := adapter.User(c.raw, c.channel, a), adapter.User(c.raw, c.channel, b)
	return x != nil && y != nil && x.Kind == schemas.UserPhone && x.Address == y.Address && x.Kind == y.Kind
}

// callDetails makes the item a call and fills in what a call has beside its person and its status.
func (c *callback) callDetails(item *adapter.Item) {
	item.Kind = schemas.CallEnded
	if item.Data.MessageID == "" {
		item.Data.MessageID = c.take("id", "call_id", "mid")
	}
	if item.Data.Business == nil {
		item.Data.Business = c.business("bridge")
	}
	// The id of a campaign (mid) is that of all its calls, and C2C has no id: a call is known by
	// its ends and its times. date and unixtime are the moment of the attempt to tell us.
	var known []byte
	for _, name := range []string{"id", "call_id", "mid", "flow_id", "bridge", "from", "to", "start_at", "end_at", "duration", "status", "message_status", "status1", "status2"} {
		known = append(append(known, c.member(name).Text()...), 0)
	}
	c.fingerprint = known
	item.Distinct = string(known)

	duration := c.first("duration")
	item.Data.Call = &schemas.Call{
		DurationSeconds: duration.Number(),
		RecordingURL:    c.take("recording_url"),
		StartedAt:       c.instant("start_at"),
		EndedAt:         c.instant("end_at"),
		Direction:       "outbound",
		Bridge:          c.first("bridge").Text(),
	}
	if strings.HasPrefix(string(item.Data.Call.DurationSeconds), "-") {
		item.Data.Call.DurationSeconds = "" // no length; it stays in provider_data
	}
	if item.Data.Call.DurationSeconds != "" {
		duration.Taken()
	}
	if item.Time.IsZero() {
		c.at(item, "end_at", "start_at", "unixtime", "date")
	}
}

// instant is the named time in RFC 3339, "" when it cannot be read. The written form stays in
// provider_data.
func (c *callback) instant(name string) string {
	zone := naiveZone
	if c.raw.Origin.NaiveZone != "" {
		zone = c.raw.Origin.NaiveZone
	}
	t, _, ok := adapter.ParseTime(c.member(name).Text(), zone)
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")
}
