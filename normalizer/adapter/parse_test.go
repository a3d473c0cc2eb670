package adapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/heedhq/heed/schemas"
)

func TestJSONIsReadStrictlyButForTheRepairs(t *testing.T) {
	for _, c := range []struct{ name, body, want, repaired string }{
		{"strict", `{"a":[1,2.50,-0,1e5,"x",true,false,null,{}],"b":""}`, `{"a":[1,2.50,-0,1e5,"x",true,false,null,{}],"b":""}`, ""},
		{"digits stay", `{"a":12345678901234567890.1234567890}`, `{"a":12345678901234567890.1234567890}`, ""},
		{"trailing comma", `{"a":[1,2,],"b":3, }`, `{"a":[1,2],"b":3}`, "trailing_comma"},
		{"missing brace", `{"a":{"b":"STOP"} ` + "\n", `{"a":{"b":"STOP"}}`, "missing_brace"},
		{"missing braces", `{"a":{"b":["STOP"`, `{"a":{"b":["STOP"]}}`, "missing_brace"},
		{"missing brace after a number and a blank", "{\"a\":{\"b\":12\n", `{"a":{"b":12}}`, "missing_brace"},
		{"masked number", `{"a":91806828XXXX,"b":9xx1}`, `{"a":"91806828XXXX","b":"9xx1"}`, "masked_number"},
		{"no-break spaces between values", "{\n\u00a0 \"a\":\u00a0[\u00a01]}", `{"a":[1]}`, "no_break_space"},
		{"both", `{"a":91806828XXXX,}`, `{"a":"91806828XXXX"}`, "masked_number trailing_comma"},
		{"doubles", `{"a":1,"b":2,"a":3,"a#1":4," a ":5}`, `{"a#2":1,"b":2,"a#3":3,"a#1":4,"a":5}`, ""},
		{"escaped names", `{"\u0061":1,"b\t":2}`, `{"a":1,"b":2}`, ""},
		{"number that may go on", `{"a":12`, "", ""},
		{"comma at the end", `{"a":12,`, "", ""},
		{"open string", `{"a":"12`, "", ""},
		{"name alone", `{"a"`, "", ""},
		{"missing comma", `{"a":1 "b":2}`, "", ""},
		{"comma first", `{,"a":1}`, "", ""},
		{"two commas", `{"a":1,,"b":2}`, "", ""},
		{"only a comma", `[,]`, "", ""},
		{"open alone", `{`, "", ""},
		{"crossed", `{"a":[1}]`, "", ""},
		{"more behind", `{"a":1}}`, "", ""},
		{"leading zero", `{"a":0123}`, "", ""},
		{"masked from the start", `{"a":XX12}`, "", ""},
		{"masked after a 0", `{"a":0XXXXX12}`, `{"a":"0XXXXX12"}`, "masked_number"},
		{"hexadecimal", `{"a":0x10}`, "", ""},
		{"raw line break", "{\"a\":\"x\ny\"}", "", ""},
		{"single quotes", `{'a':1}`, "", ""},
		{"bare word", `{"a":yes}`, "", ""},
		{"comment", `{"a":1/*b*/}`, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, f := Read(Raw{Request: schemas.Capture{Method: "POST", Body: []byte(c.body)}})
			if c.want == "" {
				if f == nil || f.Class != Malformed {
					t.Fatalf("got %v, want a failure of class malformed", f)
				}
				return
			}
			if f != nil {
				t.Fatal(f)
			}
			if got := string(v.Rest(v.Root())); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if got := strings.Join(v.Repaired, " "); got != c.repaired {
				t.Errorf("repaired %q, want %q", got, c.repaired)
			}
		})
	}
}

