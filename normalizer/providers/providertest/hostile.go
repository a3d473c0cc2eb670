package providertest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// The bars for a hostile callback of 1 MiB, as the project set them: 50 ms and 64 times its size.
// The time is the thread's own, of the fastest of some runs, since what else the machine does is
// no fault of an adapter's.
const (
	hostile     = 1 << 20
	hostileTime = 50 * time.Millisecond
	hostileFold = 64
)

// bears holds the adapter against the bars.
func bears(t *testing.T, a adapter.Adapter, name string, raw adapter.Raw) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	size := uint64(max(len(raw.Request.Body), hostile)) // a short one may cost what a long one may
	var before, after runtime.MemStats
	spent, fold := time.Duration(math.MaxInt64), uint64(0)
	for run := 0; run < 20 && spent > hostileTime; run++ { // content with the first that is fast enough
		if run > 2 {
			runtime.GC() // it was close: what others left to be collected is not the adapter's
		}
		runtime.ReadMemStats(&before)
		start := threadTime()
		a.Adapt(raw)
		spent = min(spent, threadTime()-start)
		runtime.ReadMemStats(&after)
		fold = (after.TotalAlloc - before.TotalAlloc) / size
	}
	if spent > hostileTime*slower {
		t.Errorf("%s takes %v", name, spent)
	}
	if fold > hostileFold {
		t.Errorf("%s takes %d MiB of memory", name, fold)
	}
}

// survivesSize blows the case up: it is answered in linear time and memory. seen are the shapes that
// were blown up already: a case that only says something else is not worth the second that it takes.
func (c *Case) survivesSize(t *testing.T, a adapter.Adapter, seen map[string]bool) {
	body := c.Raw.Request.Body
	if slower > 1 || !json.Valid(body) || seen[shape(body)] {
		return
	}
	seen[shape(body)] = true
	for name, body := range blownUp(body) {
		raw := c.Raw
		raw.Request.Body = body
		bears(t, a, name, raw)
	}
	for _, m := range text.FindAllSubmatchIndex(body, -1) {
		name := "a long text in " + string(body[m[2]:m[3]])
		if seen[name] {
			continue
		}
		seen[name] = true
		raw := c.Raw
		raw.Request.Body = slices.Concat(body[:m[4]], bytes.Repeat([]byte("1-"), hostile/2), body[m[5]:])
		bears(t, a, name, raw)
	}
}

// text is a member with a text, its name and the text the groups.
var text = regexp.MustCompile(`"([a-zA-Z0-9_ -]*)"\s*:\s*"([^"\\]*)"`)

var member = regexp.MustCompile(`"([a-zA-Z0-9_ -]*)"\s*:`)

// shape is the names of all members of a body, in their order.
func shape(body []byte) string { return string(bytes.Join(member.FindAll(body, -1), nil)) }

func blownUp(body []byte) map[string][]byte {
	all := map[string][]byte{}
	wide := bytes.Repeat([]byte(`"a":1,`), adapter.MaxValues-5000)
	if body[0] == '{' && len(bytes.TrimSpace(body[1:])) > 1 {
		all["one name over and over"] = slices.Concat([]byte("{"), wide, body[1:])
	}
	open := bytes.IndexByte(body, '[')
	if open < 0 {
		return all
	}
	var first json.RawMessage
	if json.NewDecoder(bytes.NewReader(body[open+1:])).Decode(&first) != nil {
		return all
	}
	more := append(bytes.Clone(first), ',')
	all["a long list"] = slices.Concat(body[:open+1], bytes.Repeat(more, hostile/len(more)), body[open+1:])
	all["a list of other people"] = slices.Concat(body[:open+1], others(first, hostile-len(body)), body[open+1:])
	// What is around a list is around each of its items.
	for name, first := range map[string]string{"empty items in a wide envelope": "{}", "items in a wide envelope": string(first)} {
		if body[0] == '{' {
			all[name] = slices.Concat([]byte("{"), wide, body[1:open+1], bytes.Repeat([]byte(first+","), adapter.MaxItems/2), body[open+1:])
		}
		if around := bytes.LastIndexByte(body[:open], '{'); around >= 0 {
			all[name+" close by"] = slices.Concat(body[:around+1], wide, body[around+1:open+1], bytes.Repeat([]byte(first+","), adapter.MaxItems/2), body[open+1:])
		}
	}
	return all
}

