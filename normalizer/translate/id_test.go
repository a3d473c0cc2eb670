package translate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// Each member of the rule by itself makes another id; each that is not in the rule does not.
func TestWhatTheIDIsMadeOf(t *testing.T) {
	base := one(t, rawOf("{}"), stop()).Event.ID
	for name, c := range map[string]struct {
		change func(*adapter.Raw, *adapter.Item)
		same   bool
	}{
		"provider":         {func(r *adapter.Raw, _ *adapter.Item) { r.Origin.Provider = "exotel" }, false},
		"kind":             {func(_ *adapter.Raw, i *adapter.Item) { i.Kind = schemas.UserTyping }, false},
		"channel":          {func(_ *adapter.Raw, i *adapter.Item) { i.Channel = schemas.SMS }, false},
		"message id":       {func(_ *adapter.Raw, i *adapter.Item) { i.Data.MessageID = "m-2" }, false},
		"event id":         {func(_ *adapter.Raw, i *adapter.Item) { i.Data.EventID = "e-2" }, false},
		"status code":      {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Status = &schemas.Status{Code: "1"} }, false},
		"status text":      {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Status = &schemas.Status{Description: "x"} }, false},
		"content type":     {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Type = schemas.ContentSuggestionReply }, false},
		"text":             {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Text = "START" }, false},
		"postback":         {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Postback = "x" }, false},
		"emoji":            {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Emoji = "x" }, false},
		"subject":          {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Subject = "x" }, false},
		"reply to":         {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.ReplyTo = "x" }, false},
		"location":         {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Location = &schemas.Location{Latitude: "1"} }, false},
		"media":            {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Media = []schemas.Media{{URL: "x"}} }, false},
		"detail":           {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Content.Detail = json.RawMessage(`{"a":1}`) }, false},
		"consent act":      {func(_ *adapter.Raw, i *adapter.Item) { i.Data.Consent = &schemas.ConsentAct{Intent: schemas.OptOut} }, false},
		"distinct":         {func(_ *adapter.Raw, i *adapter.Item) { i.Distinct = "x" }, false},
		"blanks of an id":  {func(_ *adapter.Raw, i *adapter.Item) { i.Data.MessageID = "\tm-1" }, true},
		"time":             {func(_ *adapter.Raw, i *adapter.Item) { i.Time = received.Add(-time.Hour) }, true},
		"receipt":          {func(r *adapter.Raw, _ *adapter.Item) { r.ReceivedAt = received.Add(time.Hour) }, true},
		"body":             {func(r *adapter.Raw, _ *adapter.Item) { r.Request.Body = []byte("[]") }, true},
		"provider data":    {func(_ *adapter.Raw, i *adapter.Item) { i.Data.ProviderData = json.RawMessage(`{"a":1}`) }, true},
		"user":             {func(_ *adapter.Raw, i *adapter.Item) { i.Data.User = nil }, true},
		"fingerprint":      {func(_ *adapter.Raw, i *adapter.Item) { i.Fingerprint = []byte("x") }, true},
		"place in a batch": {func(_ *adapter.Raw, i *adapter.Item) { i.Index = 7 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			raw, item := rawOf("{}"), stop()
			c.change(&raw, &item)
			if got := one(t, raw, item).Event.ID; (got == base) != c.same {
				t.Errorf("same id: %v, want %v", got == base, c.same)
			}
		})
	}
}

