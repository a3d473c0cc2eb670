package dispatcher

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func sample() *stream.Event {
	return &stream.Event{
		ID: "1 2%", Source: "heed/é", Type: "io.heed.message.received.v1", Subject: `a"b`, ContentType: "application/json",
		Time:       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Extensions: []stream.Extension{{Name: "traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
		Data:       []byte(`{"a":"ü"}`),
	}
}

func build(t *testing.T, mode schemas.DeliveryMode, events ...*stream.Event) (http.Header, string) {
	t.Helper()
	s := parse(t, "protocolsettings: {headers: {authorization: Bearer x}}")
	s.Config.Mode, s.Config.Keys = mode, keys(t, newSecret)
	e, err := newEndpoint(s, "test")
	if err != nil {
		t.Fatal(err)
	}
	r := e.request(t.Context(), time.Now(), "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", events...)
	body, err := io.ReadAll(r.Body)
	if err != nil || int64(len(body)) != r.ContentLength {
		t.Fatalf("body: %v, length %d", err, r.ContentLength)
	}
	verifier, _ := standardwebhooks.NewWebhook(newSecret)
	if err := verifier.Verify(body, r.Header); err != nil {
		t.Errorf("%s: %v", mode, err)
	}
	for name, want := range map[string]string{"Authorization": "Bearer x", "User-Agent": "heed-dispatcher/test", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q", mode, name, got)
		}
	}
	return r.Header, string(body)
}

func TestBinaryRequest(t *testing.T) {
	header, body := build(t, schemas.ModeBinary, sample())
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": "1%202%25", "ce-source": "heed/%C3%A9", "ce-type": "io.heed.message.received.v1",
		"ce-subject": "a%22b", "ce-time": "2026-01-02T03:04:05Z", "content-type": "application/json",
		"ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = header.Get(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if body != `{"a":"ü"}` {
		t.Errorf("body %s", body)
	}
}

func TestStructuredAndBatchRequests(t *testing.T) {
	header, body := build(t, schemas.ModeStructured, sample())
	if got := header.Get("Content-Type"); got != "application/cloudevents+json; charset=utf-8" {
		t.Error(got)
	}
	want := `{"specversion":"1.0","id":"1 2%","source":"heed/é","type":"io.heed.message.received.v1","subject":"a\"b","time":"2026-01-02T03:04:05Z","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","datacontenttype":"application/json","data":{"a":"ü"}}`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	if header.Get("ce-id") != "" {
		t.Error("structured mode has ce- headers")
	}
	header, body = build(t, schemas.ModeBatch, sample(), sample())
	if got := header.Get("Content-Type"); got != "application/cloudevents-batch+json; charset=utf-8" {
		t.Error(got)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 2 || list[1]["id"] != "1 2%" {
		t.Errorf("%v: %s", err, body)
	}
}

func TestEncodeHeader(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"plain!~", "plain!~"},
		{"Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"}, // the binding's own example
		{`a "quoted" 100%`, "a%20%22quoted%22%20100%25"},
		{"line\nbreak", "line%0Abreak"},
		{"\xff", "%EF%BF%BD"},
	} {
		if got := encodeHeader(c.value); got != c.want {
			t.Errorf("encodeHeader(%q) = %q, want %q", c.value, got, c.want)
		}
	}
}
