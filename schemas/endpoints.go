package schemas

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Endpoint is one entry of the endpoints file: a URL that a provider posts to, what its
// callbacks are, how they prove where they come from, and what we answer.
type Endpoint struct {
	Origin    `yaml:",inline"`
	Lane      Lane       `yaml:"lane"`
	Verify    []Verify   `yaml:"verify"` // every entry must hold
	Handshake *Handshake `yaml:"handshake"`
	Answer    Answer     `yaml:"answer"`
	Rate      Rate       `yaml:"rate"` // callbacks per second; 0 = no limit

	Line int `yaml:"-"` // where it stands in the file
}

// Lane says how urgent an endpoint's callbacks are: receipts must never queue in front of a STOP.
type Lane string

// The lanes.
const (
	LaneFast Lane = "fast" // heed.callbacks
	LaneBulk Lane = "bulk" // heed.callbacks.bulk
)

// Topic is the raw topic of the lane.
func (l Lane) Topic() string {
	if l == LaneBulk {
		return TopicCallbacksBulk
	}
	return TopicCallbacks
}

// Scheme is how a callback proves where it comes from.
type Scheme string

// The schemes. Several entries of an endpoint must all hold.
const (
	SchemeNone             Scheme = "none" // anybody who knows the URL; has to be said aloud
	SchemeBearer           Scheme = "bearer"
	SchemeBasic            Scheme = "basic"
	SchemeHeader           Scheme = "header"
	SchemeHMAC             Scheme = "hmac"
	SchemeTelesign         Scheme = "telesign"
	SchemeExotel           Scheme = "exotel"
	SchemeMobtexting       Scheme = "mobtexting"
	SchemeMeta             Scheme = "meta"
	SchemeGoogleRBM        Scheme = "google-rbm"
	SchemeStandardWebhooks Scheme = "standard-webhooks"
	SchemeIP               Scheme = "ip"
)

// Schemes lists every scheme.
func Schemes() []Scheme {
	return []Scheme{
		SchemeNone, SchemeBearer, SchemeBasic, SchemeHeader, SchemeHMAC, SchemeTelesign, SchemeExotel,
		SchemeMobtexting, SchemeMeta, SchemeGoogleRBM, SchemeStandardWebhooks, SchemeIP,
	}
}

// Verify is one proof that a callback has to bring. Within an entry any of its secrets will do,
// so a secret is changed without a gap: add the new one, change it at the provider, remove the old.
type Verify struct {
	Scheme     Scheme         `yaml:"scheme"`
	SecretEnv  OneOrMore      `yaml:"secret_env"`  // names of environment variables
	SecretFile OneOrMore      `yaml:"secret_file"` // paths
	CustomerID string         `yaml:"customer_id"` // telesign
	User       string         `yaml:"user"`        // basic
	Header     string         `yaml:"header"`      // header, hmac
	Algorithm  string         `yaml:"algorithm"`   // hmac: sha256 (default), sha512, sha1
	Encoding   string         `yaml:"encoding"`    // hmac: hex (default), base64
	Prefix     string         `yaml:"prefix"`      // hmac: what stands before the digest, such as "sha256="
	Allow      []netip.Prefix `yaml:"allow"`       // ip

	Secrets []Secret `yaml:"-"` // the values, in the order of the file
}

// Handshake holds the token that a verification request has to bring (Meta's verify token,
// Google's client token, Mobtexting's validation key, "?token=" for CloudEvents and Exotel).
type Handshake struct {
	TokenEnv  OneOrMore `yaml:"token_env"`
	TokenFile OneOrMore `yaml:"token_file"`

	Tokens []Secret `yaml:"-"`
}

// Answer is what a callback is answered once it is kept. The zero value is 200 without a body:
// the one answer that every provider takes for success.
type Answer struct {
	Status      int    `yaml:"status"`
	ContentType string `yaml:"content_type"`
	Body        string `yaml:"body"`
}

// Rate is callbacks per second: 50, or "50/s".
type Rate float64

