package translate

import (
	"strconv"
	"strings"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// ReadRaw reads a raw record as ingest writes it: the callback for the adapter, and what its
// events take over from the record (Recorded and Pseudonyms are the caller's to set). The
// callback points into the record. The error is an adapter.Failure.
func ReadRaw(rec *stream.Record) (adapter.Raw, Envelope, error) {
	e, err := stream.ParseEvent(rec)
	if err != nil {
		return adapter.Raw{}, Envelope{}, notRaw(err.Error())
	}
	if e.Type != schemas.CallbackReceived.Type() || !strings.HasPrefix(e.ContentType, schemas.CaptureType) {
		return adapter.Raw{}, Envelope{}, notRaw("the record is not a " + schemas.CallbackReceived.Type() + " of " + schemas.CaptureType)
	}
	origin, err := schemas.OriginOf(e.Extension)
	if err != nil {
		return adapter.Raw{}, Envelope{}, notRaw(err.Error())
	}
	request, err := schemas.ParseCapture(e.Data)
	if err != nil {
		return adapter.Raw{}, Envelope{}, notRaw(err.Error())
	}
	received := e.Time
	if received.IsZero() {
		received = rec.Time
	}
	raw := adapter.Raw{Origin: origin, Request: request, ReceivedAt: received}
	return raw, Envelope{
		CallbackID:  e.ID,
		Traceparent: e.Extension(schemas.ExtTraceparent),
		Tracestate:  e.Extension(schemas.ExtTracestate),
		RawAt:       rec.Topic + "/" + strconv.Itoa(int(rec.Partition)) + "@" + strconv.FormatInt(rec.Offset, 10),
	}, nil
}

func notRaw(message string) error {
	return adapter.Failure{Index: adapter.WholeCallback, Class: adapter.NotRaw, Message: message}
}
