package dispatcher

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// endpoint is how a subscription's requests look.
type endpoint struct {
	url     *url.URL
	method  string
	headers http.Header // the owner's own, canonical
	mode    schemas.DeliveryMode
	keys    []schemas.WebhookKey
	agent   string // User-Agent
}

func newEndpoint(s *schemas.Subscription, version string) (*endpoint, error) {
	u, err := url.Parse(s.Sink)
	if err != nil {
		return nil, err
	}
	e := &endpoint{url: u, method: s.Settings.Method, mode: s.Config.Mode, keys: s.Config.Keys, headers: http.Header{}, agent: "heed-dispatcher/" + version}
	for name, value := range s.Settings.Headers {
		e.headers.Set(name, value)
	}
	return e, nil
}

// request makes the request that delivers events (one, but in batch mode). traceparent is the
// attempt's own trace context; what the events carry travels as ce-traceparent.
func (e *endpoint) request(ctx context.Context, now time.Time, traceparent string, events ...*stream.Event) *http.Request {
	header := make(http.Header, 16+len(e.headers))
	for name, values := range e.headers {
		header[name] = values
	}
	var body []byte
	switch e.mode {
	case schemas.ModeStructured:
		header["Content-Type"] = []string{"application/cloudevents+json; charset=utf-8"}
		body = events[0].Structured()
	case schemas.ModeBatch:
		header["Content-Type"] = []string{"application/cloudevents-batch+json; charset=utf-8"}
		body = append(body, '[')
		for i, event := range events {
			if i > 0 {
				body = append(body, ',')
			}
			body = append(body, event.Structured()...)
		}
		body = append(body, ']')
	default:
		body = events[0].Data
		binaryHeaders(header, events[0])
	}
	header["User-Agent"] = []string{e.agent}
	if traceparent != "" {
		header["Traceparent"] = []string{traceparent}
	}
	id := webhookID(events...)
	header["Webhook-Id"] = []string{id}
	header["Webhook-Timestamp"] = []string{strconv.FormatInt(now.Unix(), 10)}
	if len(e.keys) > 0 {
		header["Webhook-Signature"] = []string{signature(e.keys, id, now, body)}
	}
	// Not http.NewRequest: it would parse the sink again for each attempt.
	r := &http.Request{
		Method: e.method, URL: e.url, Host: e.url.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: int64(len(body)), Body: http.NoBody,
	}
	if len(body) > 0 {
		// Not a retry of the transport's own: whether a second try is due is our decision, so
		// GetBody stays nil and a request that was partly written is reported.
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r.WithContext(ctx)
}

// binaryHeaders adds the event's attributes as CloudEvents HTTP binding 3.1.3 says.
func binaryHeaders(header http.Header, e *stream.Event) {
	set := func(name, value string) {
		if value != "" {
			header[http.CanonicalHeaderKey("ce-"+name)] = []string{encodeHeader(value)}
		}
	}
	header["Ce-Specversion"] = []string{"1.0"}
	set("id", e.ID)
	set("source", e.Source)
	set("type", e.Type)
	set("subject", e.Subject)
	if !e.Time.IsZero() {
		set("time", stream.FormatTime(e.Time))
	}
	set("dataschema", e.DataSchema)
	for _, x := range e.Extensions {
		set(x.Name, x.Value)
	}
	if e.ContentType != "" {
		header["Content-Type"] = []string{e.ContentType}
	}
}

// encodeHeader percent-encodes an attribute's value (CloudEvents HTTP binding 3.1.3.2): space,
// double quote, percent, and whatever is not printable ASCII, as UTF-8 in capital hex digits.
func encodeHeader(value string) string {
	plain := true
	for i := 0; i < len(value) && plain; i++ {
		plain = isPlain(value[i])
	}
	if plain {
		return value
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(value)+16)
	for _, r := range value { // what is no UTF-8 becomes U+FFFD: a header must decode
		if r < utf8.RuneSelf && isPlain(byte(r)) {
			b = append(b, byte(r))
			continue
		}
		var encoded [utf8.UTFMax]byte
		for _, c := range encoded[:utf8.EncodeRune(encoded[:], r)] {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func isPlain(c byte) bool { return c > ' ' && c <= '~' && c != '"' && c != '%' }
