package translate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

var received = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

func rawOf(body string) adapter.Raw {
	return adapter.Raw{
		Origin:     schemas.Origin{Endpoint: "kal-7f3a", Provider: "kaleyra", Channel: schemas.RCS, Tenant: "acme", Brand: "shop", Agent: "mmx_traffic"},
		Request:    schemas.Capture{Method: "POST", Target: "/v1/callbacks/kal-7f3a", Header: []schemas.Field{{Name: "Content-Type", Value: "application/json"}}, Body: []byte(body)},
		ReceivedAt: received,
	}
}

func stop() adapter.Item {
	return adapter.Item{
		Kind: schemas.MessageReceived, Channel: schemas.RCS, Time: received.Add(-time.Second),
		Data: schemas.Data{
			User:      &schemas.User{Address: "+919999912345", Kind: schemas.UserPhone, Given: "919999912345"},
			Business:  &schemas.Business{Address: "mmx_traffic"},
			MessageID: " m-1 ", EventID: "e-1",
			Content: &schemas.Content{Type: schemas.ContentText, Text: "STOP"},
		},
	}
}

func TestOneEvent(t *testing.T) {
	outs, failures := translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{stop()}}, translate.Envelope{
		Recorded: received.Add(time.Second), CallbackID: "req-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	if len(failures) != 0 || len(outs) != 1 {
		t.Fatalf("got %d events and failures %v", len(outs), failures)
	}
	out := outs[0]
	person := translate.DemoPseudonyms().Of(schemas.UserPhone, "+919999912345")
	var got map[string]any
	if err := json.Unmarshal(out.Event.Structured(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"specversion": "1.0", "id": out.Event.ID, "source": "heed/kal-7f3a", "type": "io.heed.message.received.v1",
		"subject": person, "partitionkey": person, "time": "2026-01-02T03:04:04.678Z", "recordedtime": "2026-01-02T03:04:06.678Z",
		"datacontenttype": "application/json", "dataschema": schemas.MessageReceived.DataSchema(),
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "correlationid": "m-1", "causationid": "req-1",
		"provider": "kaleyra", "channel": "rcs", "endpoint": "kal-7f3a", "tenant": "acme", "brand": "shop",
		"data": map[string]any{
			"user":       map[string]any{"address": "+919999912345", "kind": "phone", "given": "919999912345"},
			"business":   map[string]any{"address": "mmx_traffic"},
			"message_id": "m-1", "event_id": "e-1",
			"content":     map[string]any{"type": "text", "text": "STOP"},
			"time_source": "provider",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the event (-want +got):\n%s", diff)
	}
	if out.Topic != schemas.TopicInbound || string(out.Key) != person {
		t.Errorf("topic %s, key %s", out.Topic, out.Key)
	}
	if len(out.Event.ID) != 32 {
		t.Errorf("id %q has not 32 characters", out.Event.ID)
	}
	validBySDK(t, out.Event)
}

func validBySDK(t testing.TB, e stream.Event) {
	t.Helper()
	if err := sdkValid(e); err != nil {
		t.Fatal(err)
	}
}

// sdkValid reads the event with the CloudEvents SDK and lets it check.
func sdkValid(e stream.Event) error {
	var sdk event.Event
	if err := json.Unmarshal(e.Structured(), &sdk); err != nil {
		return fmt.Errorf("the SDK cannot read the event: %w", err)
	}
	return sdk.Validate()
}

func TestTime(t *testing.T) {
	for name, c := range map[string]struct {
		given  time.Time
		flag   schemas.TimeFlag // by the adapter
		time   time.Time
		source schemas.TimeSource
		want   schemas.TimeFlag
	}{
		"given":                   {received.Add(-time.Minute), "", received.Add(-time.Minute), schemas.TimeProvider, ""},
		"not given":               {time.Time{}, "", received, schemas.TimeReceived, ""},
		"unreadable":              {time.Time{}, schemas.TimeUnreadable, received, schemas.TimeReceived, schemas.TimeUnreadable},
		"naive":                   {received.Add(-time.Minute), schemas.TimeNaive, received.Add(-time.Minute), schemas.TimeProvider, schemas.TimeNaive},
		"after receipt, kept":     {received.Add(time.Millisecond), "", received.Add(time.Millisecond), schemas.TimeProvider, schemas.TimeFuture},
		"naive and after receipt": {received.Add(time.Hour), schemas.TimeNaive, received.Add(time.Hour), schemas.TimeProvider, schemas.TimeFuture},
		"31 days old":             {received.AddDate(0, 0, -31), "", received.AddDate(0, 0, -31), schemas.TimeProvider, schemas.TimeOld},
		"year 10000":              {time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "", received, schemas.TimeReceived, schemas.TimeUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			item := stop()
			item.Time, item.Data.TimeFlag = c.given, c.flag
			out := one(t, rawOf("{}"), item)
			data := dataOf(t, out)
			if !out.Event.Time.Equal(c.time) || data.TimeSource != c.source || data.TimeFlag != c.want {
				t.Errorf("got %v %s %q, want %v %s %q", out.Event.Time, data.TimeSource, data.TimeFlag, c.time, c.source, c.want)
			}
		})
	}
}

