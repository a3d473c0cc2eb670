package stream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/format"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	bindingtest "github.com/cloudevents/sdk-go/v2/binding/test"
	"github.com/cloudevents/sdk-go/v2/binding/transformer"
	"github.com/cloudevents/sdk-go/v2/event"
	sdktest "github.com/cloudevents/sdk-go/v2/test"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/heedhq/heed/internal/stream"
)

// sdkMessage is a record as the SDK reads messages: the Kafka protocol binding, read side.
type sdkMessage struct{ record *stream.Record }

var withPrefix = spec.WithPrefix("ce_")

func (m sdkMessage) version() spec.Version {
	return withPrefix.Version(string(m.record.Header("ce_specversion")))
}

func (m sdkMessage) ReadEncoding() binding.Encoding {
	if m.version() != nil {
		return binding.EncodingBinary
	}
	if strings.HasPrefix(string(m.record.Header("content-type")), "application/cloudevents") {
		return binding.EncodingStructured
	}
	return binding.EncodingUnknown
}

func (m sdkMessage) ReadStructured(ctx context.Context, w binding.StructuredWriter) error {
	f := format.Lookup(string(m.record.Header("content-type")))
	if m.version() != nil || f == nil {
		return binding.ErrNotStructured
	}
	return w.SetStructuredEvent(ctx, f, bytes.NewReader(m.record.Value))
}

func (m sdkMessage) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := m.version()
	if version == nil {
		return binding.ErrNotBinary
	}
	for _, h := range m.record.Headers {
		var err error
		if attribute := version.Attribute(h.Key); attribute != nil {
			err = w.SetAttribute(attribute, string(h.Value))
		} else if name, ok := strings.CutPrefix(h.Key, "ce_"); ok {
			err = w.SetExtension(name, string(h.Value))
		} else if h.Key == "content-type" {
			err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), string(h.Value))
		}
		if err != nil {
			return err
		}
	}
	if m.record.Value == nil {
		return nil
	}
	return w.SetData(bytes.NewBuffer(m.record.Value))
}

func (m sdkMessage) GetAttribute(k spec.Kind) (spec.Attribute, any) {
	a := m.version().AttributeFromKind(k)
	if a == nil {
		return nil, nil
	}
	key := "ce_" + a.Name()
	if k == spec.DataContentType {
		key = "content-type"
	}
	if v := m.record.Header(key); v != nil {
		return a, string(v)
	}
	return a, nil
}

func (m sdkMessage) GetExtension(name string) any {
	if v := m.record.Header("ce_" + name); v != nil {
		return string(v)
	}
	return nil
}

func (m sdkMessage) Finish(error) error { return nil }

// sdkWriter makes a message the way the SDK writes them: the write side.
type sdkWriter struct{ message stream.Message }

func (w *sdkWriter) set(key string, value any) error {
	w.message.Headers = slices.DeleteFunc(w.message.Headers, func(h stream.Header) bool { return h.Key == key })
	if value == nil {
		return nil
	}
	s, err := types.Format(value)
	if err != nil {
		return err
	}
	w.message.Headers = append(w.message.Headers, stream.Header{Key: key, Value: []byte(s)})
	return nil
}

func (w *sdkWriter) Start(context.Context) error { return nil }
func (w *sdkWriter) End(context.Context) error   { return nil }

func (w *sdkWriter) SetAttribute(a spec.Attribute, value any) error {
	if a.Kind() == spec.DataContentType {
		return w.set("content-type", value)
	}
	return w.set("ce_"+a.Name(), value)
}

func (w *sdkWriter) SetExtension(name string, value any) error { return w.set("ce_"+name, value) }

func (w *sdkWriter) SetData(r io.Reader) (err error) {
	w.message.Value, err = io.ReadAll(r)
	return err
}

func (w *sdkWriter) SetStructuredEvent(_ context.Context, f format.Format, r io.Reader) (err error) {
	_ = w.set("content-type", f.MediaType())
	w.message.Value, err = io.ReadAll(r)
	return err
}

// write has the SDK write a message of its own as a record.
func write(t testing.TB, m binding.Message) *stream.Record {
	t.Helper()
	var w sdkWriter
	if _, err := binding.Write(context.Background(), m, &w, &w); err != nil {
		t.Fatal(err)
	}
	return recordOf(w.message)
}

func recordOf(m stream.Message) *stream.Record {
	return &stream.Record{Key: m.Key, Value: m.Value, Headers: m.Headers}
}

// sorted is a record's headers in a fixed order, as text.
func sorted(headers []stream.Header) []string {
	var all []string
	for _, h := range headers {
		all = append(all, h.Key+"="+string(h.Value))
	}
	slices.Sort(all)
	return all
}

func v1(events []event.Event) []event.Event {
	return slices.DeleteFunc(events, func(e event.Event) bool { return e.SpecVersion() != event.CloudEventsVersionV1 })
}

