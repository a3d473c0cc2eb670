package kaleyra

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// channelNamed is the channel that a callback names, else the endpoint's.
func (c *callback) channelNamed(s string) schemas.Channel {
	switch s = strings.ToLower(s); s {
	case "wa", "whatsapp":
		return schemas.WhatsApp
	case "mail", "e-mail":
		return schemas.Email
	case "":
		if c.raw.Origin.Channel == schemas.AnyChannel {
			return ""
		}
		return c.raw.Origin.Channel
	}
	for _, known := range schemas.Channels() {
		if string(known) == s {
			return known
		}
	}
	return ""
}

// failover is the outcome of one channel of a failover request: `delivered` says what, the trace why.
func (c *callback) failover(n adapter.Node) {
	channel := n.Get("channel")
	it := adapter.Item{Channel: c.channelNamed(channel.Text())}
	it.Data.MessageID = n.Take("failover_id", "kid")
	it.Data.EventID = n.Take("channel_status_id")
	it.Data.User = c.takePerson(n, it.Channel, "mobile", "email")
	it.At(c.raw, n.Get("timestamp").Text(), naiveZone)
	c.outcome(&it, c.failoverStates.Find, n.Get("delivered"), n.Get("status_trace"))
	c.add(it, n)
}

// takePerson is the user of a receipt: where the channel is e-mail their e-mail address, else the first
// of the names that says something. A failover's recipient has a number and an e-mail address at once
// (K:failover-messages), and each of its callbacks carries both.
func (c *callback) takePerson(n adapter.Node, channel schemas.Channel, names ...string) *schemas.User {
	if email := n.Get("email"); channel == schemas.Email && email.Says() {
		return n.TakeUser(c.raw, channel, "email")
	}
	return n.TakeUser(c.raw, channel, names...)
}

// fallbackFlow is the outcome of a whole flow: one event for each channel that it tried. The
// documented body of its profile is {"workflowevent": the flow}.
func (c *callback) fallbackFlow(flow adapter.Node) {
	var beside json.RawMessage // what stands beside a flow that is JSON in a string
	if inside := flow.Get("workflowevent"); inside.Present() && !flow.Get("executionStatus").Present() {
		n := flow
		if flow = inside.JSON(); !flow.IsObject() {
			c.unknown(n)
			return
		}
		if flow.View() != c.v {
			inside.Taken()
			beside = c.v.Rest(n)
		}
	}
	result := flow.Get("result")
	invocation := flow.Get("workflowInvocationId").Text()
	at := flow.Get("timestamp").Text()
	var names []string
	for name, channel := range result.Members() {
		if strings.HasPrefix(name, "channel") {
			names = append(names, name)
			channel.Item()
		}
	}
	if len(names) > adapter.MaxItems {
		c.tooMany = true
		return
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }) // channel2 before channel10
	for _, name := range slices.Compact(names) {
		channel := result.Get(name)
		if !channel.IsObject() {
			c.fail(c.next(), adapter.MissingField, "a channel of the fallback flow's result is not an object")
			continue
		}
		it := adapter.Item{Channel: c.channelNamed(channel.Get("channel").Text())}
		it.Data.EventID = invocation
		it.Data.MessageID = channel.Take("messageId", "clientMessageId")
		it.Data.User = channel.TakeUser(c.raw, it.Channel, "to")
		it.Data.Business = channel.TakeBusiness("from")
		it.At(c.raw, at, naiveZone)
		it.Distinct = name
		code := channel.Take("statusCode")
		it.Kind = schemas.MessageStatusUnknown
		it.Data.Status = &schemas.Status{Code: code, Meaning: schemas.MeaningUnknown}
		// TIMEOUT is in no table: the flow waited no longer; the message may still arrive.
		if row, ok := c.find(it.Channel, code); ok {
			it.Kind, it.Data.Status.Meaning = row.Kind, row.Meaning
			if row.OptOut {
				it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: code}
			}
		}
		it.Index = c.next()
		c.finishFlow(&it, channel, beside)
		c.res.Items = append(c.res.Items, it)
		if len(beside) > maxBeside {
			beside = nil
		}
	}
	if len(names) == 0 {
		it := adapter.Item{Kind: schemas.CampaignStatus, Channel: c.channelNamed("")}
		it.Data.EventID = flow.Take("workflowInvocationId")
		it.At(c.raw, at, naiveZone)
		it.Data.Status = &schemas.Status{Code: flow.Take("executionStatus")}
		it.Index = c.next()
		c.finishFlow(&it, flow, beside)
		c.res.Items = append(c.res.Items, it)
	}
}

// maxBeside is what each of a flow's items may carry of what stands beside it, as adapter.View.Rest
// has it: where it is longer only the first does, so that 1,024 channels stay within 4 MiB.
const maxBeside = 4 << 10

// finishFlow ends an item of a flow, whose view may be that of a string.
func (c *callback) finishFlow(it *adapter.Item, n adapter.Node, beside json.RawMessage) {
	n.View().Finish(it, n)
	if n.View() == c.v {
		return
	}
	it.Data.Repaired = slices.Concat(c.v.Repaired, it.Data.Repaired)
	if len(beside) == 0 {
		return
	}
	inside := it.Data.ProviderData
	if inside == nil {
		inside = json.RawMessage("null")
	}
	it.Data.ProviderData = slices.Concat([]byte(`{"workflowevent":`), inside, []byte(","), beside[1:])
}

// template is a change of a WhatsApp template's status. The documented GET template puts quotes
// and line breaks around names and values. id is the account's, not the event's: the event is
// known by its content, its time included.
func (c *callback) template(n adapter.Node) {
	it := adapter.Item{Kind: schemas.TemplateStatus, Channel: schemas.WhatsApp}
	it.At(c.raw, unquoted(n, "time"), naiveZone)
	it.Data.Status = &schemas.Status{Code: takeUnquoted(n, "event"), Description: takeUnquoted(n, "reason")}
	c.add(it, n)
}

func isTemplate(n adapter.Node) bool {
	return unquoted(n, "message_template_id") != "" || unquoted(n, "message_template_name") != ""
}

// unquoted is the text of a member that may have quotes around its name and its value.
func unquoted(n adapter.Node, name string) string { return withoutQuotes(quoted(n, name).Text()) }

// takeUnquoted is unquoted of a member that is taken if it has a text.
func takeUnquoted(n adapter.Node, name string) string { return withoutQuotes(taken(quoted(n, name))) }

func quoted(n adapter.Node, name string) adapter.Node { return n.First(name, `"`+name+`"`) }

func withoutQuotes(s string) string { return strings.Trim(s, "\" \t\r\n") }

// quality is a notice about a number's quality rating and messaging limit, a GET on the URL for
// incoming messages.
func (c *callback) quality(n adapter.Node) {
	it := adapter.Item{Kind: schemas.AccountNotice, Channel: schemas.WhatsApp}
	it.Data.Business = n.TakeBusiness("display_phone_number")
	it.At(c.raw, n.First("timestamp", "time").Text(), naiveZone)
	it.Data.Status = &schemas.Status{Code: n.Take("event")}
	c.add(it, n)
}