func TestEveryBodyIsOneView(t *testing.T) {
	utf16 := func(s string, bom []byte, low int) []byte {
		b := bytes.Clone(bom)
		for _, c := range []byte(s) {
			if low == 0 {
				b = append(b, c, 0)
			} else {
				b = append(b, 0, c)
			}
		}
		return b
	}
	multipart := "--b\r\nContent-Disposition: form-data; name=\"From\"\r\n\r\n+1\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--b--\r\n"
	for _, c := range []struct {
		name, contentType, target string
		body                      []byte
		want                      string
		class                     Class
	}{
		{"json", "application/json", "/", []byte(`{"a":"1"}`), `{"a":"1"}`, ""},
		{"byte order mark", "application/json", "/", []byte("\xef\xbb\xbf{\"a\":\"1\"}"), `{"a":"1"}`, ""},
		{"UTF-16 little", "", "/", utf16(`{"a":"1"}`, []byte("\xff\xfe"), 0), `{"a":"1"}`, ""},
		{"UTF-16 big", "", "/", utf16(`{"a":"1"}`, []byte("\xfe\xff"), 1), `{"a":"1"}`, ""},
		{"UTF-16 unmarked", "", "/", utf16(`{"a":"1"}`, nil, 0), `{"a":"1"}`, ""},
		{"invalid UTF-8", "", "/", []byte("{\"a\":\"x\xffy\"}"), "{\"a\":\"x\ufffdy\"}", ""},
		{"form", "application/x-www-form-urlencoded", "/", []byte("a=1&b=x+y%21&a=2&c&d=%zz"), `{"a#1":"1","b":"x y!","a":"2","c":"","d":"%zz"}`, ""},
		{"form that calls itself JSON", "application/json", "/", []byte("a=1&b=2"), `{"a":"1","b":"2"}`, ""},
		{"JSON that calls itself a form", "application/x-www-form-urlencoded", "/", []byte(`{"a":"b=c&d"}`), `{"a":"b=c&d"}`, ""},
		{"escaped JSON as a form", "application/x-www-form-urlencoded", "/", []byte(`%7B%22a%22%3A1%7D`), `{"a":1}`, ""},
		{"query", "", "/v1/callbacks/x?a=1&b=%2B2", nil, `{"a":"1","b":"+2"}`, ""},
		{"multipart", "multipart/form-data; boundary=b", "/", []byte(multipart), `{"From":"+1","f":"a.png (image/png, 4 bytes)"}`, ""},
		{"multipart without its header", "", "/", []byte(multipart), `{"From":"+1","f":"a.png (image/png, 4 bytes)"}`, ""},
		{"empty", "application/json", "/", []byte(" \r\n"), "", Empty},
		{"null", "application/json", "/", []byte("null"), "null", ""},
		{"text", "text/plain", "/", []byte("hello"), "", Malformed},
		{"XML", "application/xml", "/", []byte(`<a b="c=d"/>`), "", Malformed},
		{"deep", "", "/", []byte(strings.Repeat(`{"a":`, 2000)), "", TooDeep},
		{"deep enough", "", "/", []byte(strings.Repeat(`[`, MaxDepth) + strings.Repeat(`]`, MaxDepth)), strings.Repeat(`[`, MaxDepth) + strings.Repeat(`]`, MaxDepth), ""},
		{"too many values", "", "/", []byte("[0" + strings.Repeat(",0", MaxValues) + "]"), "", TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, f := Read(Raw{Request: schemas.Capture{Method: "POST", Target: c.target, Header: []schemas.Field{{Name: "Content-Type", Value: c.contentType}}, Body: c.body}})
			if c.class != "" {
				if f == nil || f.Class != c.class {
					t.Fatalf("got %v, want class %s", f, c.class)
				}
				return
			}
			if f != nil {
				t.Fatal(f)
			}
			if got := string(v.Rest(v.Root())); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestRestIsWhatNobodyTook(t *testing.T) {
	v, f := parseView(`{"id":"e","meta":{"x":1,"y":2},"none":{},"list":[{"a":1,"b":"ü\u00fc"},{"a":2},{"a":3,"c":4}]}`)
	if f != nil {
		t.Fatal(f)
	}
	root := v.Root()
	root.Get("meta").Take("x")
	if got := root.Take("meta"); got != "" { // an object has no text: taken, it would be lost
		t.Errorf("the text of an object is %q", got)
	}
	items := root.Get("list").Items()
	for _, e := range items {
		e.Take("a")
	}
	want := []string{
		`{"id":"e","meta":{"y":2},"none":{},"list":[{"b":"ü\u00fc"}]}`,
		`{"id":"e","meta":{"y":2},"none":{}}`,
		`{"id":"e","meta":{"y":2},"none":{},"list":[{"c":4}]}`,
	}
	for i, e := range items {
		if got := string(v.Rest(e)); got != want[i] {
			t.Errorf("item %d: got  %s\nwant %s", i, got, want[i])
		}
	}
	root.Taken()
	if got := v.Rest(root); got != nil {
		t.Errorf("all was taken, but %s is left", got)
	}
}

func TestWhatIsNoTextIsNotTaken(t *testing.T) {
	v, failure := parseView(`{"postback":{"flow":7},"ids":["a"],"text":" <stop> ","label":{"text":"x"},"name":"Asha"}`)
	if failure != nil {
		t.Fatal(failure)
	}
	root := v.Root()
	got := []string{root.Take("postback"), root.Take("ids"), root.Take("name"), root.Take("text"), string(root.TakeText("label", "text"))}
	if diff := cmp.Diff([]string{"", "", "Asha", "", " <stop> "}, got); diff != "" {
		t.Error(diff)
	}
	if got, want := string(v.Rest(root)), `{"postback":{"flow":7},"ids":["a"],"label":{"text":"x"}}`; got != want {
		t.Errorf("left %s, want %s", got, want)
	}
}

// A wide object is read by an index, and its double names by another way than a narrow one's: both
// say the same.
func TestWideObjectsAreAsNarrowOnes(t *testing.T) {
	for _, names := range []int{1, many - 4, many * 2} {
		var b, want strings.Builder
		b.WriteString(`{" a ":1,"\u0061":2,"a#1":3`)
		want.WriteString(`{"a#2":1,"a#3":2,"a#1":3`)
		for i := range names {
			fmt.Fprintf(&b, `,"n%d":%d`, i, i)
			fmt.Fprintf(&want, `,"n%d":%d`, i, i)
		}
		b.WriteString(`,"a":4}`)
		want.WriteString(`,"a":4}`)
		v, f := parseView(b.String())
		if f != nil {
			t.Fatal(f)
		}
		root := v.Root()
		if got := root.Get("a").Text() + root.Get("a#1").Text() + root.Get("n0").Text(); got != "430" || root.Get("b").Present() {
			t.Errorf("%d names: got %s of the members", names, got)
		}
		if got := string(v.Rest(root)); got != want.String() {
			t.Errorf("%d names: got  %s\nwant %s", names, got, want.String())
		}
	}
}

// An envelope that is too much for every item is given to the first, wherever the items stand in it.
func TestAWideEnvelopeIsGivenOnce(t *testing.T) {
	wide := strings.Repeat(`"x":1,`, 2*maxVisits)
	for _, body := range []string{
		`{` + wide + `"list":[{"a":1},{"a":2},{"a":3}]}`,
		`{"list":[{"a":1},{"a":2},{"a":3}],` + wide + `"z":{}}`,
		`{` + wide + `"deep":{"list":[{"a":1},{"a":2},{"a":3}]}}`,
		`{"deep":{` + wide + `"list":[{"a":1},{"a":2},{"a":3}]}}`,
	} {
		v, f := parseView(body)
		if f != nil {
			t.Fatal(f)
		}
		items := v.Root().Path("list").Items()
		if len(items) == 0 {
			items = v.Root().Path("deep.list").Items()
		}
		for i, item := range items {
			got := string(v.Rest(item))
			if i == 0 && len(got) < len(wide) || i > 0 && got != fmt.Sprintf(`{"a":%d}`, i+1) {
				t.Errorf("item %d of %.40s…: %d bytes, %.80s", i, body, len(got), got)
			}
		}
	}
}

func TestVariablesLeftUnreplacedSayNothing(t *testing.T) {
	v, _ := parseView(`{"a":"<mobile>","b":"@{{payload.mobile}}","c":"<3","d":"<b>x</b>","e":"@{{ id }}","f":"parts[n]","g":"<parts[n]>"}`)
	got := map[string]string{}
	for name, n := range v.Root().Members() {
		got[name] = n.Text()
	}
	want := map[string]string{"a": "", "b": "", "c": "<3", "d": "<b>x</b>", "e": "", "f": "parts[n]", "g": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHostileBodiesAreSmall holds what 1 MiB of the worst takes of memory under 64 times its size.
// The time is held by providertest, for the reader with each adapter on it: 50 ms of processor time.
func TestHostileBodiesAreSmall(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"open": "[", "objects": `{"a":`, "numbers": "[0,", "commas": ",", "escapes": `\u0000`, "quotes": `"`,
		"names": `"a":1,`, "form": "a&", "form values": "a=b&", "percent": "%7B", "dashes": "--", "zeroes": "\x00{", "invalid": "\xff", "empties": "{},",
	} {
		for _, prefix := range []string{"", "{", "[", `{"a":"`, "--b\r\n"} {
			body := []byte(prefix + strings.Repeat(unit, size/len(unit)))
			raw := Raw{Request: schemas.Capture{Method: "POST", Target: "/", Body: body}}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if v, f := Read(raw); f == nil {
				v.Rest(v.Root())
			}
			runtime.ReadMemStats(&after)
			if used := (after.TotalAlloc - before.TotalAlloc) / uint64(len(body)); used > 64 {
				t.Errorf("%s after %q: %d times its size", name, prefix, used)
			}
		}
	}
}

// FuzzJSON holds the parser against encoding/json: what the standard library accepts, it
// accepts, with the same meaning; what it accepts beyond is one of the repairs.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,"x\ud83d\ude00\ud800",true,null],"a":2}`, `[1,2,]`, `{"a":9XX}`, `{"a":"b"`, ` "x" `, `-0.0e+1`, `9E999`, `0X`, "\"\xff\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s, _ = (*Memory)(nil).text([]byte(s))
		v, fail := parseView(s)
		valid := json.Valid([]byte(s))
		switch {
		case fail != nil && valid && fail.Class == Malformed:
			t.Fatalf("encoding/json reads %q, we do not: %v", s, fail)
		case fail == nil && !valid && len(v.Repaired) == 0:
			t.Fatalf("encoding/json does not read %q, we do without a repair", s)
		case fail != nil:
			return
		}
		for _, out := range [][]byte{v.Rest(v.Root()), v.Root().Raw()} {
			if !json.Valid(out) {
				t.Fatalf("%q becomes %q, which is not JSON", s, out)
			}
		}
		if !valid {
			return
		}
		want, got := decoded(t, []byte(s)), decoded(t, v.Root().Raw())
		if !hasBlanks(want) && !reflect.DeepEqual(want, got) {
			t.Fatalf("%q reads %v, want %v", s, got, want)
		}
	})
}

// decoded is what encoding/json reads, with the digits of numbers: 9E999 is one.
func decoded(t *testing.T, b []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// hasBlanks says that some name has outer blanks, which a View takes away.
func hasBlanks(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, hasBlanks)
	case map[string]any:
		for name, member := range v {
			if strings.TrimSpace(name) != name || hasBlanks(member) {
				return true
			}
		}
	}
	return false
}
