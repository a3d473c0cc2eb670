package ingest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// appendHead appends what stands before the body in the record: request line and header fields
// of the request, as schemas.Capture has them, with the endpoint's credentials redacted. It is
// written before the body is read, so that the body is read into its place. names is scratch.
func appendHead(b []byte, r *http.Request, e *endpoint, names []string) ([]byte, []string) {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = appendTarget(b, r, e)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	names = names[:0]
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names) // net/http has lost the order between names; the order of one name's values it keeps
	for _, name := range names {
		hide := e.isProof(name)
		for _, value := range r.Header[name] {
			if hide {
				value = schemas.Redacted
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, value...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...), names
}

// appendTarget appends path and query. A query value that is one of the endpoint's secrets or
// handshake tokens is redacted; everything else the provider may have meant as data.
func appendTarget(b []byte, r *http.Request, e *endpoint) []byte {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = r.URL.RequestURI() // absolute form (RFC 9112 §3.2.2)
	}
	if strings.IndexByte(target, ' ') >= 0 {
		// HTTP/2 frames its path and so can carry what a request line can't.
		target = strings.ReplaceAll(target, " ", "%20")
	}
	path, query, ok := strings.Cut(target, "?")
	if !ok || len(e.credentials) == 0 {
		return append(b, target...)
	}
	b = append(b, path...)
	separator := byte('?')
	for field := range strings.SplitSeq(query, "&") {
		b = append(b, separator)
		separator = '&'
		name, value, ok := strings.Cut(field, "=")
		if ok && e.isCredential(value) {
			b = append(b, name...)
			b = append(b, '=')
			b = append(b, schemas.Redacted...)
			continue
		}
		b = append(b, field...)
	}
	return b
}

// fixedHeaders are the record headers that all of an endpoint's callbacks share; the others of
// a callback are appended to a copy. A test holds the whole against stream.Event.Message.
func fixedHeaders(o schemas.Origin) []stream.Header {
	headers := []stream.Header{
		{Key: "ce_specversion", Value: []byte("1.0")},
		{Key: "ce_source", Value: []byte(o.Source())},
		{Key: "ce_type", Value: []byte(schemas.CallbackReceived.Type())},
	}
	for name, value := range o.Attributes {
		headers = append(headers, stream.Header{Key: "ce_" + name, Value: []byte(value)})
	}
	return append(headers, stream.Header{Key: "content-type", Value: []byte(schemas.CaptureType)})
}

// message makes the record of a callback: a CloudEvent in binary mode whose data is the request.
// Everything that varies is written into c.scratch, so a callback costs no allocation of its own.
func (c *call) message(e *endpoint, peer string, received time.Time) stream.Message {
	c.headers = append(c.headers[:0], e.headers...)
	c.scratch = c.scratch[:0]
	c.addHeader("ce_id", c.id)
	at := len(c.scratch)
	c.scratch = received.UTC().AppendFormat(c.scratch, time.RFC3339Nano)
	c.headers = append(c.headers, stream.Header{Key: "ce_time", Value: c.scratch[at:]})
	c.addHeader("ce_"+schemas.ExtPartitionKey, c.key)
	c.addHeader("ce_"+schemas.ExtTraceparent, c.traceparent)
	if c.tracestate != "" {
		c.addHeader("ce_"+schemas.ExtTracestate, c.tracestate)
	}
	if peer != "" {
		c.addHeader("ce_"+schemas.ExtPeer, peer)
	}
	at = len(c.scratch)
	c.scratch = append(c.scratch, c.key...)
	return stream.Message{Topic: e.topic, Time: received, Key: c.scratch[at:], Value: c.buf, Headers: c.headers}
}

func (c *call) addHeader(name, value string) {
	at := len(c.scratch)
	c.scratch = append(c.scratch, value...)
	c.headers = append(c.headers, stream.Header{Key: name, Value: c.scratch[at:len(c.scratch):len(c.scratch)]})
}
