// Package googlerbm understands the webhooks of Google's RCS Business Messaging: user messages,
// user events and platform events, base64 within a Pub/Sub message or bare.
//
// Refuses: an envelope whose data are no base64. Used by the normalizer and the operator's tool.
//
// Invariant: an event type that it does not know keeps everything.
package googlerbm

import (
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// Name is what endpoints call the provider.
const Name = "google-rbm"

//go:embed codes.tsv
var table string

// RBM is the adapter.
type RBM struct{ codes adapter.Codes }

// New makes the adapter.
func New() *RBM { return &RBM{adapter.MustCodes(table)} }

// Provider is Name.
func (*RBM) Provider() string { return Name }

// Adapt reads a callback.
func (r *RBM) Adapt(raw adapter.Raw) adapter.Result {
	v, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	root, failure := v.Object()
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	if root.Get("clientToken").Says() && root.Get("secret").Says() {
		return adapter.Result{Ignored: "the handshake of a new webhook"}
	}
	envelope := root.Get("message")
	data := envelope.Get("data")
	if !data.Says() {
		it := r.event(raw, root, adapter.Node{})
		v.Finish(&it, root)
		return adapter.Result{Items: append(raw.Items(), it)}
	}
	n := data.JSON() // a push without Pub/Sub's wrapping has the event itself there
	if n.IsString() {
		inner, failure := decode(data.Text())
		if failure != nil {
			return adapter.Result{Failures: []adapter.Failure{*failure}}
		}
		if n, failure = inner.Object(); failure != nil {
			return adapter.Result{Failures: []adapter.Failure{*failure}}
		}
	}
	it := r.event(raw, n, envelope)
	if n == data { // within the same view: what was not taken stays where it is
		v.Finish(&it, root)
		return adapter.Result{Items: append(raw.Items(), it)}
	}
	data.Taken()
	n.View().Finish(&it, n)
	it.Data.ProviderData = around(v.Rest(root), it.Data.ProviderData)
	it.Data.Repaired = slices.Concat(v.Repaired, it.Data.Repaired)
	return adapter.Result{Items: append(raw.Items(), it)}
}

// decode reads base64 of either alphabet, padded or not, in one line or in several.
func decode(data string) (*adapter.View, *adapter.Failure) {
	data = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", " ", "").Replace(data), "=")
	b, err := base64.RawStdEncoding.DecodeString(data) // which passes line breaks by
	if err != nil {
		return nil, &adapter.Failure{Index: adapter.WholeCallback, Class: adapter.Malformed, Message: "message.data is not base64"}
	}
	return adapter.ReadJSON(b)
}

// around puts what the Pub/Sub envelope says beside what the event says.
func around(envelope, event json.RawMessage) json.RawMessage {
	if envelope == nil {
		return event
	}
	if len(event) < 2 || event[0] != '{' {
		event = json.RawMessage("{}")
	}
	b := append([]byte(`{"envelope":`), envelope...)
	if len(event) > 2 {
		b = append(b, ',')
	}
	return append(b, event[1:]...)
}

func (r *RBM) event(raw adapter.Raw, n, envelope adapter.Node) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.RCS}
	it.Data.MessageID = n.Take("messageId")
	it.Data.EventID = n.Take("eventId")
	it.Data.User = n.TakeUser(raw, schemas.RCS, "senderPhoneNumber", "phoneNumber")
	it.Data.Business = n.TakeBusiness("agentId", "botId")
	if sent := n.Get("sendTime").Text(); sent != "" {
		it.At(raw, sent, "")
	} else {
		it.At(raw, envelope.First("publishTime", "publish_time").Text(), "")
	}
	aboutNobody := it.Data.MessageID == "" && !n.First("senderPhoneNumber", "phoneNumber").Says()
	switch kind, code := n.Get("eventType"), adapter.FoldCode(n.Get("eventType").Text()); {
	case code == "SUBSCRIBE": // exact: a false opt-in is worse than one that is missed
		it.Kind = schemas.UserOptedIn
		it.Data.Consent = act(schemas.OptIn, it.Data.Business)
	case strings.HasPrefix(code, "UNSUBSCRIBE"):
		it.Kind = schemas.UserOptedOut
		it.Data.Consent = act(schemas.OptOut, it.Data.Business)
	case code == "IS_TYPING":
		it.Kind = schemas.UserTyping
	case aboutNobody && (kind.Says() || platform(n, envelope)):
		it.Kind = schemas.AccountNotice
		it.Data.Status = &schemas.Status{Code: kind.Taken().Text()}
		if !kind.Says() {
			it.Data.Status.Code = n.First("newLaunchState").Taken().Text()
		}
		if it.Data.Status.Code == "" {
			it.Data.Status.Code = envelope.Get("attributes").First("event_type", "type").Text()
		}
		it.Data.Status.Description = n.Get("comment").Text()
	case kind.Says():
		r.codes.SetStatus(&it, kind.Taken().Text(), "", kind.Text())
	default:
		it.Data.Content = content(n)
	}
	return it
}

// platform says whether an event without a type is the platform's about an agent: an
// AgentLaunchEvent, or what the envelope calls an event of an agent (…_event; a user's message is
// "message", a user's event "event").
func platform(n, envelope adapter.Node) bool {
	return n.First("newLaunchState", "oldLaunchState").Says() || strings.HasSuffix(envelope.Get("attributes", "type").Text(), "_event")
}

// act is a subscription to the agent or the end of it: what the user taps belongs to one agent.
func act(intent schemas.Intent, agent *schemas.Business) *schemas.ConsentAct {
	a := &schemas.ConsentAct{Intent: intent, Scope: schemas.ScopeAgent, Value: "*"}
	if agent != nil {
		a.Value = agent.Address
	}
	return a
}

func content(n adapter.Node) *schemas.Content {
	c := &schemas.Content{Type: schemas.ContentUnsupported}
	response, file := n.Get("suggestionResponse"), n.Get("userFile")
	switch {
	case n.Get("text").Says() && !n.Get("text").IsObject():
		c.Type, c.Text = schemas.ContentText, schemas.Text(n.Get("text").Taken().Verbatim())
	case response.IsObject():
		c.Type = schemas.ContentSuggestionReply
		if adapter.FoldCode(response.Get("type").Text()) == "ACTION" {
			c.Type = schemas.ContentSuggestionAction
		}
		c.Text, c.Postback = schemas.Text(response.Get("text").Taken().Verbatim()), response.Take("postbackData")
	case file.IsObject():
		payload := file.Get("payload")
		m := schemas.Media{URL: payload.Take("fileUri"), MIMEType: payload.Take("mimeType"), Name: payload.Take("fileName"), ThumbnailURL: file.Get("thumbnail").Take("fileUri")}
		if size, err := strconv.ParseInt(payload.Get("fileSizeBytes").Text(), 10, 64); err == nil && size >= 0 {
			m.Size = size
			payload.Get("fileSizeBytes").Taken()
		}
		if m == (schemas.Media{}) {
			break
		}
		c.Type, c.Media = schemas.ContentMedia, []schemas.Media{m}
	case n.Get("location").IsObject():
		if l := whatsapp.TakeLocation(n.Get("location")); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	case n.Get("text").IsString(): // of blanks, or nothing
		c.Type, c.Text = schemas.ContentText, schemas.Text(n.Get("text").Taken().Verbatim())
	}
	return c
}
