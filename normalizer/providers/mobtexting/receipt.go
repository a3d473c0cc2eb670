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

// chatReceipt reads whatsapp:, rcs: and viber:message:status. The message went the other way, so
// from is the business and to the user.
func (c *callback) chatReceipt() adapter.Item {
	item := c.item(schemas.MessageStatusUnknown)
	item.Data.User = c.user("to", "mobile")
	item.Data.Business = c.business("from")
	item.Data.MessageID = c.take("id")
	c.said.Get("channel").Taken()
	c.status(&item, chatCodes)
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
	codes := smsCodes
	switch c.channel {
	case schemas.WhatsApp, schemas.RCS, schemas.Viber:
		codes = chatCodes
	case "":
		// units, credits and the three times are documented for SMS alone.
		if c.said.First("units", "credits", "deliv_time", "submit_time", "sent_time").Present() {
			c.channel = schemas.SMS
		}
	}
	item := c.item(schemas.MessageStatusUnknown)
	item.Data.User = c.user("mobile", "mobile_number", "to")
	item.Data.Business = c.business("sender", "from")
	item.Data.MessageID = c.take("id", "message_id")
	c.status(&item, codes)
	// Counts since 1970 before times without a zone: they cannot be misread.
	switch item.Kind {
	case schemas.MessageSent:
		c.at(&item, "submit_at", "submit_time", "sent_at", "sent_time", "processed_at", "timestamp")
	case schemas.MessageRead:
		c.at(&item, "read_at", "deliv_at", "deliv_time", "timestamp")
	default:
		c.at(&item, "deliv_at", "delivered_at", "deliv_time", "submit_at", "submit_time", "sent_at", "sent_time", "processed_at", "timestamp")
	}
	return item
}

// status gives the item its status, by the provider's number or word.
func (c *callback) status(item *adapter.Item, codes adapter.Codes) {
	words := c.take("status", "message_status")
	number := c.take("status_code", "error_code")
	shown, description := words, ""
	if number != "" {
		shown, description = number, words
	}
	codes.SetStatus(item, shown, description, number, words)
}

// isCall says whether the body is a call record: it names the bridge number, or its source.
func (c *callback) isCall() bool {
	if c.said.Get("mobile").Present() {
		return false
	}
	switch strings.ToUpper(c.said.Get("source").Text()) {
	case "OBD", "C2C":
		return true
	}
	if c.said.Get("bridge").Present() {
		return true
	}
	_, known := voiceCodes.Find(c.said.First("status", "message_status").Text())
	return known && (c.said.Get("duration").Present() || c.endpointChannel() == schemas.Voice)
}

// call reads a call record. Both sources dial outwards: OBD plays to the number in to, C2C first
// rings the agent in from, then joins the customer in to through the bridge number. When to is a
// recorded flow ("flow:220") the person is the one in from.
func (c *callback) call() adapter.Item {
	c.channel = schemas.Voice
	item := c.item(schemas.CallEnded)
	// The id of a campaign (mid) is that of all its calls, and C2C has no id: a call is known by
	// its ends and its times. date and unixtime are the moment of the attempt to tell us.
	var known []byte
	for _, name := range []string{"id", "call_id", "mid", "flow_id", "bridge", "from", "to", "start_at", "end_at", "duration", "status", "message_status", "status1", "status2"} {
		known = append(append(known, c.said.Get(name).Text()...), 0)
	}
	c.fingerprint = known
	item.Distinct = string(known)

	bridge := c.said.Get("bridge").Text()
	if to := c.said.Get("to").Text(); strings.HasPrefix(strings.ToLower(to), "flow:") {
		item.Data.User = c.user("from")
		item.Data.Business = c.business("bridge")
	} else {
		item.Data.User = c.user("to")
		item.Data.Business = c.business("bridge", "from")
	}
	item.Data.MessageID = c.take("id", "call_id", "mid")
	c.status(&item, voiceCodes)
	item.Kind = schemas.CallEnded
	item.Data.Call = &schemas.Call{
		DurationSeconds: c.said.Get("duration").Number(),
		RecordingURL:    c.take("recording_url"),
		StartedAt:       c.instant("start_at"),
		EndedAt:         c.instant("end_at"),
		Direction:       "outbound",
		Bridge:          bridge,
	}
	if item.Data.Call.DurationSeconds != "" {
		c.said.Get("duration").Taken()
	}
	c.at(&item, "end_at", "start_at", "unixtime", "date")
	return item
}

// instant is the named time in RFC 3339, "" when it cannot be read. The written form stays in
// provider_data.
func (c *callback) instant(name string) string {
	zone := naiveZone
	if c.raw.Origin.NaiveZone != "" {
		zone = c.raw.Origin.NaiveZone
	}
	t, _, ok := adapter.ParseTime(c.said.Get(name).Text(), zone)
	if !ok {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")
}