func TestNoUser(t *testing.T) {
	item := stop()
	item.Data.User = &schemas.User{}
	out := one(t, rawOf("{}"), item)
	if out.Event.Subject != "" {
		t.Errorf("subject %q without a user", out.Event.Subject)
	}
	if strings.Contains(string(out.Event.Data), `"user"`) {
		t.Errorf("data have a user without an address: %s", out.Event.Data)
	}
	sent := item
	sent.Kind, sent.Data.Content, sent.Data.Status = schemas.MessageSent, nil, &schemas.Status{Code: "1"}
	if other := one(t, rawOf("{}"), sent); string(other.Key) != string(out.Key) {
		t.Errorf("two events of one message have the keys %s and %s", out.Key, other.Key)
	}
	item.Data.MessageID = "m-2"
	if other := one(t, rawOf("{}"), item); string(other.Key) == string(out.Key) {
		t.Error("two messages share a key")
	}
	item.Data.MessageID = ""
	if other := one(t, rawOf("{}"), item); string(other.Key) != other.Event.ID {
		t.Errorf("without a message id the key is %s, want the event's id %s", other.Key, other.Event.ID)
	}
}

func TestBusinessFromEndpoint(t *testing.T) {
	item := stop()
	item.Data.Business = nil
	if got := dataOf(t, one(t, rawOf("{}"), item)).Business; got == nil || got.Address != "mmx_traffic" {
		t.Errorf("business is %v, want the endpoint's agent", got)
	}
}

func TestTooMuchData(t *testing.T) {
	item := stop()
	item.Data.ProviderData = json.RawMessage(`{"x":"` + strings.Repeat("y", translate.MaxData) + `"}`)
	outs, failures := translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{item}}, translate.Envelope{CallbackID: "req-1", RawTopic: "heed.callbacks", RawPartition: 3, RawOffset: 17})
	if len(failures) != 0 || len(outs) != 1 {
		t.Fatalf("got %d events, failures %v", len(outs), failures)
	}
	var mark struct {
		Cut struct {
			Bytes     int    `json:"bytes"`
			RawRecord string `json:"raw_record"`
			RawAt     string `json:"raw_at"`
		} `json:"heed_cut"`
	}
	data := dataOf(t, outs[0])
	if err := json.Unmarshal(data.ProviderData, &mark); err != nil || mark.Cut.Bytes <= translate.MaxData || mark.Cut.RawRecord != "req-1" || mark.Cut.RawAt != "heed.callbacks/3@17" {
		t.Errorf("provider_data is %s (%v)", data.ProviderData, err)
	}
	if data.Content.Text != "STOP" {
		t.Error("more was cut than provider_data")
	}
	if small := one(t, rawOf("{}"), stop()); small.Event.ID != outs[0].Event.ID {
		t.Error("cutting provider_data changed the id")
	}

	item = stop()
	item.Index = 4
	item.Data.Content.Text = schemas.Text(strings.Repeat("y", translate.MaxData))
	_, failures = translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{stop(), item}}, translate.Envelope{})
	if len(failures) != 1 || failures[0].Class != adapter.TooLarge || failures[0].Index != 4 {
		t.Errorf("failures %v, want too_large of item 4", failures)
	}
}

func TestFailuresPassThrough(t *testing.T) {
	given := []adapter.Failure{{Index: 1, Class: adapter.MissingField, Message: "no messageId"}}
	bad := stop()
	bad.Kind, bad.Index = "consent.invented", 2
	outs, failures := translate.Events(rawOf("{}"), adapter.Result{Items: []adapter.Item{stop(), bad}, Failures: given}, translate.Envelope{})
	if len(outs) != 1 || len(failures) != 2 || failures[0] != given[0] || failures[1].Class != adapter.Panic || failures[1].Index != 2 {
		t.Errorf("got %d events, failures %v", len(outs), failures)
	}
}

