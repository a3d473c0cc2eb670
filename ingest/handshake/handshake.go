// Package handshake recognizes the requests by which providers ask whether a URL is ours before
// they send anything, and says what to answer: pure functions of the request. Ingest answers
// with it, `heed explain` shows it.
//
// These requests come unsigned, so each has its own token rule (Found.Allowed). It refuses to
// call anything that the caller names: the answer is all there is (CloudEvents'
// WebHook-Request-Callback is ignored on purpose).
//
// Invariant: a handshake is answered and nothing else; it is never written anywhere.
package handshake

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/schemas"
)

// Kind names a handshake; it is a metric label.
type Kind string

// The handshakes.
const (
	Mobtexting  Kind = "mobtexting"  // POST ?token=KEY {validation_key, challenge} → both back
	Exotel      Kind = "exotel"      // POST {"type":"verification","challenge"} → the challenge back
	Meta        Kind = "meta"        // GET ?hub.mode=subscribe&hub.verify_token&hub.challenge → the challenge back
	GoogleRBM   Kind = "google-rbm"  // POST {clientToken, secret} → the secret back, as plain text
	CloudEvents Kind = "cloudevents" // OPTIONS with WebHook-Request-Origin → WebHook-Allowed-Origin
	Probe       Kind = "probe"       // HEAD: Exotel asks so before its GET; says only that the URL is there
	Preflight   Kind = "options"     // any other OPTIONS: which methods there are
)

// Methods are the methods of a callback URL.
const Methods = "GET, HEAD, OPTIONS, POST, PUT"

// Request is what a handshake is looked for in.
type Request struct {
	Method string
	Query  string // raw, without "?"
	Header http.Header
	Body   []byte
	Rate   schemas.Rate // of the endpoint; 0: no limit
}

// Found is a request that is a handshake.
type Found struct {
	Kind   Kind
	Answer Answer

	given    []string // tokens that the request brought
	required bool     // the protocol has a token: without one configured nobody is answered
}

// Answer is what to answer when the token rule holds.
type Answer struct {
	Status int
	Header [][2]string // in order
	Body   string
}

// Allowed is the token rule. Where tokens are configured, every token that the request brings
// must be one of them and there must be one. Where none is configured, Meta's and Google's
// handshakes are refused, since their protocols have a token; the others rest on the endpoint's
// id, which nobody can guess.
func (f *Found) Allowed(tokens []schemas.Secret) bool {
	if f.Kind == Probe || f.Kind == Preflight {
		return true // says nothing but that the URL is there
	}
	if len(tokens) == 0 {
		return !f.required
	}
	for _, token := range f.given {
		if !signature.Equal(token, tokens) {
			return false
		}
	}
	return len(f.given) > 0
}

// Notes says what is valid of an endpoint but should be known by its owner, of its handshake too.
func Notes(e *schemas.Endpoint) []string {
	notes := e.Notes()
	required := e.Provider == "meta" || e.Provider == "google-rbm" && !slices.ContainsFunc(e.Verify, func(v schemas.Verify) bool { return v.Scheme == schemas.SchemeGoogleRBM })
	if required && e.Handshake == nil {
		notes = append(notes, "has no handshake token, so the provider's verification of the URL is refused")
	}
	return notes
}

// maxBody bounds what is looked into: the longest documented challenge has some 200 bytes.
const maxBody = 4 << 10

// Of says whether the request is a handshake of the provider, or of everybody (HEAD, OPTIONS).
func Of(provider string, r Request) (*Found, bool) {
	switch r.Method {
	case http.MethodHead:
		return &Found{Kind: Probe, Answer: Answer{Status: http.StatusOK}}, true
	case http.MethodOptions:
		return options(r), true
	}
	switch provider {
	case "mobtexting":
		return mobtexting(r)
	case "exotel":
		return exotel(r)
	case "meta":
		return meta(r)
	case "google-rbm":
		return googleRBM(r)
	}
	return nil, false
}

// options answers the abuse protection of CloudEvents' webhooks (HTTP 1.1 Web Hooks for Event
// Delivery 1.0.2, §4). Whoever asks is granted: what a sender may do is decided by verify and
// rate, request by request.
func options(r Request) *Found {
	origin := r.Header.Get("WebHook-Request-Origin")
	if origin == "" || len(origin) > 253 || !isHost(origin) {
		return &Found{Kind: Preflight, Answer: Answer{Status: http.StatusNoContent, Header: [][2]string{{"Allow", Methods}}}}
	}
	f := &Found{Kind: CloudEvents, given: queryTokens(r.Query, "token")}
	if name, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(name, "Bearer") {
		f.given = append(f.given, strings.TrimSpace(token))
	}
	f.Answer = Answer{Status: http.StatusOK, Header: [][2]string{{"Allow", "POST"}, {"Webhook-Allowed-Origin", origin}}}
	if r.Header.Get("WebHook-Request-Rate") != "" {
		rate := "*"
		if r.Rate > 0 {
			rate = strconv.Itoa(max(1, int(r.Rate*60))) // a minute
		}
		f.Answer.Header = append(f.Answer.Header, [2]string{"Webhook-Allowed-Rate", rate})
	}
	return f
}

