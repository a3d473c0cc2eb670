package providertest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// retries are the callback as a provider may send it again.
func retries(raw adapter.Raw) map[string]adapter.Raw {
	with := func(target string, body []byte) adapter.Raw {
		r := raw
		r.Request.Target, r.Request.Body = target, body
		r.ReceivedAt = raw.ReceivedAt.Add(time.Hour)
		return r
	}
	all := map[string]adapter.Raw{"a later time": with(raw.Request.Target, raw.Request.Body)}
	path, query, _ := strings.Cut(raw.Request.Target, "?")
	if query != "" {
		all["its query turned about"] = with(path+"?"+backwards(query), raw.Request.Body)
	}
	body := raw.Request.Body
	switch {
	case json.Valid(body):
		var spaced bytes.Buffer
		if json.Indent(&spaced, body, "\t", "   ") == nil {
			all["white space"] = with(raw.Request.Target, spaced.Bytes())
		}
		if turned, ok := turnObjects(body); ok {
			all["its members turned about"] = with(raw.Request.Target, turned)
		}
	case len(body) > 0 && raw.Request.Get("Content-Type") == "application/x-www-form-urlencoded":
		if _, err := url.ParseQuery(string(body)); err == nil {
			all["its fields turned about"] = with(raw.Request.Target, []byte(backwards(string(body))))
		}
	case len(body) > 0 && (body[0] == '{' || body[0] == '['):
		all["white space before it"] = with(raw.Request.Target, append([]byte("\n  "), body...))
	}
	return all
}

// backwards turns the order of the pairs about, but not that of pairs of one name.
func backwards(query string) string {
	pairs := strings.Split(query, "&")
	slices.Reverse(pairs)
	names := map[string]bool{}
	for _, p := range pairs {
		name, _, _ := strings.Cut(p, "=")
		if names[name] {
			return query
		}
		names[name] = true
	}
	return strings.Join(pairs, "&")
}

// turnObjects writes JSON with the members of every object in the opposite order; not ok when a
// name stands twice, where the order has a meaning.
func turnObjects(body []byte) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	out, ok := turn(d)
	return out, ok
}