// Without any id of the provider's the bytes decide, however a retry spaces or orders them.
func TestIDWithoutProviderIDs(t *testing.T) {
	idOf := func(contentType, query, body string) string {
		raw, item := rawOf(body), stop()
		raw.Request.Header[0].Value = contentType
		raw.Request.Target += "?" + query
		item.Data.MessageID, item.Data.EventID = "", ""
		return one(t, raw, item).Event.ID
	}
	for name, c := range map[string]struct {
		typ  string
		a, b string
		same bool
	}{
		"JSON spacing and order":     {"application/json", `{"a":1,"b":[1.0,"x y"]}`, "{\n \"b\": [1.0, \"x y\"],\n \"a\": 1 }\n", true},
		"JSON number digits":         {"application/json", `{"a":1.0}`, `{"a":1}`, false},
		"JSON blanks in a text":      {"application/json", `{"a":"x y"}`, `{"a":"xy"}`, false},
		"broken JSON, spacing":       {"application/json", `{"a": 9180XX, }`, `{"a":9180XX,}`, true},
		"broken JSON, blank in text": {"application/json", `{"a": "\" ", }`, `{"a":"\"",}`, false},
		"form order":                 {"application/x-www-form-urlencoded", "a=1&b=2", "b=2&a=1", true},
		"form value":                 {"application/x-www-form-urlencoded", "a=1&b=2", "a=2&b=1", false},
		"plain text":                 {"text/plain", "x", "y", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := idOf(c.typ, "", c.a) == idOf(c.typ, "", c.b); got != c.same {
				t.Errorf("same id: %v, want %v", got, c.same)
			}
		})
	}
	if idOf("multipart/form-data; boundary=AAA", "", "--AAA\r\nx\r\n--AAA--") != idOf("multipart/form-data; boundary=BBB", "", "--BBB\r\nx\r\n--BBB--") {
		t.Error("the boundary of a multipart body changed the id")
	}
	if idOf("", "a=1&b=2", "") != idOf("", "b=2&a=1", "") || idOf("", "a=1", "") == idOf("", "a=2", "") {
		t.Error("the id does not follow the query")
	}
}

// Items that a provider numbers alike still get ids of their own, the same each time; the same
// item twice is the same event twice.
func TestItemsOfOneCallbackAreToldApart(t *testing.T) {
	var items []adapter.Item
	for i, user := range []schemas.Address{"+911", "+912", "+912", "+913"} {
		item := stop()
		item.Index, item.Data.User = i, &schemas.User{Address: user, Kind: schemas.UserPhone}
		items = append(items, item)
	}
	ids := func() []string {
		outs, _ := translate.Events(rawOf("{}"), adapter.Result{Items: items}, translate.Envelope{})
		var ids []string
		for _, out := range outs {
			ids = append(ids, out.Event.ID)
		}
		return ids
	}
	got := ids()
	if !slices.Equal(got, ids()) {
		t.Error("the ids differ from one time to the next")
	}
	if got[1] != got[2] {
		t.Error("the same item twice has two ids")
	}
	if distinct := len(slices.Compact(slices.Sorted(slices.Values(got)))); distinct != 3 {
		t.Errorf("%d ids for 3 different items", distinct)
	}
}

// For any JSON body without ids: spaced and ordered at random, the id stays; with any one leaf
// changed, it does not.
func TestIDProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := jsonValue(3).Draw(t, "value")
		spaced := func(seed int) []byte {
			var b bytes.Buffer
			writeJSON(&b, value, seed)
			return b.Bytes()
		}
		idOf := func(body []byte) string {
			item := adapter.Item{Kind: schemas.AccountNotice, Fingerprint: body}
			outs, failures := translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{item}}, translate.Envelope{})
			if len(failures) > 0 {
				t.Fatal(failures)
			}
			return outs[0].Event.ID
		}
		base := idOf(spaced(0))
		if idOf(spaced(rapid.IntRange(1, 1000).Draw(t, "spacing"))) != base {
			t.Fatalf("the same value written otherwise has another id: %s", spaced(1))
		}
		if idOf([]byte(`[`+string(spaced(0))+`]`)) == base {
			t.Fatal("another value has the same id")
		}
	})
}