// TestEventIsWhatTheSDKMakes: what the SDK writes we read and write again, header for header
// and byte for byte, and the SDK reads the same event from it.
func TestEventIsWhatTheSDKMakes(t *testing.T) {
	sdktest.EachEvent(t, v1(sdktest.AllVersions(sdktest.Events())), func(t *testing.T, want event.Event) {
		want = sdktest.ConvertEventExtensionsToString(t, want)
		golden := write(t, binding.ToMessage(&want))
		e, err := stream.ParseEvent(golden)
		if err != nil {
			t.Fatal(err)
		}
		got := recordOf(e.Message("t", nil))
		if diff := cmp.Diff(sorted(golden.Headers), sorted(got.Headers)); diff != "" {
			t.Errorf("headers (-SDK +ours):\n%s", diff)
		}
		if !bytes.Equal(golden.Value, got.Value) {
			t.Errorf("data %q, the SDK makes %q", got.Value, golden.Value)
		}
		back := sdktest.MustToEvent(t, t.Context(), sdkMessage{got})
		sdktest.AssertEvent(t, back, sdktest.IsEqualTo(want), sdktest.IsValid())
		// And in structured mode.
		var structured event.Event
		if err := json.Unmarshal(e.Structured(), &structured); err != nil {
			t.Fatalf("%v: %s", err, e.Structured())
		}
		sdktest.AssertEvent(t, structured, sdktest.IsContextEqualTo(want.Context))
		if !bytes.Equal(bytes.TrimSpace(structured.Data()), bytes.TrimSpace(want.Data())) {
			t.Errorf("structured data %q, want %q", structured.Data(), want.Data())
		}
	})
}

// TestBindingSuite runs the SDK's own message mocks and transformer suite over the binding.
func TestBindingSuite(t *testing.T) {
	full := sdktest.ConvertEventExtensionsToString(t, sdktest.FullEvent())
	for name, m := range map[string]binding.Message{
		"binary": bindingtest.MustCreateMockBinaryMessage(full.Clone()), "structured": bindingtest.MustCreateMockStructuredMessage(t, full.Clone()), "event": binding.ToMessage(&full),
	} {
		record := write(t, m)
		sdktest.AssertEvent(t, sdktest.MustToEvent(t, t.Context(), sdkMessage{record}), sdktest.IsEqualTo(full))
		if _, err := stream.ParseEvent(record); (err == nil) != (name != "structured") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if (sdkMessage{&stream.Record{}}).ReadEncoding() != binding.EncodingUnknown {
		t.Error("a record without headers is no event")
	}
	ours := func() binding.Message {
		e, err := stream.ParseEvent(write(t, binding.ToMessage(&full)))
		if err != nil {
			t.Fatal(err)
		}
		return sdkMessage{recordOf(e.Message("t", nil))}
	}
	newTime := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	changed := full.Clone()
	changed.SetID("new-id")
	changed.SetTime(newTime)
	changed.SetExtension("added", "value")
	bindingtest.RunTransformerTests(t, t.Context(), []bindingtest.TransformerTestArgs{{
		Name: "change a message of ours", InputMessage: ours(), WantEvent: changed,
		Transformers: binding.Transformers{
			transformer.SetAttribute(spec.ID, func(any) (any, error) { return "new-id", nil }),
			transformer.SetAttribute(spec.Time, func(any) (any, error) { return newTime, nil }),
			transformer.AddExtension("added", "value"),
		},
	}})
}

// TestEventRoundTrip: any text that CloudEvents allow survives; Kafka headers carry UTF-8 as it
// is, so nothing is percent-encoded (Kafka binding 3.2.2; HTTP is another matter).
func TestEventRoundTrip(t *testing.T) {
	// No blanks outside: the SDK trims them.
	text := rapid.Map(rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 %2F=+\"\\ü日😀~")), 0, 30, -1), func(s string) string { return "<" + s + ">" })
	optional := rapid.OneOf(rapid.Just(""), text)
	name := rapid.StringMatching(`x[a-z0-9]{1,19}`)
	rapid.Check(t, func(t *rapid.T) {
		want := stream.Event{
			ID: text.Draw(t, "id"), Source: "heed/" + url.PathEscape(text.Draw(t, "source")), Type: "io.heed.test.v1", Subject: optional.Draw(t, "subject"),
			DataSchema: rapid.SampledFrom([]string{"", "https://heed.io/schema"}).Draw(t, "schema"),
			Data:       rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}
		if len(want.Data) > 0 {
			want.ContentType = "application/octet-stream"
		} else {
			want.Data = nil
		}
		if rapid.Bool().Draw(t, "timed") {
			want.Time = time.Unix(0, rapid.Int64Range(0, 4e18).Draw(t, "time")).UTC()
		}
		for name, value := range rapid.MapOfN(name, text, 0, 5).Draw(t, "extensions") {
			want.SetExtension(name, value)
		}
		m := want.Message("t", []byte("key"))
		got, err := stream.ParseEvent(recordOf(m))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		sdk, err := binding.ToEvent(context.Background(), sdkMessage{recordOf(m)})
		if err != nil {
			t.Fatal(err)
		}
		if err := sdk.Validate(); err != nil || sdk.ID() != want.ID || sdk.Subject() != want.Subject || !bytes.Equal(sdk.Data(), want.Data) || !sdk.Time().Equal(want.Time) {
			t.Fatalf("the SDK reads %s (%v)", sdk, err)
		}
		var structured event.Event
		if err := json.Unmarshal(want.Structured(), &structured); err != nil {
			t.Fatalf("%v: %s", err, want.Structured())
		}
		if structured.ID() != want.ID || structured.Subject() != want.Subject || !bytes.Equal(structured.Data(), want.Data) {
			t.Fatalf("the SDK reads %s of %s", structured, want.Structured())
		}
		for _, x := range want.Extensions {
			if structured.Extensions()[x.Name] != x.Value || sdk.Extensions()[x.Name] != x.Value {
				t.Fatalf("extension %s: %v and %v, want %s", x.Name, structured.Extensions()[x.Name], sdk.Extensions()[x.Name], x.Value)
			}
		}
	})
}