var number = regexp.MustCompile(`\d{9,13}`)

// others are copies of an element, about somebody else each, with a comma after each: as many as a
// callback may have items, nearly.
func others(element []byte, room int) []byte {
	var b []byte
	for i := range adapter.MaxItems - 24 {
		next := number.ReplaceAllFunc(element, func(digits []byte) []byte {
			return append(digits[:len(digits)-4:len(digits)-4], fmt.Sprintf("%04d", i)...)
		})
		if len(b)+len(next) >= room {
			break
		}
		b = append(append(b, next...), ',')
	}
	return b
}

// bearsTheWorst holds the adapter against bodies that are made to be slow.
func bearsTheWorst(t *testing.T, a adapter.Adapter) {
	for _, h := range worst() {
		raw := adapter.Raw{
			Origin:     schemas.Origin{Endpoint: "case", Provider: a.Provider(), DefaultCountry: "IN"},
			ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Request: schemas.Capture{
				Method: "POST", Target: "/v1/callbacks/case", Body: h.body,
				Header: []schemas.Field{{Name: "Content-Type", Value: h.contentType}},
			},
		}
		t.Run(h.name, func(t *testing.T) {
			bears(t, a, "it", raw)
			holds(t, a, raw)
		})
	}
}

type hostileBody struct {
	name, contentType string
	body              []byte
}

