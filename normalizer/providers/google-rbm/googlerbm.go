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
		it := r.event(raw, root, "")
		v.Finish(&it, root)
		return adapter.Result{Items: []adapter.Item{it}}
	}
	inner, failure := decode(data.Taken().Text())
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	n, failure := inner.Object()
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	it := r.event(raw, n, envelope.First("publishTime", "publish_time").Text())
	inner.Finish(&it, n)
	it.Data.ProviderData = around(v.Rest(root), it.Data.ProviderData)
	return adapter.Result{Items: []adapter.Item{it}}
}

func decode(data string) (*adapter.View, *adapter.Failure) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(data, "-_") {
		encoding = base64.URLEncoding
	}
	if !strings.HasSuffix(data, "=") {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	b, err := encoding.DecodeString(data)
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

func (r *RBM) event(raw adapter.Raw, n adapter.Node, published string) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.RCS}
	it.Data.MessageID = n.Take("messageId")
	it.Data.EventID = n.Take("eventId")
	it.Data.User = n.TakeUser(raw, schemas.RCS, "senderPhoneNumber", "phoneNumber")
	if agent := n.Take("agentId", "botId"); agent != "" {
		it.Data.Business = &schemas.Business{Address: agent}
	}
	if sent := n.Get("sendTime").Text(); sent != "" {
		it.At(raw, sent, "")
	} else {
		it.At(raw, published, "")
	}
	switch kind := n.Get("eventType"); {
	case adapter.FoldCode(kind.Text()) == "SUBSCRIBE": // exact: a false opt-in is worse than one that is missed
		it.Kind = schemas.UserOptedIn
		it.Data.Consent = act(schemas.OptIn, it.Data.Business)
	case strings.HasPrefix(adapter.FoldCode(kind.Text()), "UNSUBSCRIBE"):
		it.Kind = schemas.UserOptedOut
		it.Data.Consent = act(schemas.OptOut, it.Data.Business)
	case kind.Text() == "IS_TYPING":
		it.Kind = schemas.UserTyping
	case kind.Says() && it.Data.User == nil && it.Data.MessageID == "" && !n.Get("senderPhoneNumber").Says():
		it.Kind = schemas.AccountNotice // an agent's launch state
		it.Data.Status = &schemas.Status{Code: kind.Taken().Text()}
	case kind.Says():
		r.codes.SetStatus(&it, kind.Taken().Text(), "", kind.Text())
	default:
		it.Data.Content = content(n)
	}
	return it
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
	case n.Get("text").IsString():
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
		c.Type, c.Media = schemas.ContentMedia, []schemas.Media{m}
	case n.Get("location").IsObject():
		if l := whatsapp.TakeLocation(n.Get("location")); l != nil {
			c.Type, c.Location = schemas.ContentLocation, l
		}
	}
	return c
}
