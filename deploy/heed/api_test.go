package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/schemas"
)

// api is a stage's API that answers from a table: "METHOD path" → body. It wants the token.
func api(t *testing.T, answers map[string]any) (url string, asked func() string) {
	t.Helper()
	var last string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			schemas.WriteProblem(w, http.StatusUnauthorized, "no_token", "the API wants a token", 0)
			return
		}
		body, _ := io.ReadAll(r.Body)
		last = r.Method + " " + r.RequestURI + " " + string(body)
		answer, ok := answers[r.Method+" "+r.RequestURI]
		if !ok {
			schemas.WriteProblem(w, http.StatusNotFound, "unknown", "there is no such thing", 0)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	t.Setenv("TOKEN", "s3cret")
	return server.URL, func() string { return last }
}

func TestConsentClient(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	scope := schemas.ConsentScope{Brand: "acme", Agent: "acme_agent"}
	results := []schemas.CheckResult{{Decision: schemas.Deny, Reason: schemas.ReasonOptedOut, Scope: &schemas.ScopeName{Level: schemas.ScopeAgent, Value: "acme_agent"}, Since: &at}}
	cause := schemas.FactCause{Source: "heed/k9", ID: "e1", By: "user", Provider: "kaleyra", Rule: "R1", Keyword: "stop"}
	url, asked := api(t, map[string]any{
		"POST /v1/consent/check":                   schemas.CheckResponse{Results: results, AsOf: &at},
		"GET /v1/consent/+14155550123":             schemas.ConsentStatus{Person: "p", Registers: []schemas.RegisterStatus{{Scope: scope, State: schemas.StateOptedOut, Stop: &at}}},
		"GET /v1/consent/+14155550123/history":     schemas.ConsentHistory{Facts: []schemas.Fact{{Act: schemas.ActStop, Scopes: []schemas.ConsentScope{scope}, At: at, Cause: cause}}},
		"GET /v1/consent/opaque:a%2Fb%20c/history": schemas.ConsentHistory{},
		"POST /v1/consent":                         schemas.ConsentReceipt{Fact: schemas.Fact{Act: schemas.ActStop, At: at}, Applied: true},
	})
	ctx := t.Context()
	got := heed(ctx, t, 1, "consent", "check", "+14155550123", "--agent", "acme_agent", "--url", url, "--token-env", "TOKEN")
	if !strings.Contains(got, "DENY: opted_out, agent acme_agent, since 2026-01-02T03:04:05Z") {
		t.Errorf("check: %s", got)
	}
	if want := `POST /v1/consent/check {"checks":[{"user":"+14155550123","agent":"acme_agent"}]}`; asked() != want {
		t.Errorf("asked %s, want %s", asked(), want)
	}
	results[0] = schemas.CheckResult{Decision: schemas.Allow, Reason: schemas.ReasonNoStop}
	if got := heed(ctx, t, 0, "consent", "check", "+14155550123", "--url", url, "--token-env", "TOKEN", "--json"); !strings.Contains(got, `"decision": "allow"`) {
		t.Errorf("check --json: %s", got)
	}
	if got := heed(ctx, t, 0, "consent", "show", "+14155550123", "--url", url, "--token-env", "TOKEN"); !strings.Contains(got, "brand acme, agent acme_agent  opted_out  2026-01-02T03:04:05Z  -") {
		t.Errorf("show: %s", got)
	}
	if got := heed(ctx, t, 0, "consent", "history", "+14155550123", "--url", url, "--token-env", "TOKEN"); !strings.Contains(got, "STOP  brand acme, agent acme_agent") || !strings.Contains(got, "rule R1, keyword stop, kaleyra") {
		t.Errorf("history: %s", got)
	}
	if got := heed(ctx, t, 0, "consent", "history", "opaque:a/b c", "--url", url, "--token-env", "TOKEN"); !strings.Contains(got, "no acts") {
		t.Errorf("history: %s", got)
	}
	if got := heed(ctx, t, 0, "consent", "record", "+14155550123", "stop", "--evidence", "letter of 2 May", "--url", url, "--token-env", "TOKEN"); !strings.Contains(got, "written: stop") || !strings.Contains(asked(), `"evidence":"letter of 2 May"`) {
		t.Errorf("record: %s, asked %s", got, asked())
	}
	heed(ctx, t, 2, "consent", "record", "+14155550123", "pause", "--url", url, "--token-env", "TOKEN")
	heed(ctx, t, 1, "consent", "show", "+14155550123", "--url", url)
	heed(ctx, t, 2, "consent", "show", "+14155550123", "--url", url, "--token-env", "NOT_SET")
	heed(ctx, t, 1, "consent", "show", "+1", "--url", "http://127.0.0.1:1")
}

func TestSubscriptionsClient(t *testing.T) {
	one := map[string]any{"id": "crm", "sink": "https://crm.example/hook", "types": []string{"io.heed.message.received.v1"},
		"config": map[string]any{"mode": "binary", "ordering": "none"}, "status": schemas.SubscriptionStatus{State: "held", Reason: "status_503", Lag: 17}}
	url, asked := api(t, map[string]any{
		"GET /v1/subscriptions":                      map[string]any{"subscriptions": []any{one}},
		"GET /v1/subscriptions/crm":                  one,
		"POST /v1/subscriptions/crm/pause":           one,
		"POST /v1/subscriptions/crm/resume":          one,
		"GET /v1/subscriptions/crm/attempts?limit=5": map[string]any{"attempts": []schemas.DeliveryAttempt{{Subscription: "crm", Attempt: 2, Outcome: schemas.AttemptDown, Reason: "timeout", Next: "hold"}}},
	})
	ctx := t.Context()
	for _, c := range []struct{ args, want string }{
		{"list", "crm  held   status_503  17   -       https://crm.example/hook"},
		{"show crm", "crm is held (status_503)"},
		{"pause crm", "https://crm.example/hook"},
		{"resume crm", "lag     17"},
		{"attempts crm --limit 5", "down     timeout  hold"},
	} {
		args := append([]string{"subscriptions"}, strings.Fields(c.args)...)
		if got := heed(ctx, t, 0, append(args, "--url", url, "--token-env", "TOKEN")...); !strings.Contains(got, c.want) {
			t.Errorf("%s: got\n%swant %q (asked %s)", c.args, got, c.want, asked())
		}
	}
	heed(ctx, t, 1, "subscriptions", "show", "other", "--url", url, "--token-env", "TOKEN")
}