func TestAttributesAreFitForCloudEvents(t *testing.T) {
	for name, c := range map[string]struct{ given, want string }{
		"control characters": {"a\x00b\nc\u0085d\x7f", "abcd"},
		"invalid UTF-8":      {"a\xff\xc0b", "ab"},
		"noncharacters":      {"a\ufdd0\ufffe\U0001ffffb", "ab"},
		"outer blanks":       {"  é \u00a0", "é"},
		"nothing left":       {"\x01\x02", ""},
		"too long":           {strings.Repeat("é", 400), strings.Repeat("é", 256)},
	} {
		t.Run(name, func(t *testing.T) {
			item := stop()
			item.Data.MessageID = c.given
			out := one(t, rawOf("{}"), item)
			if got := out.Event.Extension(schemas.ExtCorrelationID); got != c.want {
				t.Errorf("correlationid %q, want %q", got, c.want)
			}
			validBySDK(t, out.Event)
		})
	}
}

func TestNothingPersonalOutsideData(t *testing.T) {
	item := stop()
	item.Data.Content.Text = "call me at home"
	out := one(t, rawOf(`{"from":"919999912345"}`), item)
	out.Event.Data = nil
	envelope := string(out.Event.Structured()) + string(out.Key)
	for _, personal := range []string{"9999912345", "call me"} {
		if strings.Contains(envelope, personal) {
			t.Errorf("%q stands outside data: %s", personal, envelope)
		}
	}
}

func TestReadRaw(t *testing.T) {
	want := rawOf(`{"type":"SUBSCRIBE"}`)
	e := stream.Event{
		ID: "req-1", Source: want.Origin.Source(), Type: schemas.CallbackReceived.Type(), Time: received,
		ContentType: schemas.CaptureType, Data: want.Request.Append(nil),
	}
	for name, value := range want.Origin.Attributes {
		e.SetExtension(name, value)
	}
	e.SetExtension(schemas.ExtTraceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	m := e.Message(schemas.TopicCallbacks, []byte("k"))
	rec := stream.Record{Topic: m.Topic, Partition: 3, Offset: 17, Key: m.Key, Value: m.Value, Headers: m.Headers}

	got, env, err := new(translate.Reader).Read(&rec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the callback (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(translate.Envelope{CallbackID: "req-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", RawTopic: "heed.callbacks", RawPartition: 3, RawOffset: 17}, env); diff != "" {
		t.Errorf("the envelope (-want +got):\n%s", diff)
	}

	var reader translate.Reader // one endpoint's facts must not stick to another's records
	for _, provider := range []string{"kaleyra", "exotel", "kaleyra"} {
		r := rec
		r.Headers = slices.Clone(rec.Headers)
		for i := range r.Headers {
			if r.Headers[i].Key == "ce_provider" {
				r.Headers[i].Value = []byte(provider)
			}
		}
		if raw, _, err := reader.Read(&r); err != nil || raw.Origin.Provider != provider || raw.Origin.Tenant != "acme" {
			t.Errorf("origin %+v, error %v", raw.Origin, err)
		}
	}

	for name, broken := range map[string]func(*stream.Record){
		"no headers": func(r *stream.Record) { r.Headers = nil },
		"another type": func(r *stream.Record) {
			r.Headers = (&stream.Event{ID: "x", Source: "y", Type: "z"}).Message("", nil).Headers
		},
		"no request": func(r *stream.Record) { r.Value = []byte("hello") },
		"tombstone":  func(r *stream.Record) { r.Value = nil },
		"broken mapping": func(r *stream.Record) {
			r.Headers = append(r.Headers, stream.Header{Key: "ce_mapping", Value: []byte("{")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := rec
			r.Headers = append([]stream.Header(nil), rec.Headers...)
			broken(&r)
			_, _, err := new(translate.Reader).Read(&r)
			if failure, ok := errors.AsType[adapter.Failure](err); !ok || failure.Class != adapter.NotRaw || failure.Index != adapter.WholeCallback {
				t.Errorf("got %v, want a failure not_raw", err)
			}
		})
	}
}

func one(t testing.TB, raw adapter.Raw, item adapter.Item) translate.Out {
	t.Helper()
	outs, failures := translate.Events(raw, adapter.Result{Items: []adapter.Item{item}}, translate.Envelope{})
	if len(outs) != 1 || len(failures) != 0 {
		t.Fatalf("got %d events, failures %v", len(outs), failures)
	}
	return outs[0]
}

func dataOf(t testing.TB, out translate.Out) schemas.Data {
	t.Helper()
	var data schemas.Data
	if err := json.Unmarshal(out.Event.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}