// UnmarshalYAML reads a rate.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error {
	text := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(node.Value), "/s"))
	n, err := strconv.ParseFloat(text, 64)
	if node.Kind != yaml.ScalarNode || err != nil || !(n > 0 && n <= 1e6) {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: rate is callbacks per second, such as 50", node.Line)}}
	}
	*r = Rate(n)
	return nil
}

// OneOrMore is a word or a list of words.
type OneOrMore []string

// UnmarshalYAML reads one word or a list.
func (o *OneOrMore) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*o = OneOrMore{node.Value}
		return nil
	}
	return node.Decode((*[]string)(o))
}

// Secret is a credential. It cannot be printed or logged; use Reveal where the value is meant.
type Secret struct{ value string }

// NewSecret wraps a credential.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal is the credential itself.
func (s Secret) Reveal() string { return s.value }

// Format redacts under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// MarshalJSON redacts.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// EndpointContext is what an endpoints file is read with.
type EndpointContext struct {
	Providers []string                       // those that have an adapter
	Presets   func(provider string) []string // the provider's mapping presets; none: its bodies can't be mapped
	// Getenv and ReadFile fetch secrets. Where both are nil the secrets stay unread, for tools that
	// only want to know what the endpoints are.
	Getenv   func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
}

// ParseEndpoints reads an endpoints file. The error names everything that is wrong with it, by
// line and endpoint, and never a secret.
func ParseEndpoints(data []byte, with EndpointContext) ([]Endpoint, error) {
	var file struct {
		Endpoints []Endpoint `yaml:"endpoints"`
	}
	var wrong problems
	lines, ok := wrong.read(data, "endpoints", &file)
	if !ok {
		return nil, errors.Join(wrong...)
	}
	seen := map[string]int{}
	for i := range file.Endpoints {
		e := &file.Endpoints[i]
		if i < len(lines) { // what an alias brings in has none
			e.Line = lines[i]
		}
		if first, dup := seen[e.Endpoint]; dup && e.Endpoint != "" {
			wrong.at(e, "the id stands already in line %d", first)
		}
		seen[e.Endpoint] = e.Line
		e.fillDefaults()
		e.check(&wrong, with)
	}
	if len(file.Endpoints) == 0 && len(wrong) == 0 {
		wrong.add("the file has no endpoints; it should begin with \"endpoints:\" and a list")
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return file.Endpoints, nil
}

func (e *Endpoint) fillDefaults() {
	e.Lane = cmp.Or(e.Lane, LaneFast)
	e.Channel = cmp.Or(e.Channel, AnyChannel)
	e.Kind = cmp.Or(e.Kind, EndpointAny)
	e.Answer.Status = cmp.Or(e.Answer.Status, http.StatusOK)
	for i := range e.Verify {
		if v := &e.Verify[i]; v.Scheme == SchemeHMAC {
			v.Algorithm = cmp.Or(v.Algorithm, "sha256")
			v.Encoding = cmp.Or(v.Encoding, "hex")
		}
	}
}

// endpointID keeps ids usable as a path segment, a URI reference and a metric label.
var endpointID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$`)

func (e *Endpoint) check(wrong *problems, with EndpointContext) {
	switch {
	case e.Endpoint == "":
		wrong.at(e, "id is missing: the last part of the URL, unguessable (make one with: heed endpoints new)")
	case !endpointID.MatchString(e.Endpoint):
		wrong.at(e, "id %q may have letters, digits and . _ ~ - only, at most 100, and begins with a letter or digit", e.Endpoint)
	}
	switch {
	case e.Provider == "":
		wrong.at(e, "provider is missing; known are %s", strings.Join(with.Providers, ", "))
	case !slices.Contains(with.Providers, e.Provider):
		wrong.at(e, "provider %q is not known; known are %s", e.Provider, strings.Join(with.Providers, ", "))
	}
	if !slices.Contains(append(Channels(), AnyChannel), e.Channel) {
		wrong.at(e, "channel %q is not known; known are %s, any", e.Channel, joined(Channels()))
	}
	if kinds := []EndpointKind{EndpointInbound, EndpointStatus, EndpointAny}; !slices.Contains(kinds, e.Kind) {
		wrong.at(e, "kind %q is not known; known are %s", e.Kind, joined(kinds))
	}
	if lanes := []Lane{LaneFast, LaneBulk}; !slices.Contains(lanes, e.Lane) {
		wrong.at(e, "lane %q is not known; known are %s", e.Lane, joined(lanes))
	}
	if c := e.DefaultCountry; c != "" && !isCountry(c) {
		wrong.at(e, "default_country %q should be two capital letters, such as IN", c)
	}
	if err := CheckZone(e.NaiveZone); err != nil {
		wrong.at(e, "naive_zone: %v", err)
	}
	if e.Answer.Status < 200 || e.Answer.Status > 299 {
		wrong.at(e, "answer.status %d would tell the provider that the callback was not taken; use 200", e.Answer.Status)
	}
	if len(e.Answer.Body) > 64<<10 {
		wrong.at(e, "answer.body is longer than 64 KiB")
	}
	if strings.ContainsAny(e.Answer.ContentType, "\r\n\x00") {
		wrong.at(e, "answer.content_type has a line break")
	}
	e.checkMapping(wrong, with)
	if len(e.Verify) == 0 {
		wrong.at(e, "verify is missing; who lets anybody in who knows the URL must say so: verify: [{scheme: none}]")
	}
	for i := range e.Verify {
		v := &e.Verify[i]
		if v.Scheme == SchemeNone && len(e.Verify) > 1 {
			wrong.at(e, "verify: none stands beside other schemes; all must hold, so none says nothing there")
		}
		v.check(e, wrong)
		v.Secrets = fetch(e, wrong, with, "verify "+string(v.Scheme), v.SecretEnv, v.SecretFile)
	}
	if h := e.Handshake; h != nil {
		if len(h.TokenEnv)+len(h.TokenFile) == 0 {
			wrong.at(e, "handshake needs token_env or token_file")
		}
		h.Tokens = fetch(e, wrong, with, "handshake", h.TokenEnv, h.TokenFile)
	}
}

func (e *Endpoint) checkMapping(wrong *problems, with EndpointContext) {
	if e.Mapping == nil {
		return
	}
	var presets []string
	if with.Presets != nil {
		presets = with.Presets(e.Provider)
	}
	for _, problem := range e.Mapping.Problems(e.Provider, presets) {
		wrong.at(e, "%s", problem)
	}
}

// Problems says what is wrong with a mapping of a provider whose adapter has these presets (none:
// its bodies are not the customer's to define).
func (m *Mapping) Problems(provider string, presets []string) []string {
	var all []string
	switch {
	case len(presets) == 0:
		all = append(all, fmt.Sprintf("mapping: the bodies of provider %q are its own, not the customer's; leave mapping out", provider))
	case m.Preset == "" && len(m.Fields) == 0:
		all = append(all, "mapping takes a preset, fields, or both: then fields change single keys of the preset")
	case m.Preset != "" && !slices.Contains(presets, m.Preset):
		all = append(all, fmt.Sprintf("mapping.preset %q is not known; provider %s has %s", m.Preset, provider, strings.Join(presets, ", ")))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		if !slices.Contains(MappingNames(), name) {
			all = append(all, fmt.Sprintf("mapping.fields: %q is no name of ours; there are %s", name, strings.Join(MappingNames(), ", ")))
		}
	}
	return all
}

// guessable is the length below which an id is no secret: 16 characters of heed endpoints new
// are 80 bits.
const guessable = 16

// Notes says what is valid but should be known.
func (e *Endpoint) Notes() []string {
	var notes []string
	for _, v := range e.Verify {
		if v.Scheme != SchemeNone {
			continue
		}
		note := "takes callbacks from anybody who knows its URL (verify: none)"
		if len(e.Endpoint) < guessable {
			note += ", and its id is short enough to be guessed: heed endpoints new makes a better one"
		}
		notes = append(notes, note)
	}
	if e.Answer.Status != http.StatusOK {
		notes = append(notes, fmt.Sprintf("answers %d; some providers take nothing but 200 for success, and send again", e.Answer.Status))
	}
	return notes
}

// schemeFields says which members a scheme takes beside its secrets; * marks what it needs.
var schemeFields = map[Scheme][]string{
	SchemeNone: {}, SchemeBearer: {"secret*"}, SchemeBasic: {"secret*", "user*"}, SchemeHeader: {"secret*", "header*"},
	SchemeHMAC:     {"secret*", "header*", "algorithm", "encoding", "prefix"},
	SchemeTelesign: {"secret*", "customer_id"}, SchemeExotel: {"secret*"}, SchemeMobtexting: {"secret*"}, SchemeMeta: {"secret*"},
	SchemeGoogleRBM: {"secret*"}, SchemeStandardWebhooks: {"secret*"}, SchemeIP: {"allow*"},
}

func (v *Verify) check(e *Endpoint, wrong *problems) {
	takes, ok := schemeFields[v.Scheme]
	if !ok {
		wrong.at(e, "verify: scheme %q is not known; known are %s", v.Scheme, joined(Schemes()))
		return
	}
	given := []struct {
		name string
		set  bool
	}{
		{"secret", len(v.SecretEnv)+len(v.SecretFile) > 0}, {"customer_id", v.CustomerID != ""}, {"user", v.User != ""},
		{"header", v.Header != ""}, {"algorithm", v.Algorithm != ""}, {"encoding", v.Encoding != ""}, {"prefix", v.Prefix != ""},
		{"allow", len(v.Allow) > 0},
	}
	for _, g := range given {
		shown := g.name
		if g.name == "secret" {
			shown = "secret_env or secret_file"
		}
		switch {
		case g.set && !slices.Contains(takes, g.name) && !slices.Contains(takes, g.name+"*"):
			wrong.at(e, "verify %s: takes no %s", v.Scheme, shown)
		case !g.set && slices.Contains(takes, g.name+"*"):
			wrong.at(e, "verify %s: needs %s", v.Scheme, shown)
		}
	}
	if v.Header != "" && !headerName.MatchString(v.Header) {
		wrong.at(e, "verify %s: %q is no header name", v.Scheme, v.Header)
	}
	if v.Scheme == SchemeHMAC {
		if known := []string{"sha256", "sha512", "sha1"}; !slices.Contains(known, v.Algorithm) {
			wrong.at(e, "verify hmac: algorithm %q is not known; known are %s", v.Algorithm, strings.Join(known, ", "))
		}
		if known := []string{"hex", "base64"}; !slices.Contains(known, v.Encoding) {
			wrong.at(e, "verify hmac: encoding %q is not known; known are %s", v.Encoding, strings.Join(known, ", "))
		}
	}
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// fetch reads secrets where the context says how.
func fetch(e *Endpoint, wrong *problems, with EndpointContext, what string, names, paths OneOrMore) []Secret {
	var secrets []Secret
	keep := func(from, value string) {
		if value = strings.TrimSpace(value); value == "" {
			wrong.at(e, "%s: %s is empty", what, from)
			return
		}
		secrets = append(secrets, Secret{value})
	}
	for _, name := range names {
		if with.Getenv == nil {
			break
		}
		value, ok := with.Getenv(name)
		if !ok {
			wrong.at(e, "%s: the environment has no %s", what, name)
			continue
		}
		keep(name, value)
	}
	for _, path := range paths {
		if with.ReadFile == nil {
			break
		}
		value, err := with.ReadFile(path)
		if err != nil {
			wrong.at(e, "%s: %v", what, err)
			continue
		}
		keep(path, string(value))
	}
	return secrets
}

// at adds a problem of an endpoint.
func (p *problems) at(e *Endpoint, format string, args ...any) {
	p.of(e.Line, "endpoint", e.Endpoint, format, args...)
}

func isCountry(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

func joined[T ~string](words []T) string {
	plain := make([]string, len(words))
	for i, w := range words {
		plain[i] = string(w)
	}
	return strings.Join(plain, ", ")
}
