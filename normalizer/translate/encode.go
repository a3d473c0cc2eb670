package translate

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/heedhq/heed/schemas"
)

// appendData appends data as JSON to b. It writes what encoding/json writes (a test compares
// them member by member), in a third of the time: every event passes here.
func appendData(b []byte, d *schemas.Data) []byte {
	o := object{append(b, '{'), true}
	if u := d.User; u != nil {
		o.name("user")
		in := o.open()
		in.text("address", string(u.Address))
		in.text("kind", string(u.Kind))
		in.optional("given", string(u.Given))
		o.close(in)
	}
	if d.Business != nil {
		o.name("business")
		in := o.open()
		in.text("address", d.Business.Address)
		o.close(in)
	}
	o.optional("message_id", d.MessageID)
	o.optional("event_id", d.EventID)
	if d.Content != nil {
		o.name("content")
		in := o.open()
		in.content(d.Content)
		o.close(in)
	}
	o.optional("provider_action", string(d.ProviderAction))
	if s := d.Status; s != nil {
		o.name("status")
		in := o.open()
		in.optional("code", s.Code)
		in.optional("description", s.Description)
		in.optional("meaning", string(s.Meaning))
		o.close(in)
	}
	if c := d.Consent; c != nil {
		o.name("consent")
		in := o.open()
		in.text("intent", string(c.Intent))
		in.text("scope", string(c.Scope))
		in.text("value", c.Value)
		o.close(in)
	}
	if e := d.Evidence; e != nil {
		o.name("evidence")
		in := o.open()
		in.name("opt_out")
		in.b = strconv.AppendBool(in.b, e.OptOut)
		in.text("code", e.Code)
		o.close(in)
	}
	if c := d.Call; c != nil {
		o.name("call")
		in := o.open()
		if c.DurationSeconds != "" {
			in.number("duration_seconds", c.DurationSeconds)
		}
		in.optional("recording_url", c.RecordingURL)
		in.optional("started_at", c.StartedAt)
		in.optional("ended_at", c.EndedAt)
		in.optional("direction", c.Direction)
		in.optional("bridge", c.Bridge)
		o.close(in)
	}
	o.text("time_source", string(d.TimeSource))
	o.optional("time_flag", string(d.TimeFlag))
	if len(d.Repaired) > 0 {
		o.name("repaired")
		for i, what := range d.Repaired {
			o.b = append(o.b, before(i))
			o.b = appendString(o.b, what)
		}
		o.b = append(o.b, ']')
	}
	o.raw("provider_data", d.ProviderData)
	return append(o.b, '}')
}

func (o *object) content(c *schemas.Content) {
	o.text("type", string(c.Type))
	o.optional("text", string(c.Text))
	o.optional("subject", string(c.Subject))
	o.optional("postback", c.Postback)
	o.optional("reply_to", c.ReplyTo)
	if len(c.Media) > 0 {
		o.name("media")
		for i := range c.Media {
			o.b = append(o.b, before(i))
			in := o.open()
			in.media(&c.Media[i])
			o.close(in)
		}
		o.b = append(o.b, ']')
	}
	if l := c.Location; l != nil {
		o.name("location")
		in := o.open()
		in.number("latitude", l.Latitude)
		in.number("longitude", l.Longitude)
		in.optional("name", string(l.Name))
		in.optional("address", string(l.Address))
		o.close(in)
	}
	o.optional("emoji", c.Emoji)
	o.raw("detail", c.Detail)
}

func (o *object) media(m *schemas.Media) {
	o.optional("url", m.URL)
	o.optional("id", m.ID)
	o.optional("mime_type", m.MIMEType)
	o.optional("name", m.Name)
	if m.Size != 0 {
		o.name("size")
		o.b = strconv.AppendInt(o.b, m.Size, 10)
	}
	o.optional("sha256", m.SHA256)
	o.optional("thumbnail_url", m.ThumbnailURL)
}

// before is what stands before the i-th value of a list.
func before(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}

// object is a JSON object that is being written at the end of b.
type object struct {
	b     []byte
	first bool
}

// open begins an object as the value of the last name; close ends it.
func (o *object) open() object    { return object{append(o.b, '{'), true} }
func (o *object) close(in object) { o.b = append(in.b, '}') }

func (o *object) name(name string) {
	if !o.first {
		o.b = append(o.b, ',')
	}
	o.first = false
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) text(name, value string) {
	o.name(name)
	o.b = appendString(o.b, value)
}

func (o *object) optional(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

// number writes the digits as they are; what is no number becomes null, which every reader of
// a number bears.
func (o *object) number(name string, n json.Number) {
	o.name(name)
	if c := firstByte(n); (c == '-' || '0' <= c && c <= '9') && json.Valid([]byte(n)) {
		o.b = append(o.b, n...)
		return
	}
	o.b = append(o.b, "null"...)
}

func firstByte(n json.Number) byte {
	if n == "" {
		return 0
	}
	return n[0]
}

// raw writes JSON that the adapter made (provider_data, detail): trusted to be JSON, since it is
// written from parsed values, which providertest and its fuzzing hold. To check it again would
// cost as much as the rest of the encoding.
func (o *object) raw(name string, value json.RawMessage) {
	if len(value) > 0 {
		o.name(name)
		o.b = append(o.b, value...)
	}
}

// appendString writes s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if special[s[i]] {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// special are the bytes that a JSON string can't hold as they are, and those of which it must be
// seen whether they are UTF-8.
var special = func() (t [256]bool) {
	for c := range t {
		t[c] = c < ' ' || c >= utf8.RuneSelf
	}
	t['"'], t['\\'] = true, true
	return t
}()

func appendEscaped(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				const hex = "0123456789abcdef"
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[from:i]...)
			b = append(b, "\ufffd"...)
			from = i + 1
		}
		i += size
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// cutMark stands in place of a provider_data that did not fit; it says where the whole of it is.
func cutMark(size int, env *Envelope) json.RawMessage {
	o := object{[]byte(`{"heed_cut":{"reason":"data over 64 KiB"`), false}
	o.name("bytes")
	o.b = strconv.AppendInt(o.b, int64(size), 10)
	o.optional("raw_record", env.CallbackID)
	o.optional("raw_at", env.rawAt())
	return append(o.b, "}}"...)
}
