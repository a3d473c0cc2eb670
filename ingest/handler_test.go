package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// kafka is an appender that keeps what it is given, or answers as told.
type kafka struct {
	mu       sync.Mutex
	messages []stream.Message
	refuse   error // Enqueue returns it
	answer   error // done gets it
	silent   bool  // done gets ErrUnknown at the deadline
}

func (k *kafka) Enqueue(ctx context.Context, m stream.Message, done func(stream.Position, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return k.refuse
	}
	if k.silent {
		at, _ := ctx.Deadline()
		time.AfterFunc(time.Until(at), func() { done(stream.Position{}, stream.ErrUnknown) })
		return nil
	}
	if k.answer == nil {
		k.messages = append(k.messages, copyOf(m))
	}
	answer := k.answer
	go done(stream.Position{}, answer)
	return nil
}

func (k *kafka) all() []stream.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]stream.Message(nil), k.messages...)
}

// copyOf keeps a message beyond the append: the handler uses its buffers again.
func copyOf(m stream.Message) stream.Message {
	m.Key, m.Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
	headers := m.Headers
	m.Headers = nil
	for _, h := range headers {
		m.Headers = append(m.Headers, stream.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	return m
}

const testKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

const testEndpoints = `
endpoints:
  - {id: open, provider: kaleyra, channel: rcs, kind: inbound, tenant: acme, brand: shop, agent: mmx, default_country: IN, naive_zone: Asia/Kolkata, verify: [{scheme: none}]}
  - {id: bulk, provider: kaleyra, lane: bulk, verify: [{scheme: none}]}
  - {id: bearer, provider: telesign, verify: [{scheme: bearer, secret_env: [OLD, TOKEN]}]}
  - {id: key, provider: telesign, verify: [{scheme: header, header: x-api-key, secret_env: TOKEN}]}
  - {id: signed, provider: exotel, kind: inbound, verify: [{scheme: exotel, secret_env: [OLD, TOKEN]}], handshake: {token_env: HAND}}
  - {id: here, provider: exotel, verify: [{scheme: ip, allow: [192.0.2.0/24]}]}
  - {id: mob, provider: mobtexting, verify: [{scheme: mobtexting, secret_env: TOKEN}], handshake: {token_env: HAND}}
  - {id: meta, provider: meta, verify: [{scheme: meta, secret_env: TOKEN}], handshake: {token_env: HAND}}
  - {id: rbm, provider: google-rbm, verify: [{scheme: google-rbm, secret_env: TOKEN}]}
  - {id: said, provider: kaleyra, verify: [{scheme: none}], answer: {status: 202, content_type: application/json, body: '{"ok":true}'}}
  - {id: slow, provider: kaleyra, verify: [{scheme: none}], rate: 2}
`

var testSecrets = map[string]string{"OLD": "old-secret", "TOKEN": "tok-en-123", "HAND": "shake-456"}

func testConfig(t testing.TB) *config {
	t.Helper()
	pseudo, err := schemas.ParsePseudonymKeys(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return &config{maxBody: 1 << 20, maxHeader: 64 << 10, maxInFlight: 8 << 20, pseudo: pseudo}
}

func testHost(logs io.Writer) *service.Host {
	return &service.Host{
		Name: "ingest", Instance: "inst", Log: slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Meter: metricnoop.Meter{}, Tracer: tracenoop.NewTracerProvider().Tracer(""), Propagator: propagation.TraceContext{},
	}
}

func testHandler(t testing.TB, file string, keep *keeper, logs io.Writer) *handler {
	t.Helper()
	endpoints, err := schemas.ParseEndpoints([]byte(file), schemas.EndpointContext{
		Providers: Providers(), Presets: Presets,
		Getenv: func(name string) (string, bool) { v, ok := testSecrets[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	h := newHandler(testConfig(t), testHost(logs), keep)
	table, err := makeRoutes(endpoints, nil, &h.tallies)
	if err != nil {
		t.Fatal(err)
	}
	h.routes.Store(&table)
	if err := h.report(metricnoop.Meter{}, &service.Followed{}, &marks{}); err != nil {
		t.Fatal(err)
	}
	return h
}

func request(method, target, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func sign(t *testing.T, scheme schemas.Scheme, secret, body string) []string {
	t.Helper()
	return signFor(t, scheme, secret, body)
}

func signFor(t testing.TB, scheme schemas.Scheme, secret, body string) []string {
	t.Helper()
	h := http.Header{}
	if err := signature.Sign(schemas.Verify{Scheme: scheme, Secrets: []schemas.Secret{schemas.NewSecret(secret)}}, h, []byte(body), "id", time.Now()); err != nil {
		t.Fatal(err)
	}
	var pairs []string
	for name, values := range h {
		pairs = append(pairs, name, values[0])
	}
	return pairs
}

func TestAnswers(t *testing.T) {
	const exotelStop = `{"rcs":{"messages":[{"from":"+919999912345","content":{"type":"text","text":"STOP"}}]}}`
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for _, c := range []struct {
		name    string
		request *http.Request
		status  int
		body    string // in the answer
		kept    int
	}{
		{"taken", request("POST", "/v1/callbacks/open", `{"a":1}`), 200, "", 1},
		{"PUT", request("PUT", "/v1/callbacks/open", `{"a":1}`), 200, "", 1},
		{"GET with a query", request("GET", "/v1/callbacks/open?mobile=919999912345&status=DELIVRD", ""), 200, "", 1},
		{"the owner's answer", request("POST", "/v1/callbacks/said", `{}`), 202, `{"ok":true}`, 1},
		{"empty body", request("POST", "/v1/callbacks/open", ""), 200, "", 1},
		{"null", request("POST", "/v1/callbacks/open", "null"), 200, "", 1},
		{"deep JSON", request("POST", "/v1/callbacks/open", deep), 200, "", 1},
		{"invalid UTF-8", request("POST", "/v1/callbacks/open", "{\"a\":\"\xff\xfe\"}"), 200, "", 1},
		{"exactly the limit", request("POST", "/v1/callbacks/open", strings.Repeat("a", 1<<20)), 200, "", 1},
		{"one byte more", request("POST", "/v1/callbacks/open", strings.Repeat("a", 1<<20+1)), 413, "too_large", 0},
		{"no such path", request("POST", "/", ""), 404, "no_such_path", 0},
		{"no such endpoint", request("POST", "/v1/callbacks/nope", ""), 404, "no_such_endpoint", 0},
		{"below an endpoint", request("POST", "/v1/callbacks/open/x", ""), 404, "no_such_endpoint", 0},
		{"wrong method", request("DELETE", "/v1/callbacks/open", ""), 405, "method_not_allowed", 0},

		{"bearer", request("POST", "/v1/callbacks/bearer", "{}", "Authorization", "Bearer tok-en-123"), 200, "", 1},
		{"bearer, the old one", request("POST", "/v1/callbacks/bearer", "{}", "Authorization", "Bearer old-secret"), 200, "", 1},
		{"bearer, wrong", request("POST", "/v1/callbacks/bearer", "{}", "Authorization", "Bearer tok-en-124"), 401, "unproved", 0},
		{"bearer, missing", request("POST", "/v1/callbacks/bearer", "{}"), 401, "unproved", 0},
		{"header", request("POST", "/v1/callbacks/key", "{}", "X-Api-Key", "tok-en-123"), 200, "", 1},
		{"signed", request("POST", "/v1/callbacks/signed", exotelStop, sign(t, "exotel", "tok-en-123", exotelStop)...), 200, "", 1},
		{"signed with the old secret", request("POST", "/v1/callbacks/signed", exotelStop, sign(t, "exotel", "old-secret", exotelStop)...), 200, "", 1},
		{"signed with another", request("POST", "/v1/callbacks/signed", exotelStop, sign(t, "exotel", "x", exotelStop)...), 401, "The proof of the callback is wrong", 0},
		{"signed, one byte changed", request("POST", "/v1/callbacks/signed", exotelStop+" ", sign(t, "exotel", "tok-en-123", exotelStop)...), 401, "unproved", 0},
		{"from an allowed address", request("POST", "/v1/callbacks/here", "{}"), 200, "", 1}, // httptest: 192.0.2.1

		{"HEAD", request("HEAD", "/v1/callbacks/signed", ""), 200, "", 0},
		{"OPTIONS", request("OPTIONS", "/v1/callbacks/open", ""), 204, "", 0},
		{"CloudEvents OPTIONS", request("OPTIONS", "/v1/callbacks/open", "", "WebHook-Request-Origin", "e.example.com"), 200, "", 0},
		{"CloudEvents OPTIONS without the token", request("OPTIONS", "/v1/callbacks/signed", "", "WebHook-Request-Origin", "e.example.com"), 401, "unproved", 0},
		{"Exotel challenge", request("POST", "/v1/callbacks/signed?token=shake-456", `{"type":"verification","challenge":"c1"}`), 200, `{"challenge":"c1"}`, 0},
		{"Exotel challenge without the token", request("POST", "/v1/callbacks/signed", `{"type":"verification","challenge":"c1"}`), 401, "unproved", 0},
		{"Mobtexting challenge", request("POST", "/v1/callbacks/mob?token=shake-456", `{"validation_key":"shake-456","challenge":"c2"}`), 200, `{"challenge":"c2","validation_key":"shake-456"}`, 0},
		{"Mobtexting challenge, wrong key", request("POST", "/v1/callbacks/mob?token=x", `{"validation_key":"x","challenge":"c2"}`), 401, "unproved", 0},
		{"Meta challenge", request("GET", "/v1/callbacks/meta?hub.mode=subscribe&hub.challenge=77&hub.verify_token=shake-456", ""), 200, "77", 0},
		{"Meta challenge, wrong token", request("GET", "/v1/callbacks/meta?hub.mode=subscribe&hub.challenge=77&hub.verify_token=x", ""), 401, "unproved", 0},
		{"RBM challenge", request("POST", "/v1/callbacks/rbm", `{"clientToken":"tok-en-123","secret":"s-77"}`), 200, "s-77", 0},
		{"RBM challenge, wrong token", request("POST", "/v1/callbacks/rbm", `{"clientToken":"x","secret":"s-77"}`), 401, "unproved", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			broker := &kafka{}
			var logs bytes.Buffer
			h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, &logs)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, c.request)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("answer %d %q, want %d with %q", w.Code, w.Body, c.status, c.body)
			}
			if got := len(broker.all()); got != c.kept {
				t.Errorf("%d records were written, want %d", got, c.kept)
			}
			if c.status >= 400 {
				checkProblem(t, w)
			}
			if asked := w.Header().Get("WWW-Authenticate"); (asked != "") != (c.status == 401) {
				t.Errorf("WWW-Authenticate: %q beside %d", asked, c.status)
			}
			if c.status == 405 && w.Header().Get("Allow") != "GET, HEAD, OPTIONS, POST, PUT" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
			if h.inFlight.held.Load() != 0 {
				t.Errorf("%d bytes are still held", h.inFlight.held.Load())
			}
			for name, value := range testSecrets {
				if strings.Contains(logs.String(), value) {
					t.Errorf("the log holds the secret %s:\n%s", name, &logs)
				}
			}
		})
	}
}

func checkProblem(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var p schemas.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Header().Get("Content-Type") != "application/problem+json" || p.Status != w.Code || p.Title == "" || p.Detail == "" || p.Code == "" {
		t.Errorf("the answer is no problem document: %s %s (%v)", w.Header().Get("Content-Type"), w.Body, err)
	}
}

// TestKafkaSaysNo: what is not acknowledged is not answered 200, and the answer says when to try again.
func TestKafkaSaysNo(t *testing.T) {
	for _, c := range []struct {
		name   string
		broker *kafka
		status int
	}{
		{"full", &kafka{refuse: stream.ErrFull}, 503},
		{"closed", &kafka{refuse: stream.ErrClosed}, 503},
		{"too large, at once", &kafka{refuse: stream.ErrTooLarge}, 413},
		{"too large, later", &kafka{answer: stream.ErrTooLarge}, 413},
		{"unknown", &kafka{answer: stream.ErrUnknown}, 503},
		{"anything else", &kafka{answer: errors.New("x")}, 503},
		{"silent", &kafka{silent: true}, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logs bytes.Buffer
			h := testHandler(t, testEndpoints, &keeper{kafka: c.broker, after: 20 * time.Millisecond}, &logs)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request("POST", "/v1/callbacks/open", `{}`))
			if w.Code != c.status {
				t.Fatalf("answer %d, want %d", w.Code, c.status)
			}
			checkProblem(t, w)
			if after := w.Header().Get("Retry-After"); (after != "") != (c.status == 503) {
				t.Errorf("Retry-After: %q", after)
			}
			if c.status == 503 && !strings.Contains(logs.String(), "not kept: Kafka: ") {
				t.Errorf("the log doesn't say why:\n%s", &logs)
			}
		})
	}
}

// TestRecord: the raw record is the request, and equals what stream.Event makes of the same.
func TestRecord(t *testing.T) {
	broker := &kafka{}
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
	body := "{\"from\": \"919999912345\", \"text\":\"STOP\"}\r\n\x00\xff"
	r := request("POST", "/v1/callbacks/open?a=%20b&c", body,
		"X-Two", "second", "X-Two", "first", "Authorization", "Bearer hush-hush", "Cookie", "a=hush-hush", "Content-Type", "application/json",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "Tracestate", "v=1")
	before := time.Now()
	h.ServeHTTP(httptest.NewRecorder(), r)
	if len(broker.all()) != 1 {
		t.Fatal("nothing was written")
	}
	m := broker.all()[0]
	rec := stream.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
	e, err := stream.ParseEvent(&rec)
	if err != nil {
		t.Fatal(err)
	}
	if e.Time.Before(before.Truncate(0)) || time.Since(e.Time) > time.Minute {
		t.Errorf("time %s", e.Time)
	}
	user := h.pseudo.Of(schemas.UserPhone, "+919999912345")
	if string(m.Key) != user {
		t.Errorf("key %q, want the user's pseudonym %q", m.Key, user)
	}
	want := stream.Event{ID: "inst-1", Source: "heed/open", Type: "io.heed.callback.received.v1", Time: e.Time, ContentType: "application/http", Data: m.Value}
	origin := schemas.Origin{Endpoint: "open", Provider: "kaleyra", Channel: "rcs", Kind: "inbound", Tenant: "acme", Brand: "shop", Agent: "mmx", DefaultCountry: "IN", NaiveZone: "Asia/Kolkata"}
	for name, value := range origin.Attributes {
		want.SetExtension(name, value)
	}
	want.SetExtension("partitionkey", user)
	want.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	want.SetExtension("tracestate", "v=1")
	want.SetExtension("peer", h.pseudo.OfPeer("192.0.2.1"))
	asMap := func(headers []stream.Header) map[string]string {
		all := map[string]string{}
		for _, h := range headers {
			if _, twice := all[h.Key]; twice {
				t.Errorf("header %s stands twice", h.Key)
			}
			all[h.Key] = string(h.Value)
		}
		return all
	}
	if diff := cmp.Diff(asMap(want.Message(m.Topic, m.Key).Headers), asMap(m.Headers)); diff != "" {
		t.Errorf("headers: -want +got\n%s", diff)
	}
	capture, err := schemas.ParseCapture(m.Value)
	if err != nil {
		t.Fatal(err)
	}
	wantCapture := schemas.Capture{
		Method: "POST", Target: "/v1/callbacks/open?a=%20b&c", Body: []byte(body),
		Header: []schemas.Field{
			{Name: "Host", Value: "example.com"}, {Name: "Authorization", Value: "[redacted]"}, {Name: "Content-Type", Value: "application/json"}, {Name: "Cookie", Value: "[redacted]"},
			{Name: "Traceparent", Value: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}, {Name: "Tracestate", Value: "v=1"}, {Name: "X-Two", Value: "second"}, {Name: "X-Two", Value: "first"},
		},
	}
	if diff := cmp.Diff(wantCapture, capture); diff != "" {
		t.Errorf("capture: -want +got\n%s", diff)
	}
	if !bytes.Equal(capture.Append(nil), m.Value) {
		t.Error("Capture.Append makes other bytes of it")
	}
	for _, h := range append(m.Headers, stream.Header{Key: "key", Value: m.Key}) {
		if strings.Contains(string(h.Value), "99999") {
			t.Errorf("personal data in %s", h.Key)
		}
	}
}

// TestTarget: HTTP/2 frames its path, so it may hold a blank, which would break the request line
// of the record: the normalizer must be able to read what was answered 200.
func TestTarget(t *testing.T) {
	for given, want := range map[string]string{
		"/v1/callbacks/open?text=STOP now&to=1":          "/v1/callbacks/open?text=STOP%20now&to=1",
		"/v1/callbacks/open?text=\"é\"&x=%zz":            "/v1/callbacks/open?text=\"é\"&x=%zz",
		"http://elsewhere.example/v1/callbacks/open?a=b": "/v1/callbacks/open?a=b",
		"/v1/callbacks/%6fpen":                           "/v1/callbacks/%6fpen",
	} {
		broker := &kafka{}
		h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
		r := request("POST", strings.ReplaceAll(given, " ", "%20"), "{}")
		r.RequestURI = given
		h.ServeHTTP(httptest.NewRecorder(), r)
		if len(broker.all()) != 1 {
			t.Fatalf("%s: nothing was written", given)
		}
		c, err := schemas.ParseCapture(broker.all()[0].Value)
		if err != nil || c.Target != want {
			t.Errorf("%s: target %q, %v; want %q", given, c.Target, err, want)
		}
	}
}

func TestCredentialsAreRedacted(t *testing.T) {
	for _, c := range []struct {
		name    string
		request *http.Request
	}{
		{"header scheme", request("POST", "/v1/callbacks/key", "{}", "X-Api-Key", "tok-en-123")},
		{"token in the query", request("POST", "/v1/callbacks/key?token=tok%2Den-123&x=1", "{}", "X-Api-Key", "tok-en-123")},
		{"signature", request("POST", "/v1/callbacks/signed?token=shake-456", "{}", sign(t, "exotel", "tok-en-123", "{}")...)},
	} {
		broker := &kafka{}
		h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
		h.ServeHTTP(httptest.NewRecorder(), c.request)
		if len(broker.all()) != 1 {
			t.Fatalf("%s: nothing was written", c.name)
		}
		value := string(broker.all()[0].Value)
		for _, secret := range []string{"tok-en-123", "tok%2Den-123", "shake-456", "sha256="} {
			if strings.Contains(value, secret) {
				t.Errorf("%s: the record holds %q:\n%s", c.name, secret, value)
			}
		}
		if !strings.Contains(value, "[redacted]") {
			t.Errorf("%s: nothing is redacted:\n%s", c.name, value)
		}
	}
}

func TestLaneAndRate(t *testing.T) {
	broker := &kafka{}
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
	h.ServeHTTP(httptest.NewRecorder(), request("POST", "/v1/callbacks/bulk", "{}"))
	if got := broker.all()[0].Topic; got != "heed.callbacks.bulk" {
		t.Errorf("topic %s", got)
	}
	var codes []int
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("POST", "/v1/callbacks/slow", "{}"))
		codes = append(codes, w.Code)
		if w.Code == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if diff := cmp.Diff([]int{200, 200, 429}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestOverCapacity(t *testing.T) {
	h := testHandler(t, testEndpoints, &keeper{kafka: &kafka{}, after: time.Second}, io.Discard)
	h.inFlight.max = 1000
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v1/callbacks/open", strings.Repeat("a", 2000)))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("answer %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if h.inFlight.held.Load() != 0 {
		t.Errorf("%d bytes are still held", h.inFlight.held.Load())
	}
	w = httptest.NewRecorder()
	h.ServeHTTP(w, request("POST", "/v1/callbacks/open", "{}"))
	if w.Code != 200 {
		t.Errorf("a small one: %d", w.Code)
	}
}

// TestUnknownLength: a chunked body grows as it comes; one that ends badly is not kept.
func TestUnknownLength(t *testing.T) {
	broker := &kafka{}
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
	for _, c := range []struct {
		name   string
		body   io.Reader
		status int
		kept   int
	}{
		{"one byte at a time", iotest.OneByteReader(strings.NewReader(strings.Repeat("ab", 5000))), 200, 1},
		{"endless", endless{}, 413, 0},
		{"broken off", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)), 400, 0},
	} {
		r := httptest.NewRequest("POST", "/v1/callbacks/open", c.body)
		r.ContentLength = -1
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || len(broker.all()) != c.kept {
			t.Errorf("%s: answer %d, %d kept; want %d, %d", c.name, w.Code, len(broker.all()), c.status, c.kept)
		}
		broker.messages = nil
	}
	if h.inFlight.held.Load() != 0 {
		t.Errorf("%d bytes are still held", h.inFlight.held.Load())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// TestConcurrent: reused buffers never mix callbacks up.
func TestConcurrent(t *testing.T) {
	broker := &kafka{}
	h := testHandler(t, testEndpoints, &keeper{kafka: broker, after: time.Second}, io.Discard)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				n := strconv.Itoa(g*1000 + i)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, request("POST", "/v1/callbacks/open?n="+n, `{"from":"91999990`+n+`","pad":"`+strings.Repeat("x", g*900)+`","n":`+n+`}`))
				if w.Code != 200 {
					t.Errorf("answer %d", w.Code)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, m := range broker.all() {
		c, err := schemas.ParseCapture(m.Value)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strings.CutPrefix(c.Query(), "n=")
		if !strings.HasSuffix(string(c.Body), `"n":`+n+`}`) {
			t.Fatalf("query %s with body …%s", n, c.Body[len(c.Body)-20:])
		}
		rec := stream.Record{Headers: m.Headers}
		id := string(rec.Header("ce_id"))
		if seen[id] || seen[n] {
			t.Fatalf("%s or %s stands twice", id, n)
		}
		seen[id], seen[n] = true, true
		if key := string(rec.Header("ce_partitionkey")); key != string(m.Key) {
			t.Fatalf("partitionkey %s, key %s", key, m.Key)
		}
	}
	if len(seen) != 2*1600 {
		t.Errorf("%d callbacks", len(seen)/2)
	}
}

func TestPeer(t *testing.T) {
	p := &peers{trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, c := range []struct{ remote, forwarded, want string }{
		{"203.0.113.9:1", "198.51.100.1", "203.0.113.9"}, // nobody who is trusted says so
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"}, // what stands before it may be made up
		{"10.0.0.1:1", "nonsense", "10.0.0.1"},
		{"10.0.0.1:1", "198.51.100.1:4711", "198.51.100.1"},
		{"10.0.0.1:1", "[2001:db8::1]:4711, [2001:db8::2]", "2001:db8::2"},
		{"[::ffff:10.0.0.1]:1", "2001:db8::1", "2001:db8::1"},
	} {
		r := request("POST", "/", "")
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := p.of(r).String(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestTraceparent(t *testing.T) {
	for _, c := range []struct {
		given       string
		sampled, ok bool
	}{
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true, true},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false, true},
		{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0b", true, true},
		{"00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
		{"00-00000000000000000000000000000000-b7ad6b7169203331-01", false, false},
		{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false, false},
		{"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false, false},
		{"", false, false},
	} {
		if _, sampled, ok := validTraceparent(http.Header{"Traceparent": {c.given}}); sampled != c.sampled || ok != c.ok {
			t.Errorf("%q: sampled %v, ok %v", c.given, sampled, ok)
		}
	}
	if _, _, ok := validTraceparent(http.Header{"Traceparent": {newTraceparent()}}); !ok {
		t.Error("our own is not valid")
	}
}

// A HEAD tells the content type that the GET after it will have (RFC 9110 §9.3.2).
func TestHeadTellsTheAnswersType(t *testing.T) {
	var logs bytes.Buffer
	h := testHandler(t, testEndpoints, &keeper{kafka: &kafka{}, after: time.Second}, &logs)
	types := func(method string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request(method, "/v1/callbacks/said", ""))
		return w.Header().Get("Content-Type")
	}
	if head, get := types("HEAD"), types("GET"); head != get || head == "" {
		t.Errorf("HEAD says %q, GET %q", head, get)
	}
}