func TestRecordsThatAreNoEvents(t *testing.T) {
	good := stream.Event{ID: "1", Source: "heed/x", Type: "t", Time: time.Unix(1, 0)}
	for _, missing := range []string{"ce_id", "ce_source", "ce_type", "ce_specversion"} {
		m := good.Message("t", nil)
		m.Headers = slices.DeleteFunc(m.Headers, func(h stream.Header) bool { return h.Key == missing })
		if _, err := stream.ParseEvent(recordOf(m)); !errors.Is(err, stream.ErrNotEvent) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	for header, value := range map[string]string{"ce_time": "yesterday", "ce_specversion": "0.3"} {
		m := good.Message("t", nil)
		for i := range m.Headers {
			if m.Headers[i].Key == header {
				m.Headers[i].Value = []byte(value)
			}
		}
		if _, err := stream.ParseEvent(recordOf(m)); !errors.Is(err, stream.ErrNotEvent) {
			t.Errorf("%s %s: %v", header, value, err)
		}
	}
	if _, err := stream.ParseEvent(&stream.Record{}); !errors.Is(err, stream.ErrNotEvent) {
		t.Errorf("nothing: %v", err)
	}
}

// Messages makes what Event.Message makes, whatever events it saw before, in memory of its own.
func TestMessagesAreTheirOwn(t *testing.T) {
	events := []stream.Event{
		{ID: "1", Source: "heed/x", Type: "t", Time: time.Unix(1, 5), Extensions: []stream.Extension{{Name: "provider", Value: "a"}, {Name: "tenant", Value: "b"}}, ContentType: "application/json", Data: []byte("{}")},
		{ID: "2", Source: "heed/x", Type: "t", Subject: "s", Extensions: []stream.Extension{{Name: "provider", Value: "a"}, {Name: "brand", Value: ""}}, Data: []byte{}},
		{ID: "3", Source: "heed/y", Type: "t", DataSchema: "d", Extensions: []stream.Extension{{Name: "provider", Value: "a"}}},
		{ID: "4", Source: "heed/y", Type: "t"},
	}
	var messages stream.Messages
	for range 2 {
		for i := range events {
			e := events[i]
			key, data := []byte("key"), e.Data
			want := e.Message("t", slices.Clone(key))
			want.Value = slices.Clone(data)
			e.Data = slices.Clone(data)
			made := messages.Of(nil, &e, "t", key)
			clear(key)
			clear(e.Data)
			_ = append(made.Value, "over the end"...)
			_ = append(made.Key, "over the end"...)
			if diff := cmp.Diff(want, made.Plain(), cmpopts.IgnoreUnexported(stream.Message{}, stream.Place{})); diff != "" {
				t.Errorf("event %s (-Message +Messages):\n%s", e.ID, diff)
			}
		}
	}
	e := events[1]
	more := stream.Header{Key: "traceparent", Value: []byte("00-1")}
	got := messages.Of(nil, &e, "t", nil, more)
	plain := got.Plain()
	if got.Key != nil || got.Value == nil || len(got.Headers) > 0 {
		t.Errorf("no key and empty data became %v and %v, with headers %v", got.Key, got.Value, got.Headers)
	}
	if last := plain.Headers[len(plain.Headers)-1]; !cmp.Equal(last, more) {
		t.Errorf("the last header is %v, want %v", last, more)
	}
}
