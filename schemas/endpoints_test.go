package schemas_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/schemas"
)

func context() schemas.EndpointContext {
	return schemas.EndpointContext{
		Providers: []string{"exotel", "kaleyra", "mobtexting", "telesign"},
		Presets: func(provider string) []string {
			if provider == "kaleyra" {
				return []string{"sms-dlr", "sms-mo"}
			}
			return nil
		},
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"A": "secret-a", "B": "secret-b", "BLANK": " "}[name]
			return v, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			if path == "/run/secret" {
				return []byte("secret-of-file\n"), nil
			}
			return nil, errors.New("open " + path + ": no such file or directory")
		},
	}
}

func TestParseEndpoints(t *testing.T) {
	got, err := schemas.ParseEndpoints([]byte(`
endpoints:
  - id: k-3f9a
    provider: kaleyra
    channel: rcs
    kind: inbound
    tenant: acme
    brand: acme-shop
    agent: mmx_traffic
    default_country: IN
    naive_zone: Asia/Kolkata
    verify:
      - {scheme: header, header: X-Token, secret_env: [A, B]}
      - {scheme: ip, allow: [10.0.0.0/8]}
    handshake: {token_file: /run/secret}
    answer: {body: ok, content_type: text/plain}
    mapping: {preset: sms-mo}
    rate: 50/s
  - {id: t, provider: telesign, lane: bulk, verify: [{scheme: none}]}
`), context())
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Endpoint{
		{
			Origin: schemas.Origin{
				Endpoint: "k-3f9a", Provider: "kaleyra", Channel: "rcs", Kind: "inbound", Tenant: "acme", Brand: "acme-shop", Agent: "mmx_traffic",
				DefaultCountry: "IN", NaiveZone: "Asia/Kolkata", Mapping: &schemas.Mapping{Preset: "sms-mo"},
			},
			Lane: "fast",
			Verify: []schemas.Verify{
				{Scheme: "header", Header: "X-Token", SecretEnv: []string{"A", "B"}, Secrets: []schemas.Secret{schemas.NewSecret("secret-a"), schemas.NewSecret("secret-b")}},
				{Scheme: "ip", Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
			},
			Handshake: &schemas.Handshake{TokenFile: []string{"/run/secret"}, Tokens: []schemas.Secret{schemas.NewSecret("secret-of-file")}},
			Answer:    schemas.Answer{Status: 200, ContentType: "text/plain", Body: "ok"},
			Rate:      50, Line: 3,
		},
		{Origin: schemas.Origin{Endpoint: "t", Provider: "telesign", Channel: "any", Kind: "any"}, Lane: "bulk", Verify: []schemas.Verify{{Scheme: "none"}}, Answer: schemas.Answer{Status: 200}, Line: 19},
	}
	same := cmp.Options{
		cmp.Comparer(func(a, b schemas.Secret) bool { return a.Reveal() == b.Reveal() }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestParseEndpointsRefuses: one file, everything wrong with it at once, each with its line.
func TestParseEndpointsRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"not YAML", "endpoints: [", []string{"not YAML", "line 1"}},
		{"empty", "", []string{"no endpoints"}},
		{"unknown members", "endpoints:\n- {id: a, provider: kaleyra, verify: [{scheme: none}], colour: red}\nextra: 1\n", []string{"line 2: there is no colour", "line 3: there is no extra"}},
		{"unknown provider", "endpoints:\n- {id: a, provider: kaleira, verify: [{scheme: none}]}\n", []string{`line 2: endpoint (a): provider "kaleira" is not known; known are exotel, kaleyra`}},
		{"no id, no provider", "endpoints:\n- verify: [{scheme: none}]\n", []string{"line 2: endpoint: id is missing", "provider is missing"}},
		{"bad id", "endpoints:\n- {id: a/b, provider: kaleyra, verify: [{scheme: none}]}\n", []string{`id "a/b"`}},
		{"duplicate", "endpoints:\n- {id: a, provider: kaleyra, verify: [{scheme: none}]}\n\n- {id: a, provider: kaleyra, verify: [{scheme: none}]}\n", []string{"line 4: endpoint (a): the id stands already in line 2"}},
		{"unsigned", "endpoints:\n- {id: a, provider: kaleyra}\n", []string{"line 2: endpoint (a): verify is missing", "scheme: none"}},
		{"words", "endpoints:\n- {id: a, provider: kaleyra, channel: fax, kind: x, lane: slow, default_country: india, naive_zone: IST/5, answer: {status: 500}, rate: -1, verify: [{scheme: magic}]}\n",
			[]string{"line 2: rate is callbacks per second", `channel "fax"`, `kind "x"`, `lane "slow"`, `default_country "india"`, `naive_zone: "IST/5"`, "answer.status 500", `scheme "magic"`}},
		{"scheme members", "endpoints:\n- {id: a, provider: kaleyra, verify: [{scheme: bearer}, {scheme: none, secret_env: A}, {scheme: hmac, secret_env: A, algorithm: md5, encoding: hex32}, {scheme: basic, secret_env: A, header: X}, {scheme: ip}]}\n",
			[]string{"bearer: needs secret_env or secret_file", "none: takes no secret_env", "none stands beside", "hmac: needs header", `algorithm "md5"`, `encoding "hex32"`, "basic: needs user", "basic: takes no header", "ip: needs allow"}},
		{"secrets", "endpoints:\n- {id: a, provider: kaleyra, verify: [{scheme: bearer, secret_env: [NOPE, BLANK], secret_file: /nope}], handshake: {}}\n",
			[]string{"the environment has no NOPE", "BLANK is empty", "open /nope", "handshake needs"}},
		{"mapping", "endpoints:\n- {id: a, provider: exotel, mapping: {preset: x}, verify: [{scheme: none}]}\n- {id: b, provider: kaleyra, mapping: {preset: x}, verify: [{scheme: none}]}\n- {id: c, provider: kaleyra, mapping: {}, verify: [{scheme: none}]}\n",
			[]string{"(a): mapping: the bodies", `(b): mapping.preset "x" is not known; provider kaleyra has sms-dlr, sms-mo`, "(c): mapping takes"}},
		{"mapping names", "endpoints:\n- {id: a, provider: kaleyra, mapping: {fields: {usr: msisdn, text: body}}, verify: [{scheme: none}]}\n",
			[]string{`(a): mapping.fields: "usr" is no name of ours; there are action, business`}},
		{"no entry", "endpoints:\n-\n- a word\n- {id: a, provider: nobody, verify: [{scheme: none}]}\n",
			[]string{"line 2: the entry is empty", "line 3: cannot unmarshal", `line 4: endpoint (a): provider "nobody"`}},
		{"from elsewhere", "x: &x [{id: a}]\nendpoints: *x\n", []string{"line 1: there is no x", "(a): provider is missing"}},
		{"two documents", "endpoints:\n- {id: a, provider: kaleyra, verify: [{scheme: none}]}\n---\na: 1\n", []string{"more than one YAML document"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := schemas.ParseEndpoints([]byte(c.file), context())
			if err == nil {
				t.Fatalf("taken: %+v", got)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			for _, secret := range []string{"secret-a", "secret-b", "secret-of-file"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells a secret:\n%v", err)
				}
			}
		})
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s := schemas.NewSecret("hush")
	for _, got := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprintf("%+v", schemas.Verify{Secrets: []schemas.Secret{s}})} {
		if strings.Contains(got, "hush") || strings.Contains(got, "68757368") {
			t.Errorf("printed: %s", got)
		}
	}
}

func TestOriginAttributes(t *testing.T) {
	for _, want := range []schemas.Origin{
		{},
		{Provider: "kaleyra"},
		{Endpoint: "e", Provider: "kaleyra", Channel: "rcs", Kind: "inbound", Tenant: "t", Brand: "b", Agent: "a", DefaultCountry: "IN", NaiveZone: "UTC", Mapping: &schemas.Mapping{Fields: map[string]string{"user": "msisdn"}}},
	} {
		attributes := map[string]string{}
		for name, value := range want.Attributes {
			attributes[name] = value
		}
		got, err := schemas.OriginOf(func(name string) string { return attributes[name] })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}