func turn(d *json.Decoder) ([]byte, bool) {
	token, err := d.Token()
	if err != nil {
		return nil, false
	}
	open, ok := token.(json.Delim)
	if !ok {
		b, err := json.Marshal(token)
		return b, err == nil
	}
	var parts [][]byte
	names := map[string]bool{}
	for d.More() {
		var part []byte
		if open == '{' {
			name, err := d.Token()
			if err != nil || names[name.(string)] {
				return nil, false
			}
			names[name.(string)] = true
			quoted, _ := json.Marshal(name)
			part = append(quoted, ':')
		}
		value, ok := turn(d)
		if !ok {
			return nil, false
		}
		parts = append(parts, append(part, value...))
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	end := byte(']')
	if open == '{' {
		end = '}'
		slices.Reverse(parts)
	}
	return append(append([]byte{byte(open)}, bytes.Join(parts, []byte(", "))...), end), true
}

// survivesDamage cuts the callback short and turns bits over: whatever comes of it, no panic, and
// never nothing.
func (c *Case) survivesDamage(t *testing.T, a adapter.Adapter) {
	random := rand.New(rand.NewPCG(1, uint64(len(c.Name))))
	body := c.Raw.Request.Body
	for range 100 {
		raw := c.Raw
		if len(body) > 0 {
			raw.Request.Body = bytes.Clone(body[:1+random.IntN(len(body))])
			if random.IntN(2) == 0 {
				raw.Request.Body = bytes.Clone(body)
			}
			for range random.IntN(4) {
				raw.Request.Body[random.IntN(len(raw.Request.Body))] ^= 1 << random.IntN(8)
			}
		} else {
			target := []byte(raw.Request.Target)
			target[random.IntN(len(target))] ^= 1 << random.IntN(7)
			raw.Request.Target = string(target[:1+random.IntN(len(target))])
		}
		holds(t, a, raw)
	}
}

// holds is what is true of every callback, whatever the bytes are.
func holds(t testing.TB, a adapter.Adapter, raw adapter.Raw) {
	t.Helper()
	res := a.Adapt(raw)
	if len(res.Items) == 0 && len(res.Failures) == 0 && res.Ignored == "" {
		t.Fatalf("the callback vanished: %q", raw.Request.Append(nil))
	}
	outs, failures := translate.Events(raw, res, translate.Envelope{})
	for _, f := range failures {
		if f.Class == adapter.Panic || f.Class == "" || f.Message == "" {
			t.Fatalf("failure %+v of %q", f, raw.Request.Append(nil))
		}
	}
	for i := range outs {
		if !json.Valid(outs[i].Event.Data) {
			t.Fatalf("the data of event %d are not JSON: %q of %q", i, outs[i].Event.Data, raw.Request.Append(nil))
		}
	}
	for i := range res.Items {
		if p := res.Items[i].Data.ProviderData; p != nil && !json.Valid(p) {
			t.Fatalf("provider_data of item %d are not JSON: %q of %q", i, p, raw.Request.Append(nil))
		}
	}
}

// survivesSize blows the callback up to 1 MiB: one long text, or the elements of its list over and
// over. It is answered in linear time and memory.
func (c *Case) survivesSize(t *testing.T, a adapter.Adapter) {
	if !json.Valid(c.Raw.Request.Body) {
		return
	}
	for name, body := range blownUp(c.Raw.Request.Body) {
		raw := c.Raw
		raw.Request.Body = body
		Cheap(t, name+" of 1 MiB", len(body), func() { a.Adapt(raw) })
	}
}

func blownUp(body []byte) map[string][]byte {
	all := map[string][]byte{}
	if i := bytes.LastIndex(body, []byte(`":"`)); i >= 0 {
		i += len(`":"`)
		all["a long text"] = slices.Concat(body[:i], bytes.Repeat([]byte("9"), hostile), body[i:])
	} else if i := bytes.LastIndex(body, []byte(`": "`)); i >= 0 {
		i += len(`": "`)
		all["a long text"] = slices.Concat(body[:i], bytes.Repeat([]byte("9"), hostile), body[i:])
	}
	if open := bytes.IndexByte(body, '['); open >= 0 {
		var first json.RawMessage
		d := json.NewDecoder(bytes.NewReader(body[open+1:]))
		if d.Decode(&first) == nil {
			more := append(bytes.Clone(first), ',')
			all["a long list"] = slices.Concat(body[:open+1], bytes.Repeat(more, hostile/len(more)), body[open+1:])
		}
	}
	return all
}

// Fuzz lets the fuzzer loose on the adapter, seeded with the cases.
func Fuzz(f *testing.F, a adapter.Adapter) {
	cases := Cases(f, a)
	for i, c := range cases {
		f.Add(uint8(i), c.Raw.Request.Method, c.Raw.Request.Target, c.Raw.Request.Get("Content-Type"), c.Raw.Request.Body)
	}
	f.Fuzz(func(t *testing.T, like uint8, method, target, contentType string, body []byte) {
		raw := cases[int(like)%len(cases)].Raw
		raw.Request = schemas.Capture{Method: method, Target: target, Body: body, Header: []schemas.Field{{Name: "Content-Type", Value: contentType}}}
		holds(t, a, raw)
		if first, again := ids(a, raw), ids(a, raw); !slices.Equal(first, again) {
			t.Fatalf("ids %v and then %v of %q", first, again, raw.Request.Append(nil))
		}
	})
}

// Bench measures the adapter over all its cases in turn, and the events made of them.
func Bench(b *testing.B, a adapter.Adapter) {
	cases := Cases(b, a)
	size := 0
	for _, c := range cases {
		size += len(c.Raw.Request.Body)
	}
	b.Run("adapt", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(size / len(cases)))
		for i := 0; b.Loop(); i++ {
			a.Adapt(cases[i%len(cases)].Raw)
		}
	})
	b.Run("events", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(size / len(cases)))
		env := translate.Envelope{Pseudonyms: translate.DemoPseudonyms()}
		for i := 0; b.Loop(); i++ {
			raw := cases[i%len(cases)].Raw
			translate.Events(raw, a.Adapt(raw), env)
		}
	})
}
