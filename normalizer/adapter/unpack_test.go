package adapter

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/heedhq/heed/schemas"
)

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestCompressed: gzip is read as what it was, whatever the headers say; what can't be unpacked
// says why, and is never taken for a form.
func TestCompressed(t *testing.T) {
	const json, form = `{"text":"STOP"}`, "text=STOP&x=1"
	packed := gzipped(t, json)
	for _, c := range []struct {
		name, media, encoding string
		body                  []byte
		class                 Class // "": read
		message               string
	}{
		{"gzip", "application/json", "gzip", packed, "", ""},
		{"gzip, and nobody says so", "application/json", "", packed, "", ""},
		{"gzip of a form", "application/x-www-form-urlencoded", "gzip", gzipped(t, form), "", ""},
		{"unpacked on the way, header left", "application/json", "gzip", []byte(json), "", ""},
		{"unpacked on the way, header of another left", "application/json", "br", []byte(json), "", ""},
		{"identity", "application/x-www-form-urlencoded", "identity", []byte(form), "", ""},
		{"gzip that ends early", "application/json", "gzip", packed[:len(packed)-9], Malformed, "ends early"},
		{"gzip that is none", "application/json", "gzip", []byte("\x1f\x8bnonsense"), Malformed, "is not"},
		{"a bomb", "application/json", "gzip", gzipped(t, strings.Repeat(" ", maxUnpacked+1)), TooLarge, "when unpacked"},
		{"another coding", "application/x-www-form-urlencoded", "zstd", []byte("\x28\xb5\x2f\xfd="), Malformed, "compressed by zstd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, f := Read(Raw{Request: schemas.Capture{
				Method: "POST", Target: "/v1/callbacks/x", Body: c.body,
				Header: []schemas.Field{{Name: "Content-Type", Value: c.media}, {Name: "Content-Encoding", Value: c.encoding}},
			}})
			switch {
			case f != nil:
				if f.Class != c.class || !strings.Contains(f.Message, c.message) || c.message == "" {
					t.Errorf("got %s: %s; want %s: …%s…", f.Class, f.Message, c.class, c.message)
				}
			case c.class != "":
				t.Errorf("read, want %s", c.class)
			case v.Root().Get("text").Text() != "STOP":
				t.Errorf("text is %q", v.Root().Get("text").Text())
			}
		})
	}
}
