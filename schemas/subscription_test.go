package schemas

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const wholeSubscription = `
subscriptions:
- id: orders
  source: heed/shop
  types: [io.heed.message.received.v1, com.example.other]
  filters:
  - exact: {channel: rcs, provider: kaleyra}
  - any:
    - prefix: {subject: "ab"}
    - not: {suffix: {id: "z"}}
    - all: [{exact: {tenant: one}}]
  - sql: "provider = 'kaleyra'"
  sink: https://example.com/hook
  protocol: HTTP
  protocolsettings: {method: PUT, headers: {Authorization: Bearer abc}}
  config:
    secret_env: [NEW, OLD]
    ordering: key
    timeout: 5s
    in_flight: 8
    rate: 50
    retry: {tries: 2, tiers: [30s, 1h]}
    start: 2026-01-02T03:04:05Z
`

func secrets(name string) (string, bool) {
	return map[string]string{"NEW": "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", "OLD": "plain secret!"}[name], name != "NONE"
}

func TestParseSubscriptions(t *testing.T) {
	got, err := ParseSubscriptions([]byte(wholeSubscription), SubscriptionContext{Getenv: secrets})
	if err != nil {
		t.Fatal(err)
	}
	s := got[0]
	if len(s.Config.Keys) != 2 || string(s.Config.Keys[0].Bytes()) != "0123456789abcdef" || string(s.Config.Keys[1].Bytes()) != "plain secret!" {
		t.Error("the keys are not the secrets'")
	}
	shown, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"orders","source":"heed/shop","types":["io.heed.message.received.v1","com.example.other"],` +
		`"filters":[{"exact":{"channel":"rcs","provider":"kaleyra"}},{"any":[{"prefix":{"subject":"ab"}},{"not":{"suffix":{"id":"z"}}},{"all":[{"exact":{"tenant":"one"}}]}]},{"sql":"provider = 'kaleyra'"}],` +
		`"sink":"https://example.com/hook","protocol":"HTTP","protocolsettings":{"method":"PUT","headers":{"Authorization":"Bearer abc"}},` +
		`"config":{"secret_env":["NEW","OLD"],"mode":"structured","ordering":"key","timeout":"5s","in_flight":8,"rate":50,"retry":{"tries":2,"tiers":["30s","1h"]},"start":"2026-01-02T03:04:05Z"}}`
	if diff := cmp.Diff(want, string(shown)); diff != "" {
		t.Error(diff)
	}
	again, err := ParseSubscriptions([]byte(`{"subscriptions":[`+string(shown)+`]}`), SubscriptionContext{Getenv: secrets})
	if err != nil {
		t.Fatal("what is shown cannot be read again: ", err)
	}
	reshown, _ := json.Marshal(again[0])
	if diff := cmp.Diff(string(shown), string(reshown)); diff != "" {
		t.Error(diff)
	}
}

func TestSubscriptionDefaults(t *testing.T) {
	got, err := ParseSubscriptions([]byte("subscriptions:\n- {id: a, sink: \"http://10.0.0.1/\"}\n- {id: b, sink: \"https://x/\", config: {start: earliest, retry: {tiers: []}}}"), SubscriptionContext{})
	if err != nil {
		t.Fatal(err)
	}
	c := got[0].Config
	if c.Mode != ModeBinary || c.Ordering != OrderNone || time.Duration(c.Timeout) != 15*time.Second || c.InFlight != 64 || c.Retry.Tries != 3 ||
		len(c.Retry.Tiers) != 1 || c.Start != StartLatest || got[0].Protocol != "HTTP" || got[0].Settings.Method != "POST" {
		t.Errorf("defaults: %+v", got[0])
	}
	if got[1].Config.Start != StartEarliest || len(got[1].Config.Retry.Tiers) != 0 {
		t.Errorf("given: %+v", got[1].Config)
	}
	if notes := got[0].Notes(); len(notes) != 2 || !strings.Contains(notes[0], "unsigned") || !strings.Contains(notes[1], "plain http") {
		t.Errorf("notes: %q", notes)
	}
	if empty, err := ParseSubscriptions([]byte("subscriptions: []"), SubscriptionContext{}); err != nil || len(empty) != 0 {
		t.Errorf("an empty list: %v, %v", empty, err)
	}
}

func TestParseSubscriptionsRefuses(t *testing.T) {
	entry := func(members string) string {
		return "subscriptions:\n- {id: a, sink: \"https://x/\", " + members + "}"
	}
	for _, c := range []struct{ file, want string }{
		{"", "should begin with"},
		{"subscriptions: [", "not YAML"},
		{"subscriptions: []\n---\na: 1", "more than one YAML document"},
		{"subscription: []", "there is no subscription"},
		{entry("types: [io.heed.mesage.received.v1]"), "not delivered to subscribers"},
		{entry("types: [io.heed.time.mark.v1]"), "not delivered to subscribers"},
		{entry("types: ['']"), "empty"},
		{entry("sinks: x"), "line 2: there is no sinks"},
		{entry("filters: [{regex: {type: x}}]"), `line 2: filter dialect "regex" is not known`},
		{entry("filters: [{exact: {type: x}, prefix: {type: y}}]"), "exactly one dialect"},
		{entry("filters: [{exact: {}}]"), "filters[0].exact: no attribute is named"},
		{entry("filters: [{exact: {Type: x}}]"), "no attribute name"},
		{entry("filters: [{exact: {data: x}}]"), "not its data"},
		{entry("filters: [{prefix: {subject: ''}}]"), "is empty"},
		{entry("filters: [{exact: {attempt: 5}}]"), "in quotes"},
		{entry("filters: [{all: []}]"), "at least one filter"},
		{entry("filters: [{any: [{not: {exact: {}}}]}]"), "filters[0].any[0].not.exact"},
		{entry("filters: [{sql: ' '}]"), "the expression is empty"},
		{"subscriptions:\n- {id: a}", "sink is missing"},
		{"subscriptions:\n- {id: a, sink: 'ftp://x'}", "begins with https://"},
		{"subscriptions:\n- {id: a, sink: 'https://u:p@x/'}", "carries a user"},
		{"subscriptions:\n- {id: a, sink: 'https://x/#y'}", "fragment"},
		{"subscriptions:\n- {sink: 'https://x/'}", "id is missing"},
		{"subscriptions:\n- {id: 'a b', sink: 'https://x/'}", "letters, digits"},
		{"subscriptions:\n- {id: a, sink: 'https://x/'}\n- {id: a, sink: 'https://x/'}", "line 3: subscription (a): the id stands already in line 2"},
		{entry("protocol: MQTT"), "not supported"},
		{entry("protocolsettings: {method: GET}"), "not supported"},
		{entry("protocolsettings: {headers: {ce-id: x}}"), "set by the delivery"},
		{entry("protocolsettings: {headers: {'a b': x}}"), "no header name"},
		{entry("config: {mode: xml}"), `mode "xml" is not known`},
		{entry("config: {mode: batch, ordering: key}"), "keeps no order"},
		{entry("config: {ordering: total}"), `ordering "total" is not known`},
		{entry("config: {timeout: 5}"), "time span"},
		{entry("config: {timeout: 2m}"), "more than"},
		{entry("config: {in_flight: 5000}"), "1 to 1000"},
		{entry("config: {retry: {tries: 50}}"), "1 to 10"},
		{entry("config: {retry: {tiers: [5s]}}"), "no tier"},
		{entry("config: {retry: {tiers: [2m, 30s]}}"), "should grow"},
		{entry("config: {start: yesterday}"), "start is latest"},
		{entry("config: {rate: -1}"), "rate"},
		{entry("config: {consent: {deny: withhold}}"), "config.consent is not supported"},
		{entry("config: {secret_env: NONE}"), "the environment has no NONE"},
		{entry("config: {secret_file: /none}"), "no such file"},
		{entry("config: {secret_env: BAD}"), "comes base64"},
	} {
		_, err := ParseSubscriptions([]byte(c.file), SubscriptionContext{
			Getenv: func(name string) (string, bool) { return "whsec_hunter2!", name == "BAD" },
			ReadFile: func(string) ([]byte, error) {
				return nil, errors.New("no such file")
			},
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngave %v; want an error with %q", c.file, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}
