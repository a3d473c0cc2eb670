package translate

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"mime"
	"slices"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// Event ids. An id is base32 of 160 bits of SHA-256 over, each with its name and length:
//
//   - the provider's name, the event's kind, and its channel: one message that fell back from RCS to
//     SMS has receipts of both under one id;
//   - the provider's message id and event id;
//   - the status code, or its description where the provider gives no code;
//   - the content: its type and every member that is set, provider's objects in canonical form;
//   - the consent act: intent, scope, value;
//   - what the adapter says tells the item apart (Item.Distinct);
//   - and, only when the provider gave no id at all, the item's bytes (Item.Fingerprint) with the
//     query beside the body, where customers put variables too, or query, body and index of the
//     whole callback, in canonical form.
//
// Members that are not set are left out, so a member added later changes no old id. Not in it:
// the endpoint (an id is unique with its source), times (a retry may carry a new one) and
// the user (a plain hash of a number next to a known message id would give the number away).
//
// Canonical form: JSON with sorted keys and no white space, numbers with the digits they came
// with; forms and queries with sorted pairs; multipart without its boundary; of anything else the
// bytes without white space outside quotes, as of what is larger than 128 KiB: nobody documents such
// a callback without ids, and to sort a hostile megabyte of names takes 70 ms.
//
// Two items of one callback that get the same id although they say different things (a provider
// that numbers a whole batch alike) are told apart by their order: see tellApart.

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

const idBytes = 20

// maxSorted bounds what is brought into canonical form by sorting, in bytes.
const maxSorted = 128 << 10

// event appends the id of an event to b; d is used anew.
func (d *digest) event(b []byte, raw *adapter.Raw, item *adapter.Item, data *schemas.Data) []byte {
	*d = (*d)[:0]
	d.text("provider", raw.Origin.Provider)
	d.text("kind", string(item.Kind))
	d.text("channel", string(channel(item.Channel, raw.Origin.Channel)))
	d.text("message_id", data.MessageID)
	d.text("event_id", data.EventID)
	if s := data.Status; s != nil {
		d.text("status", s.Code)
		if s.Code == "" {
			d.text("status_text", s.Description)
		}
	}
	d.content(data.Content)
	if c := data.Consent; c != nil {
		d.text("intent", string(c.Intent))
		d.text("scope", string(c.Scope))
		d.text("value", c.Value)
	}
	d.text("distinct", item.Distinct)
	if data.MessageID == "" && data.EventID == "" {
		if item.Fingerprint != nil {
			d.bytes("item", canonical(item.Fingerprint, ""))
			if len(raw.Request.Body) > 0 {
				d.text("query", canonicalPairs(raw.Request.Query()))
			}
		} else {
			d.text("query", canonicalPairs(raw.Request.Query()))
			d.bytes("body", canonical(raw.Request.Body, raw.Request.Get("Content-Type")))
			d.bytes("index", binary.BigEndian.AppendUint64(nil, uint64(item.Index)))
		}
	}
	return d.appendID(b)
}

// tellApart gives items that share an id but not their data or time ids of their own, by their
// order in the callback: the same callback sent again has the same order. Items that say the
// same keep the same id, for they are the same event twice.
func tellApart(outs []Out) {
	if len(outs) < 2 {
		return
	}
	// The different ones of an id are a chain, from the last to the first: to go along it takes a
	// comparison each, where the ids of all before took a hash each.
	last, before := make(map[string]int, len(outs)), make([]int, len(outs))
	for i := range outs {
		e := &outs[i].Event
		base := e.ID
		newest, known := last[base]
		if !known {
			newest = -1
		}
		at, others := newest, uint64(0)
		for ; at >= 0; at = before[at] {
			if other := &outs[at].Event; other.Time.Equal(e.Time) && bytes.Equal(other.Data, e.Data) {
				break
			}
			others++
		}
		if at >= 0 {
			e.ID = outs[at].Event.ID
			continue
		}
		if others > 0 {
			var d digest
			d.text("id", base)
			d.bytes("again", binary.BigEndian.AppendUint64(nil, others))
			e.ID = d.id()
		}
		before[i], last[base] = newest, i
	}
}

// keyWithoutUser is the key of an event that names no user: what concerns one message stays in
// order; without a message id every event is on its own.
func keyWithoutUser(provider, messageID, id string) string {
	if messageID == "" {
		return id
	}
	var d digest
	d.text("provider", provider)
	d.text("message_id", messageID)
	return d.id()
}

// digest collects named values so that no two lists of values give the same bytes.
type digest []byte

func (d *digest) text(name, value string) {
	if value != "" {
		d.head(name, len(value))
		*d = append(*d, value...)
	}
}

func (d *digest) bytes(name string, value []byte) {
	if len(value) > 0 {
		d.head(name, len(value))
		*d = append(*d, value...)
	}
}

func (d *digest) head(name string, size int) {
	*d = append(*d, name...)
	*d = append(*d, 0)
	*d = binary.AppendUvarint(*d, uint64(size))
}

func (d *digest) content(c *schemas.Content) {
	if c == nil {
		return
	}
	d.text("content", string(c.Type))
	d.text("text", string(c.Text))
	d.text("subject", string(c.Subject))
	d.text("postback", c.Postback)
	d.text("reply_to", c.ReplyTo)
	d.text("emoji", c.Emoji)
	for i := range c.Media {
		m := &c.Media[i]
		d.text("media", m.ID)
		d.text("media_sha256", m.SHA256)
		d.text("media_name", m.Name)
		if m.ID == "" && m.SHA256 == "" { // a link may be signed anew for a retry
			d.text("media_url", m.URL)
		}
	}
	if l := c.Location; l != nil {
		d.text("latitude", string(l.Latitude))
		d.text("longitude", string(l.Longitude))
		d.text("place", string(l.Name))
	}
	if len(c.Detail) > 0 {
		d.bytes("detail", canonical(c.Detail, ""))
	}
}

func (d *digest) id() string { return string(d.appendID(nil)) }

func (d *digest) appendID(b []byte) []byte {
	sum := sha256.Sum256(*d)
	return idEncoding.AppendEncode(b, sum[:idBytes])
}

// canonical is the canonical form of a body, so that a retry that only spaces or orders it
// otherwise gives the same bytes.
func canonical(body []byte, contentType string) []byte {
	media, params, _ := mime.ParseMediaType(contentType)
	switch {
	case media == "application/x-www-form-urlencoded":
		return []byte(canonicalPairs(string(body)))
	case strings.HasPrefix(media, "multipart/") && params["boundary"] != "":
		return bytes.ReplaceAll(body, []byte(params["boundary"]), nil)
	}
	if len(body) > maxSorted {
		return withoutSpace(body)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) == nil && !dec.More() {
		if sorted, err := json.Marshal(v); err == nil {
			return sorted
		}
	}
	return withoutSpace(body)
}

func canonicalPairs(query string) string {
	if !strings.Contains(query, "&") {
		return query
	}
	pairs := strings.Split(query, "&")
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// withoutSpace leaves out the white space outside double quotes.
func withoutSpace(body []byte) []byte {
	kept := make([]byte, 0, len(body))
	quoted := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case quoted && c == '\\' && i+1 < len(body):
			kept = append(kept, c, body[i+1])
			i++
			continue
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			continue
		}
		kept = append(kept, c)
	}
	return kept
}