// worst are the bodies, of 1 MiB or of as many values as are read.
func worst() []hostileBody {
	const (
		jsonType  = "application/json"
		formType  = "application/x-www-form-urlencoded"
		multipart = "multipart/form-data; boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		boundary  = "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		names     = 60000 // below MaxValues, so that all of it is read
	)
	// full is as many units as fit.
	full := func(prefix, unit, suffix string) []byte {
		return []byte(prefix + strings.Repeat(unit, (hostile-len(prefix)-len(suffix))/len(unit)) + suffix)
	}
	times := func(prefix, unit string, n int, suffix string) []byte {
		return []byte(prefix + strings.Repeat(unit, n) + suffix)
	}
	distinct := func(prefix, unit string, suffix string) []byte {
		var b strings.Builder
		b.WriteString(prefix)
		for i := 0; i < names && b.Len() < hostile-len(suffix)-len(unit)-8; i++ {
			b.WriteString(strings.ReplaceAll(unit, "#", strconv.Itoa(i)))
		}
		return []byte(strings.TrimSuffix(b.String(), ",") + suffix)
	}
	base64Of := func(inner []byte) []byte {
		return []byte(`{"message":{"data":"` + base64.StdEncoding.EncodeToString(inner) + `"}}`)
	}
	return []hostileBody{
		{"lists in lists", jsonType, full("", "[", "")},
		{"objects in objects", jsonType, full("", `{"a":`, "")},
		{"zeros", jsonType, full("[", "0,", "0]")},
		{"empty texts", jsonType, times("[", `"",`, names, `""]`)},
		{"commas", jsonType, full("[", ",", "]")},
		{"blanks", jsonType, full("", " ", "{}")},
		{"no-break spaces", jsonType, full("{", "\u00a0", "}")},
		{"escapes", jsonType, full(`{"text":"`, `\"`, `"}`)},
		{"half surrogates", jsonType, full(`{"text":"`, `\ud800`, `"}`)},
		{"digits", jsonType, full(`{"from":`, "9", "}")},
		{"an exponent", jsonType, full(`{"from":1e`, "9", "}")},
		{"a masked number", jsonType, full(`{"from":9`, "X", "}")},
		{"one name", jsonType, times("{", `"a":1,`, names, `"a":1}`)},
		{"one name, escaped", jsonType, times("{", `"\u0061":1,`, names, `"a":1}`)},
		{"many names", jsonType, distinct("{", `"#":1,`, "}")},
		{"names that doubles would get", jsonType, distinct("{", `"a#":1,"a":1,`, "}")},
		{"objects", jsonType, times("[", "{},", names, "{}]")},
		{"JSON in JSON", jsonType, full(`{"payload":"`, `{\"a\":`, `"}`)},
		{"bytes that are no UTF-8", jsonType, full(`{"text":"`, "\xff", `"}`)},
		{"UTF-16 without its other halves", jsonType, full("\xff\xfe{\x00", "\x00\xd8", "")},
		{"UTF-16 brackets", jsonType, full("", "[\x00", "")},
		{"plain text", "text/plain", full("", "= ", "")},

		{"pairs", formType, full("", "a&", "a=1")},
		{"pairs that are read", formType, times("", "a=1&", names, "a=1")},
		{"pairs of other names", formType, distinct("", "#=&", "a=1")},
		{"ampersands", formType, full("", "&", "a=1")},
		{"broken escapes", formType, full("a=", "%zz", "")},
		{"escaped control characters", formType, full("a=", "%00", "")},
		{"escaped JSON", formType, full("%7B", "%7B", "")},
		{"bytes that are no UTF-8 in pairs", formType, times("", "%ff=%ff&", names, "a=1")},

		{"parts", multipart, full("", boundary+"\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n", boundary+"--\r\n")},
		{"empty parts", "multipart/form-data; boundary=a", full("", "--a\n\n\n", "--a--\r\n")},
		{"headers of a part", multipart, full(boundary+"\r\n", "A:b\r\n", "\r\n\r\nx\r\n"+boundary+"--\r\n")},
		{"what is nearly a boundary", multipart, full(boundary+"\r\n\r\n", "\r\n"+boundary+"b", "")},
		{"dashes", "multipart/form-data; boundary=-", full("---\r\n\r\n", "-", "")},

		{"base64 of one name", jsonType, base64Of(times("{", `"a":1,`, names, `"a":1}`))},
		{"base64 of escapes", jsonType, base64Of(times(`{"text":"`, `\u0000`, 100000, `"}`))},
		{"base64 of brackets", jsonType, base64Of(times("", "[", 700000, ""))},
		{"base64 of base64", jsonType, base64Of(base64Of(base64Of(times("{", `"a":1,`, 40000, `"a":1}`))))},
		{"base64 of zeros", jsonType, full(`{"message":{"data":"`, "A", `"}}`)},

		{"gzip of escapes", jsonType, packed(full(`{"text":"`, `\"`, `"}`))},
		{"gzip of one name", jsonType, packed(times("{", `"a":1,`, names, `"a":1}`))},
		{"a bomb", jsonType, packed(bytes.Repeat([]byte(" "), 64*hostile))},

		{"contacts for every message", jsonType, slices.Concat(
			[]byte(`{"entry":[{"changes":[{"value":{"contacts":[`), distinct("", `{"wa_id":"#"},`, ""),
			[]byte(`],"messages":[`), bytes.TrimSuffix(bytes.Repeat([]byte(`{"from":"x"},`), 1000), []byte(",")), []byte(`]}}]}]}`))},
		{"changes", jsonType, times(`{"entry":[{"changes":[`, `{},`, 1000, `{}]}]}`)},
		{"entries", jsonType, times(`{"entry":[`, `{},`, names, `{}]}`)},
		{"numbered texts", jsonType, distinct(`{"sub_resource":"mo_mms","reference_id":"x","content":{`, `"text_#":"a",`, `}}`)},
		{"channels of a flow", jsonType, distinct(`{"workflowInvocationId":"a","executionStatus":"x","result":{`, `"channel#":{},`, `}}`)},
		{"channels of a message", jsonType, times(`{"event":"whatsapp:message:in","payload":{"channels":[`, `{"name":"w","to":"1"},`, 20000, `{}]}}`)},
	}
}

func packed(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return b.Bytes()
}
