// Package meta understands the webhooks of the WhatsApp Cloud API as Meta itself sends them:
// entry[].changes[], each a batch. What stands in a change is read by adapter/whatsapp, which
// providers that pass Meta's objects on use as well.
//
// Refuses: bodies without entry. Used by the normalizer and the operator's tool.
//
// Invariant: every message, status and preference of a batch is an event or a failure of its own.
package meta

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
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
	if failure == nil && !v.Root().Get("entry").IsArray() {
		failure = &adapter.Failure{Index: adapter.WholeCallback, Class: adapter.MissingField, Message: "no entry: not a webhook of the WhatsApp Cloud API"}
	}
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	var res adapter.Result
	for _, entry := range v.Root().Get("entry").Items() {
		for _, change := range entry.Get("changes").Items() {
			got := m.whatsapp.Change(raw, v, change, len(res.Items)+len(res.Failures), nil)
			if len(res.Items)+len(res.Failures)+len(got.Items)+len(got.Failures) > adapter.MaxItems ||
				len(got.Failures) > 0 && got.Failures[0].Index == adapter.WholeCallback {
				return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
			}
			res.Items = append(res.Items, got.Items...)
			res.Failures = append(res.Failures, got.Failures...)
		}
	}
	if len(res.Items) == 0 && len(res.Failures) == 0 {
		res.Ignored = "a webhook without changes"
	}
	return res
}
