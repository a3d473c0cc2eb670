// Package meta understands the webhooks of the WhatsApp Cloud API as Meta itself sends them:
// entry[].changes[], each a batch. What stands in a change is read by adapter/whatsapp, which
// providers that pass Meta's objects on use as well.
//
// Refuses: what is no JSON object. Used by the normalizer and the operator's tool.
//
// Invariant: every message, status and preference of a batch is an event or a failure of its own.
package meta

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// Name is what endpoints call the provider.
const Name = "meta"

// Meta is the adapter.
type Meta struct{ whatsapp *whatsapp.Reader }

// New makes the adapter.
func New() *Meta { return &Meta{whatsapp.New()} }

// Provider is Name.
func (*Meta) Provider() string { return Name }

// Adapt reads a callback.
func (m *Meta) Adapt(raw adapter.Raw) adapter.Result {
	v, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	root, failure := v.Object()
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	entries := root.Get("entry")
	if !entries.IsArray() && !entries.IsObject() {
		if root.Get("messages").Says() || root.Get("statuses").Says() { // as the on-premises API sends them
			return m.whatsapp.Change(raw, v, root, 0, nil)
		}
		return adapter.Result{Items: append(raw.Items(), unknown(raw, v, root, 0))}
	}
	res := adapter.Result{Items: raw.Items()}
	for _, entry := range entries.Items() {
		changes := entry.Get("changes").Items()
		if len(changes) == 0 && says(entry) {
			changes = []adapter.Node{entry}
		}
		for _, change := range changes {
			switch index := len(res.Items) + len(res.Failures); {
			case !change.IsObject():
				res.Failures = append(res.Failures, adapter.Failure{Index: index, Class: adapter.MissingField, Message: "an entry or a change is not an object"})
			case change == entry:
				res.Items = append(res.Items, unknown(raw, v, entry, index))
			default:
				got := m.whatsapp.Change(raw, v, change, index, ofEntry(raw, entry))
				if len(got.Failures) > 0 && got.Failures[0].Index == adapter.WholeCallback {
					return adapter.Result{Failures: got.Failures[:1]}
				}
				res.Items = append(res.Items, got.Items...)
				res.Failures = append(res.Failures, got.Failures...)
			}
			if len(res.Items)+len(res.Failures) > adapter.MaxItems {
				return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
			}
		}
	}
	if len(res.Items) == 0 && len(res.Failures) == 0 {
		res.Ignored = "a webhook without changes"
	}
	return res
}

// unknown is what no part of the WhatsApp Cloud API looks like, other products' entries (messaging,
// standby) among it: it keeps everything and claims nothing.
func unknown(raw adapter.Raw, v *adapter.View, n adapter.Node, index int) adapter.Item {
	it := adapter.Item{Kind: schemas.MessageReceived, Channel: schemas.WhatsApp, Index: index}
	it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	if raw.Origin.Kind == schemas.EndpointStatus {
		it.Kind, it.Data.Content = schemas.MessageStatusUnknown, nil
		it.Data.Status = &schemas.Status{Meaning: schemas.MeaningUnknown}
	}
	v.Finish(&it, n)
	return it
}

// says reports whether an entry says more than whose it is and when it was sent.
func says(entry adapter.Node) bool {
	if !entry.IsObject() {
		return true
	}
	for name := range entry.Members() {
		if name != "id" && name != "time" && name != "changes" {
			return true
		}
	}
	return false
}

// ofEntry puts what the entry says onto a notice about the account: it has no time and no id of its
// own, and the same may be said again another day, or of another account.
func ofEntry(raw adapter.Raw, entry adapter.Node) whatsapp.Amend {
	return func(it *adapter.Item) {
		if it.Data.MessageID != "" || it.Kind != schemas.AccountNotice && it.Kind != schemas.TemplateStatus {
			return
		}
		if at := entry.Get("time").Text(); at != "" && it.Distinct == "" {
			it.At(raw, at, "")
			it.Distinct = entry.Get("id").Text() + "/" + at
		}
	}
}