func isHost(s string) bool {
	return strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:") == ""
}

func mobtexting(r Request) (*Found, bool) {
	if r.Method != http.MethodPost || !mayHold(r.Body, `"challenge"`) {
		return nil, false
	}
	var body struct {
		Key       json.RawMessage `json:"validation_key"`
		Challenge json.RawMessage `json:"challenge"`
		Event     json.RawMessage `json:"event"`
	}
	if json.Unmarshal(withoutLastComma(r.Body), &body) != nil || !isScalar(body.Key) || !isScalar(body.Challenge) || body.Event != nil {
		return nil, false
	}
	// The sample answers with the challenge, the prose asks for the key: both.
	answer, ok := jsonObject(map[string]any{"challenge": body.Challenge, "validation_key": body.Key})
	if !ok {
		return nil, false
	}
	f := &Found{Kind: Mobtexting, given: append(queryTokens(r.Query, "token"), scalar(body.Key))}
	f.Answer = jsonAnswer(answer)
	return f, true
}

func exotel(r Request) (*Found, bool) {
	if r.Method != http.MethodPost || !mayHold(r.Body, `"challenge"`) {
		return nil, false
	}
	type challenge struct {
		Challenge   json.RawMessage `json:"challenge"`
		VerifyToken string          `json:"verify_token"`
	}
	var body struct {
		Type string `json:"type"`
		challenge
		Data challenge `json:"data"`
	}
	if json.Unmarshal(r.Body, &body) != nil || body.Type != "verification" {
		return nil, false
	}
	asked := body.challenge
	if !isScalar(asked.Challenge) {
		asked = body.Data
	}
	if !isScalar(asked.Challenge) {
		return nil, false
	}
	answer, ok := jsonObject(map[string]any{"challenge": asked.Challenge})
	if !ok {
		return nil, false
	}
	f := &Found{Kind: Exotel, given: queryTokens(r.Query, "token", "verify_token")}
	if asked.VerifyToken != "" {
		f.given = append(f.given, asked.VerifyToken)
	}
	f.Answer = jsonAnswer(answer)
	return f, true
}

func meta(r Request) (*Found, bool) {
	if r.Method != http.MethodGet || !strings.Contains(r.Query, "hub.") {
		return nil, false
	}
	q, _ := url.ParseQuery(r.Query)
	if q.Get("hub.mode") != "subscribe" || !q.Has("hub.challenge") {
		return nil, false
	}
	return &Found{Kind: Meta, required: true, given: q["hub.verify_token"], Answer: textAnswer(q.Get("hub.challenge"))}, true
}

func googleRBM(r Request) (*Found, bool) {
	if r.Method != http.MethodPost || !mayHold(r.Body, `"clientToken"`) {
		return nil, false
	}
	var body struct {
		ClientToken string          `json:"clientToken"`
		Secret      string          `json:"secret"`
		Message     json.RawMessage `json:"message"`
	}
	if json.Unmarshal(r.Body, &body) != nil || body.ClientToken == "" || body.Secret == "" || body.Message != nil {
		return nil, false
	}
	return &Found{Kind: GoogleRBM, required: true, given: []string{body.ClientToken}, Answer: textAnswer(body.Secret)}, true
}

// mayHold spares nearly every callback the parsing.
func mayHold(body []byte, word string) bool {
	return len(body) <= maxBody && bytes.Contains(body, []byte(word))
}

// isScalar: a challenge is a string or a number; what is neither is no challenge.
func isScalar(v json.RawMessage) bool {
	return len(v) > 0 && (v[0] == '"' && len(v) > 2 || v[0] >= '0' && v[0] <= '9')
}

// jsonObject writes what the caller sent as it came: "<" stays "<", for a caller that compares bytes.
func jsonObject(members map[string]any) ([]byte, bool) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(members)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err == nil
}

// scalar is the text of what isScalar holds for.
func scalar(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}

// withoutLastComma is the body without the comma before its last brace, with which the provider's
// document prints the request (facts: Mobtexting M:help/verify-webhook).
func withoutLastComma(body []byte) []byte {
	inside, ok := bytes.CutSuffix(bytes.TrimSpace(body), []byte("}"))
	if inside, comma := bytes.CutSuffix(bytes.TrimSpace(inside), []byte(",")); ok && comma {
		return append(bytes.Clone(inside), '}')
	}
	return body
}

func queryTokens(query string, names ...string) []string {
	q, _ := url.ParseQuery(query)
	var tokens []string
	for _, name := range names {
		tokens = append(tokens, q[name]...)
	}
	return tokens
}

// What the caller sent goes back as what it is and not as a page: a browser must not read it as HTML.
var noSniff = [2]string{"X-Content-Type-Options", "nosniff"}

func jsonAnswer(body []byte) Answer {
	return Answer{Status: http.StatusOK, Header: [][2]string{{"Content-Type", "application/json"}, noSniff}, Body: string(body)}
}

func textAnswer(body string) Answer {
	return Answer{Status: http.StatusOK, Header: [][2]string{{"Content-Type", "text/plain; charset=utf-8"}, noSniff}, Body: body}
}
