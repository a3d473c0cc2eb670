package handshake_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/ingest/handshake"
	"github.com/heedhq/heed/schemas"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

var key = []schemas.Secret{schemas.NewSecret("old"), schemas.NewSecret("k1")}

func TestHandshakes(t *testing.T) {
	for _, c := range []struct {
		name     string
		provider string
		request  handshake.Request
		kind     handshake.Kind
		body     string
		with     bool // allowed with tokens "old" and "k1" configured
		without  bool // allowed with none
	}{
		{"mobtexting", "mobtexting", handshake.Request{Method: "POST", Query: "token=k1", Body: []byte(`{"validation_key":"k1","challenge":"c-9"}`)}, handshake.Mobtexting, `{"challenge":"c-9","validation_key":"k1"}`, true, true},
		{"mobtexting, query and body differ", "mobtexting", handshake.Request{Method: "POST", Query: "token=zz", Body: []byte(`{"validation_key":"k1","challenge":"c-9"}`)}, handshake.Mobtexting, `{"challenge":"c-9","validation_key":"k1"}`, false, true},
		{"mobtexting, number", "mobtexting", handshake.Request{Method: "POST", Body: []byte(`{"validation_key":"k1","challenge":123}`)}, handshake.Mobtexting, `{"challenge":123,"validation_key":"k1"}`, true, true},
		{"mobtexting, as the document prints it", "mobtexting", handshake.Request{Method: "POST", Query: "token=k1", Body: []byte("{\n    \"validation_key\": \"k1\",\n    \"challenge\": \"a234qwe\",\n  }")}, handshake.Mobtexting, `{"challenge":"a234qwe","validation_key":"k1"}`, true, true},
		{"mobtexting, numeric key", "mobtexting", handshake.Request{Method: "POST", Query: "token=901234", Body: []byte(`{"validation_key":901234,"challenge":"c"}`)}, handshake.Mobtexting, `{"challenge":"c","validation_key":901234}`, false, true},
		{"exotel", "exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"a\"b"}`)}, handshake.Exotel, `{"challenge":"a\"b"}`, false, true},
		{"exotel, signs of HTML", "exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"a<b>&c"}`)}, handshake.Exotel, `{"challenge":"a<b>&c"}`, false, true},
		{"exotel, token in the URL", "exotel", handshake.Request{Method: "POST", Query: "token=k1", Body: []byte(`{"type":"verification","data":{"challenge":"a"}}`)}, handshake.Exotel, `{"challenge":"a"}`, true, true},
		{"exotel, verify_token", "exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"a","verify_token":"k1"}`)}, handshake.Exotel, `{"challenge":"a"}`, true, true},
		{"meta", "meta", handshake.Request{Method: "GET", Query: "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=k1"}, handshake.Meta, "1158201444", true, false},
		{"meta, wrong token", "meta", handshake.Request{Method: "GET", Query: "hub.mode=subscribe&hub.challenge=1&hub.verify_token=x"}, handshake.Meta, "1", false, false},
		{"meta, no token", "meta", handshake.Request{Method: "GET", Query: "hub.mode=subscribe&hub.challenge=1"}, handshake.Meta, "1", false, false},
		{"google-rbm", "google-rbm", handshake.Request{Method: "POST", Body: []byte(`{"clientToken":"k1","secret":"0123456789"}`)}, handshake.GoogleRBM, "0123456789", true, false},
		{"google-rbm, wrong token", "google-rbm", handshake.Request{Method: "POST", Body: []byte(`{"clientToken":"x","secret":"0123456789"}`)}, handshake.GoogleRBM, "0123456789", false, false},
		{"cloudevents", "kaleyra", handshake.Request{Method: "OPTIONS", Query: "token=k1", Header: header("WebHook-Request-Origin", "eventemitter.example.com", "WebHook-Request-Rate", "120", "WebHook-Request-Callback", "http://169.254.169.254/")}, handshake.CloudEvents, "", true, true},
		{"cloudevents, bearer", "kaleyra", handshake.Request{Method: "OPTIONS", Header: header("WebHook-Request-Origin", "e.example.com", "Authorization", "bearer k1")}, handshake.CloudEvents, "", true, true},
		{"cloudevents, no token", "kaleyra", handshake.Request{Method: "OPTIONS", Header: header("WebHook-Request-Origin", "e.example.com")}, handshake.CloudEvents, "", false, true},
		{"options", "kaleyra", handshake.Request{Method: "OPTIONS"}, handshake.Preflight, "", true, true},
		{"origin that is no host", "kaleyra", handshake.Request{Method: "OPTIONS", Header: header("WebHook-Request-Origin", "<script>")}, handshake.Preflight, "", true, true},
		{"head", "exotel", handshake.Request{Method: "HEAD"}, handshake.Probe, "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.request.Header == nil {
				c.request.Header = http.Header{}
			}
			f, ok := handshake.Of(c.provider, c.request)
			if !ok {
				t.Fatal("not recognized")
			}
			if f.Kind != c.kind || f.Answer.Body != c.body {
				t.Errorf("got %s %q, want %s %q", f.Kind, f.Answer.Body, c.kind, c.body)
			}
			if got := f.Allowed(key); got != c.with {
				t.Errorf("with tokens: allowed %v, want %v", got, c.with)
			}
			if got := f.Allowed(nil); got != c.without {
				t.Errorf("without tokens: allowed %v, want %v", got, c.without)
			}
		})
	}
}

