package translate

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// Reader reads raw records. It remembers the endpoints that it has met, since a record repeats all
// about its endpoint. The zero Reader is ready; it is for one goroutine.
type Reader struct {
	origins map[string]schemas.Origin // by the headers that say it
	key     []byte                    // those of this record
	request schemas.CaptureReader

	lastKey []byte // those of the record before: most often the same
	last    schemas.Origin
}

// maxOrigins bounds what a Reader remembers; beyond it, it begins anew.
const maxOrigins = 1024

// Read reads a raw record as ingest writes it: the callback for the adapter, and what its events
// take over from the record (Recorded and Pseudonyms are the caller's to set). Both point into the
// record's bytes. The error is an adapter.Failure.
func (r *Reader) Read(rec *stream.Record) (adapter.Raw, Envelope, error) {
	var id, traceparent, version, kind, contentType, at []byte
	var env Envelope
	r.key = r.key[:0]
	for i := range rec.Headers {
		h := &rec.Headers[i]
		switch h.Key {
		case "ce_id":
			id = h.Value
		case "ce_specversion":
			version = h.Value
		case "ce_type":
			kind = h.Value
		case "ce_time":
			at = h.Value
		case "ce_source", "ce_dataschema", "ce_subject", "ce_partitionkey", "ce_recordedtime", "ce_peer":
		case "ce_traceparent":
			traceparent = h.Value
		case "ce_tracestate":
			env.Tracestate = string(h.Value) // a copy: spans keep it
		default:
			if strings.HasPrefix(h.Key, "ce_") {
				r.key = append(append(r.key, h.Key...), 0)
				r.key = append(append(r.key, h.Value...), 0)
			} else if strings.EqualFold(h.Key, "content-type") {
				contentType = h.Value
			}
		}
	}
	switch {
	case string(version) != "1.0" || len(id) == 0:
		return adapter.Raw{}, Envelope{}, notRaw("the record is not a CloudEvent 1.0 in binary mode")
	case string(kind) != rawType || !bytes.HasPrefix(contentType, []byte(schemas.CaptureType)):
		return adapter.Raw{}, Envelope{}, notRaw("the record is not a " + rawType + " of " + schemas.CaptureType)
	}
	origin, err := r.origin(rec)
	if err != nil {
		return adapter.Raw{}, Envelope{}, notRaw(err.Error())
	}
	request, err := r.request.Read(rec.Value)
	if err != nil {
		return adapter.Raw{}, Envelope{}, notRaw(err.Error())
	}
	received := rec.Time
	if at != nil {
		if received, err = time.Parse(time.RFC3339Nano, string(at)); err != nil {
			return adapter.Raw{}, Envelope{}, notRaw("ce_time is not RFC 3339")
		}
	}
	env.CallbackID, env.Traceparent = textOf(id), textOf(traceparent)
	env.RawTopic, env.RawPartition, env.RawOffset = rec.Topic, rec.Partition, rec.Offset
	return adapter.Raw{Origin: origin, Request: request, ReceivedAt: received}, env, nil
}

// textOf is b as a string without a copy: good for as long as nobody writes to b.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

var rawType = schemas.CallbackReceived.Type()

// origin is the endpoint that the record's headers describe; r.key holds them.
func (r *Reader) origin(rec *stream.Record) (schemas.Origin, error) {
	if r.origins != nil && bytes.Equal(r.key, r.lastKey) {
		return r.last, nil
	}
	if known, ok := r.origins[string(r.key)]; ok {
		r.lastKey, r.last = append(r.lastKey[:0], r.key...), known
		return known, nil
	}
	origin, err := schemas.OriginOf(func(name string) string { return string(rec.Header("ce_" + name)) })
	if err != nil {
		return schemas.Origin{}, err
	}
	if r.origins == nil || len(r.origins) >= maxOrigins {
		r.origins = map[string]schemas.Origin{}
	}
	r.origins[string(r.key)] = origin
	return origin, nil
}

func notRaw(message string) error {
	return adapter.Failure{Index: adapter.WholeCallback, Class: adapter.NotRaw, Message: message}
}

// rawAt is where the raw record stands, "topic/partition@offset"; "" when it stands nowhere.
func (e *Envelope) rawAt() string {
	if e.RawTopic == "" {
		return ""
	}
	return e.RawTopic + "/" + strconv.Itoa(int(e.RawPartition)) + "@" + strconv.FormatInt(e.RawOffset, 10)
}