// Different lists of ids, codes and texts never give the same id, also where one's end looks
// like the other's beginning.
func TestIDsDoNotCollideProperty(t *testing.T) {
	short := rapid.StringMatching(`[ab\x00:]{0,3}`)
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		item := adapter.Item{
			Kind:     rapid.SampledFrom([]schemas.Kind{schemas.MessageReceived, schemas.MessageSent, schemas.UserOptedOut}).Draw(t, "kind"),
			Distinct: short.Draw(t, "distinct"),
			Data: schemas.Data{
				MessageID: "m" + short.Draw(t, "message id"), EventID: short.Draw(t, "event id"),
				Status:  &schemas.Status{Code: "c" + short.Draw(t, "code")},
				Content: &schemas.Content{Type: schemas.ContentText, Text: schemas.Text(short.Draw(t, "text")), Postback: short.Draw(t, "postback")},
				Consent: &schemas.ConsentAct{Intent: schemas.OptOut, Scope: schemas.ScopeAgent, Value: short.Draw(t, "value")},
			},
		}
		outs, _ := translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{item}}, translate.Envelope{})
		identity := fmt.Sprintf("%q", []string{string(item.Kind), item.Distinct, strings.TrimSpace(item.Data.MessageID), item.Data.EventID, item.Data.Status.Code,
			string(item.Data.Content.Text), item.Data.Content.Postback, item.Data.Consent.Value})
		if before, ok := seen[outs[0].Event.ID]; ok && before != identity {
			t.Fatalf("%s and %s have the same id", before, identity)
		}
		seen[outs[0].Event.ID] = identity
		if err := sdkValid(outs[0].Event); err != nil {
			t.Fatal(err)
		}
	})
}

// jsonValue draws a JSON value: nil, bool, json.Number, string, []any, map[string]any.
func jsonValue(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.IntRange(-9, 1e12), func(n int) any { return json.Number(fmt.Sprint(n)) }),
		rapid.Map(rapid.StringMatching(`[a-c "\\é]{0,6}`), func(s string) any { return s }),
	)
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.Map(rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return jsonValue(depth - 1) }), 0, 4), func(v []any) any { return v }),
		rapid.Map(rapid.MapOfN(rapid.StringMatching(`[a-d]{1,2}`), rapid.Deferred(func() *rapid.Generator[any] { return jsonValue(depth - 1) }), 0, 4), func(v map[string]any) any { return v }),
	)
}

// writeJSON writes a value with the spacing and key order that seed chooses.
func writeJSON(b *bytes.Buffer, v any, seed int) {
	space := func() { b.WriteString([]string{"", " ", "\n\t", "  "}[seed%4]) }
	switch v := v.(type) {
	case []any:
		b.WriteByte('[')
		for i, one := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			writeJSON(b, one, seed/2)
		}
		space()
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		keys := slices.Sorted(maps.Keys(v))
		if seed%2 == 1 {
			slices.Reverse(keys)
		}
		for i, key := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			name, _ := json.Marshal(key)
			b.Write(name)
			b.WriteByte(':')
			space()
			writeJSON(b, v[key], seed/2)
		}
		b.WriteByte('}')
	default:
		leaf, _ := json.Marshal(v)
		b.Write(leaf)
	}
}

// A callback without ids that is too large to be sorted is known by its bytes all the same, with any
// white space between them.
func TestLargeCallbacksWithoutIDs(t *testing.T) {
	many := func(space string) adapter.Raw {
		return rawOf("{" + space + strings.Repeat(`"a":"b c",`+space, maxSortedBody/10) + `"z":1}`)
	}
	id := func(raw adapter.Raw) string {
		item := adapter.Item{Kind: schemas.MessageReceived, Data: schemas.Data{Content: &schemas.Content{Type: schemas.ContentUnsupported}}}
		outs, _ := translate.Events(raw, adapter.Result{Items: []adapter.Item{item}}, translate.Envelope{})
		return outs[0].Event.ID
	}
	if first, spaced := id(many("")), id(many("\n ")); first != spaced {
		t.Errorf("%s, with white space %s", first, spaced)
	}
	if first, other := id(many("")), id(rawOf("{"+strings.Repeat(`"a":"bc",`, maxSortedBody/9)+`"z":1}`)); first == other {
		t.Error("two callbacks share an id")
	}
}

const maxSortedBody = 128 << 10
