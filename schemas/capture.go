package schemas

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// CaptureType is the content type of a raw record's data (RFC 9112 §10.2).
const CaptureType = "application/http"

// Capture is a request as it came: the data of callback.received, the form of the golden cases
// (request.http), of dead letters and of `heed explain FILE.http`.
type Capture struct {
	Method string
	Target string  // path and query as on the wire
	Header []Field // in the order in which they came; credentials redacted
	Body   []byte  // exactly as it came
}

// Field is one header field line.
type Field struct{ Name, Value string }

// Get is the first value of the named field, compared without regard to case.
func (c *Capture) Get(name string) string {
	for _, f := range c.Header {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Query is the raw query of the target, without "?".
func (c *Capture) Query() string {
	_, q, _ := strings.Cut(c.Target, "?")
	return q
}

// Append appends the capture as an HTTP/1.1 message to b.
func (c *Capture) Append(b []byte) []byte {
	b = append(b, c.Method...)
	b = append(b, ' ')
	b = append(b, c.Target...)
	b = append(b, " HTTP/1.1\r\n"...)
	for _, f := range c.Header {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, c.Body...)
}

// ParseCapture reads a capture. It takes \n for \r\n, as files made by hand have it; the body
// is everything after the first empty line, whatever Content-Length says. The body points into
// data; the rest is a copy of the head.
func ParseCapture(data []byte) (Capture, error) { return new(CaptureReader).Read(data) }

// CaptureReader is ParseCapture for many captures: the callbacks of an endpoint often have one and
// the same head, which it then has read already. So the Header of a capture must not be changed.
// The zero CaptureReader is ready; it is for one goroutine.
type CaptureReader struct {
	head string // of the capture before
	last Capture
}

// Read is ParseCapture.
func (r *CaptureReader) Read(data []byte) (Capture, error) {
	c := r.last
	if n := len(r.head); n > 0 && len(data) > n && string(data[:n]) == r.head {
		if body, ok := cutEmptyLine(data[n:]); ok {
			c.Body = body
			return c, nil
		}
	}
	head, body, ok := cutHead(data)
	if !ok {
		return Capture{}, fmt.Errorf("no empty line between the header and the body of the captured request")
	}
	text := string(head)
	c, err := parseHead(text)
	if err != nil {
		return Capture{}, err
	}
	r.head, r.last = text, c
	c.Body = body
	return c, nil
}

// parseHead reads the request line and the header fields.
func parseHead(head string) (Capture, error) {
	line, rest, _ := strings.Cut(head, "\n")
	method, after, _ := strings.Cut(strings.TrimSpace(line), " ")
	target, version, _ := strings.Cut(strings.TrimSpace(after), " ")
	if version = strings.TrimSpace(version); method == "" || target == "" || !strings.HasPrefix(version, "HTTP/") || strings.ContainsAny(version, " \t") {
		return Capture{}, fmt.Errorf("the captured request must begin with a request line such as \"POST /v1/callbacks/ID HTTP/1.1\"")
	}
	c := Capture{Method: method, Target: target}
	if lines := strings.Count(rest, "\n"); lines > 0 {
		c.Header = make([]Field, 0, lines)
	}
	for n := 2; len(rest) > 0; n++ {
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		if !ok || name == "" {
			return Capture{}, fmt.Errorf("line %d of the captured request is not a header field (want \"Name: value\")", n)
		}
		c.Header = append(c.Header, Field{name, strings.TrimSpace(value)})
	}
	return c, nil
}

// cutHead splits data at its first empty line.
func cutHead(data []byte) (head, body []byte, ok bool) {
	for at := 0; ; {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return nil, nil, false
		}
		at += i + 1
		if body, ok := cutEmptyLine(data[at:]); ok {
			return data[:at], body, true
		}
	}
}

// cutEmptyLine takes the empty line that data begins with off it.
func cutEmptyLine(data []byte) (after []byte, ok bool) {
	if after, ok = bytes.CutPrefix(data, []byte("\n")); ok {
		return after, true
	}
	return bytes.CutPrefix(data, []byte("\r\n"))
}

// redactedHeaders never reach Kafka: they prove who calls, and a record is kept for days.
var redactedHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Ts-Authorization"}

// CredentialHeaders lists the headers that are redacted whatever an endpoint verifies.
func CredentialHeaders() []string { return slices.Clone(redactedHeaders) }

// Fields lists header as fields sorted by name (net/http has lost the order between names),
// with credentials redacted: the standard ones, and every name in secret.
func Fields(header http.Header, secret ...string) []Field {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make([]Field, 0, len(names))
	for _, name := range names {
		hide := slices.ContainsFunc(redactedHeaders, func(s string) bool { return strings.EqualFold(s, name) }) ||
			slices.ContainsFunc(secret, func(s string) bool { return strings.EqualFold(s, name) })
		for _, value := range header[name] {
			if hide {
				value = Redacted
			}
			fields = append(fields, Field{name, value})
		}
	}
	return fields
}