func TestCloudEventsAnswer(t *testing.T) {
	f, _ := handshake.Of("kaleyra", handshake.Request{Method: "OPTIONS", Header: header("WebHook-Request-Origin", "e.example.com", "WebHook-Request-Rate", "120")})
	want := handshake.Answer{Status: 200, Header: [][2]string{{"Allow", "POST"}, {"Webhook-Allowed-Origin", "e.example.com"}, {"Webhook-Allowed-Rate", "*"}}}
	if diff := cmp.Diff(want, f.Answer); diff != "" {
		t.Error(diff)
	}
	f, _ = handshake.Of("kaleyra", handshake.Request{Method: "OPTIONS", Header: header("WebHook-Request-Origin", "e.example.com", "WebHook-Request-Rate", "120"), Rate: 0.5})
	if got := f.Answer.Header[2]; got != [2]string{"Webhook-Allowed-Rate", "30"} {
		t.Errorf("of an endpoint that takes one every 2 s: %v", got)
	}
}

// TestNotes: a protocol that has a token is told of before the provider's question is refused.
func TestNotes(t *testing.T) {
	for _, c := range []struct {
		endpoint schemas.Endpoint
		want     bool
	}{
		{schemas.Endpoint{Origin: schemas.Origin{Provider: "meta"}}, true},
		{schemas.Endpoint{Origin: schemas.Origin{Provider: "meta"}, Handshake: &schemas.Handshake{}}, false},
		{schemas.Endpoint{Origin: schemas.Origin{Provider: "google-rbm"}, Verify: []schemas.Verify{{Scheme: schemas.SchemeBearer}}}, true},
		{schemas.Endpoint{Origin: schemas.Origin{Provider: "google-rbm"}, Verify: []schemas.Verify{{Scheme: schemas.SchemeGoogleRBM}}}, false},
		{schemas.Endpoint{Origin: schemas.Origin{Provider: "mobtexting"}}, false},
	} {
		c.endpoint.Answer.Status = http.StatusOK
		if got := handshake.Notes(&c.endpoint); slices.ContainsFunc(got, func(note string) bool { return strings.Contains(note, "handshake") }) != c.want || len(got) > 1 {
			t.Errorf("%+v: %q", c.endpoint, got)
		}
	}
}

// TestCallbacksAreNoHandshakes: what looks a little like one is kept like everything else.
func TestCallbacksAreNoHandshakes(t *testing.T) {
	for name, c := range map[string]struct {
		provider string
		request  handshake.Request
	}{
		"a user's word":              {"exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"inbound_message","data":{"text":"\"challenge\""},"challenge":""}`)}},
		"another provider's":         {"kaleyra", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"a"}`)}},
		"a mobtexting event":         {"mobtexting", handshake.Request{Method: "POST", Body: []byte(`{"event":"x","validation_key":"a","challenge":"a"}`)}},
		"a challenge that is object": {"mobtexting", handshake.Request{Method: "POST", Body: []byte(`{"validation_key":"a","challenge":{}}`)}},
		"an RBM message":             {"google-rbm", handshake.Request{Method: "POST", Body: []byte(`{"clientToken":"a","secret":"b","message":{"data":""}}`)}},
		"a long body":                {"exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"` + strings.Repeat("a", 5000) + `"}`)}},
		"a Kaleyra GET":              {"meta", handshake.Request{Method: "GET", Query: "display_phone_number=1&event=FLAGGED"}},
		"broken JSON":                {"exotel", handshake.Request{Method: "POST", Body: []byte(`{"type":"verification","challenge":"a"`)}},
	} {
		if f, ok := handshake.Of(c.provider, c.request); ok {
			t.Errorf("%s: taken for a handshake of %s", name, f.Kind)
		}
	}
}
