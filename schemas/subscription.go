package schemas

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Subscription says who wants which events and how they are handed over. It has the shape of
// the CloudEvents Subscriptions API's object; what is ours alone stands under config.
type Subscription struct {
	ID     string   `yaml:"id" json:"id"`
	Source string   `yaml:"source" json:"source,omitempty"` // only events of exactly this source
	Types  []string `yaml:"types" json:"types,omitempty"`   // only events of these types; none: of every type
	// Filters must all hold. An event that they don't let through costs the subscriber nothing.
	Filters  []Filter           `yaml:"filters" json:"filters,omitempty"`
	Sink     string             `yaml:"sink" json:"sink"`
	Protocol string             `yaml:"protocol" json:"protocol"` // "HTTP"
	Settings HTTPSettings       `yaml:"protocolsettings" json:"protocolsettings,omitzero"`
	Config   SubscriptionConfig `yaml:"config" json:"config"`

	Line int `yaml:"-" json:"-"` // where it stands in the file
}

// HTTPSettings are CloudEvents' protocolsettings for HTTP.
type HTTPSettings struct {
	Method  string            `yaml:"method" json:"method,omitempty"`   // POST (default) or PUT
	Headers map[string]string `yaml:"headers" json:"headers,omitempty"` // sent with every delivery
}

// SubscriptionConfig is what CloudEvents leaves to the implementation.
type SubscriptionConfig struct {
	SecretEnv  OneOrMore `yaml:"secret_env" json:"secret_env,omitempty"`   // names of environment variables
	SecretFile OneOrMore `yaml:"secret_file" json:"secret_file,omitempty"` // paths
	// Mode defaults to structured where deliveries are signed, since the signature covers the
	// body alone and in binary mode the attributes are no part of it; else to binary.
	Mode     DeliveryMode `yaml:"mode" json:"mode"`
	Ordering Ordering     `yaml:"ordering" json:"ordering"`
	Timeout  Span         `yaml:"timeout" json:"timeout"`     // of one attempt, default 15s
	InFlight int          `yaml:"in_flight" json:"in_flight"` // events being delivered at once by one dispatcher, default 64
	Rate     Rate         `yaml:"rate" json:"rate,omitempty"` // deliveries a second by one dispatcher; 0 = no limit
	Retry    Retry        `yaml:"retry" json:"retry"`
	Start    Start        `yaml:"start" json:"start"`
	// Consent would ask before each delivery. It is read to be refused: a gate that is written
	// down and not there would be worse than none.
	Consent map[string]string `yaml:"consent" json:"-"`

	Keys []WebhookKey `yaml:"-" json:"-"` // the secrets' keys, in the order of the file
}

// DeliveryMode is the CloudEvents HTTP content mode.
type DeliveryMode string

// The content modes.
const (
	ModeBinary     DeliveryMode = "binary"
	ModeStructured DeliveryMode = "structured"
	ModeBatch      DeliveryMode = "batch"
)

// Ordering says what is kept in order.
type Ordering string

// The orderings.
const (
	OrderNone      Ordering = "none"      // nothing; the fastest
	OrderKey       Ordering = "key"       // the events of one person
	OrderPartition Ordering = "partition" // everything of one Kafka partition, one at a time
)

// Retry is what becomes of an event that the subscriber refuses while it takes others: Tries
// attempts within seconds, then one attempt after each tier's delay, then the dead-letter topic.
type Retry struct {
	Tries int    `yaml:"tries" json:"tries"` // default 3
	Tiers []Span `yaml:"tiers" json:"tiers"` // some of 30s, 2m, 10m, 1h, 6h; default [30s]; [] for none
}

// Limits of a subscription's numbers.
const (
	DefaultTimeout  = 15 * time.Second // Standard Webhooks: 15 to 30 s
	MaxTimeout      = time.Minute
	DefaultInFlight = 64
	MaxInFlight     = 1000 // so that what is in flight fits into the 4,096 bytes of commit metadata
	DefaultTries    = 3
	MaxTries        = 10
)

// Start says where a subscription that has never been delivered to begins.
type Start struct {
	word string
	at   time.Time
}

// The starts that are no point in time.
var (
	StartLatest   = Start{word: "latest"}
	StartEarliest = Start{word: "earliest"}
)

// Time is the point in time of the start, which begins with the first event that was recorded then
// or later; ok is false for latest and earliest.
func (s Start) Time() (t time.Time, ok bool) { return s.at, !s.at.IsZero() }

// String is the start as the file has it.
func (s Start) String() string {
	if s.at.IsZero() {
		return cmp.Or(s.word, StartLatest.word)
	}
	return s.at.Format(time.RFC3339Nano)
}

// MarshalText writes the start as the file has it.
func (s Start) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalYAML reads latest, earliest or an RFC 3339 time.
func (s *Start) UnmarshalYAML(node *yaml.Node) error {
	switch node.Value {
	case StartLatest.word, StartEarliest.word:
		*s = Start{word: node.Value}
		return nil
	}
	at, err := time.Parse(time.RFC3339, node.Value)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: start is latest, earliest or a time such as 2026-01-02T03:04:05Z", node.Line)}}
	}
	*s = Start{at: at}
	return nil
}

// Span is a length of time as files have it: 15s, 750ms, 2m.
type Span time.Duration

// MarshalText writes the span as the file has it.
func (s Span) MarshalText() ([]byte, error) {
	text := time.Duration(s).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return []byte(text), nil
}

// UnmarshalYAML reads a positive span.
func (s *Span) UnmarshalYAML(node *yaml.Node) error {
	d, err := time.ParseDuration(node.Value)
	if err != nil || d <= 0 {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a time span such as 15s or 750ms, got %q", node.Line, node.Value)}}
	}
	*s = Span(d)
	return nil
}

// WebhookKey is a Standard Webhooks signing key. It cannot be printed.
type WebhookKey struct{ key []byte }

// Bytes is the key itself.
func (k WebhookKey) Bytes() []byte { return k.key }

// Format redacts under every verb.
func (WebhookKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// ParseWebhookKey reads a Standard Webhooks secret: "whsec_" and base64. Without the prefix it
// takes base64 as the specification's libraries do, and anything else as the key's own bytes.
func ParseWebhookKey(secret string) (WebhookKey, error) {
	if strings.HasPrefix(secret, "whsk_") || strings.HasPrefix(secret, "whpk_") {
		return WebhookKey{}, errors.New("asymmetric keys (whsk_, whpk_) are not supported; use a shared secret (whsec_…)")
	}
	encoded, prefixed := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err == nil && len(key) > 0:
		return WebhookKey{key}, nil
	case prefixed:
		return WebhookKey{}, errors.New("after whsec_ comes base64 (make a secret with: echo whsec_$(openssl rand -base64 32))")
	case secret == "":
		return WebhookKey{}, errors.New("the secret is empty")
	}
	return WebhookKey{[]byte(secret)}, nil
}

// SubscriptionContext is what a subscriptions file is read with: how secrets are fetched. Where
// a function is nil those secrets stay unread, for tools that only want to know what there is.
type SubscriptionContext struct {
	Getenv   func(name string) (string, bool)
	ReadFile func(path string) ([]byte, error)
}

// ParseSubscriptions reads a subscriptions file (YAML, or JSON, which is YAML too). The error
// names everything that is wrong with it, by line and subscription, and never a secret.
func ParseSubscriptions(data []byte, with SubscriptionContext) ([]Subscription, error) {
	var file struct {
		Subscriptions *[]Subscription `yaml:"subscriptions"`
	}
	var wrong problems
	lines, ok := wrong.read(data, "subscriptions", &file)
	if !ok {
		return nil, errors.Join(wrong...)
	}
	if file.Subscriptions == nil {
		if len(wrong) == 0 {
			wrong.add("the file should begin with \"subscriptions:\" and a list, which may be empty: []")
		}
		return nil, errors.Join(wrong...)
	}
	all, seen := *file.Subscriptions, map[string]int{}
	for i := range all {
		s := &all[i]
		if i < len(lines) { // what an alias brings in has none
			s.Line = lines[i]
		}
		if first, dup := seen[s.ID]; dup && s.ID != "" {
			wrong.in(s, "the id stands already in line %d", first)
		}
		seen[s.ID] = s.Line
		if len(wrong) == 0 || s.ID != "" { // after a type error an entry may be empty
			s.check(&wrong, with)
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	return all, nil
}

// subscriptionID keeps ids usable in a consumer group's name, a path and a metric label.
var subscriptionID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (s *Subscription) check(wrong *problems, with SubscriptionContext) {
	switch {
	case s.ID == "":
		wrong.in(s, "id is missing")
	case !subscriptionID.MatchString(s.ID):
		wrong.in(s, "id %q may have letters, digits and . _ - only, at most 100, and begins with a letter or digit", s.ID)
	}
	s.checkTypes(wrong)
	for i := range s.Filters {
		for _, complaint := range s.Filters[i].problems(fmt.Sprintf("filters[%d]", i)) {
			wrong.in(s, "%s", complaint)
		}
	}
	sink, err := url.Parse(s.Sink)
	switch {
	case s.Sink == "":
		wrong.in(s, "sink is missing: the URL that events are sent to")
	case err != nil || sink.Scheme != "http" && sink.Scheme != "https" || sink.Host == "":
		wrong.in(s, "sink should be a URL that begins with https:// or http://")
	case sink.User != nil:
		wrong.in(s, "sink carries a user or password; put credentials into protocolsettings.headers")
	case sink.Fragment != "":
		wrong.in(s, "sink has a fragment (#…), which no server would see")
	}
	if s.Protocol = cmp.Or(s.Protocol, "HTTP"); s.Protocol != "HTTP" {
		wrong.in(s, "protocol %q is not supported; HTTP is", s.Protocol)
	}
	if s.Settings.Method = cmp.Or(s.Settings.Method, "POST"); s.Settings.Method != "POST" && s.Settings.Method != "PUT" {
		wrong.in(s, "protocolsettings.method %q is not supported; POST and PUT are", s.Settings.Method)
	}
	for name, value := range s.Settings.Headers {
		switch {
		case !headerName.MatchString(name) || strings.ContainsAny(value, "\r\n\x00"):
			wrong.in(s, "protocolsettings.headers: %q is no header name, or its value has a line break", name)
		case reservedHeader(name):
			wrong.in(s, "protocolsettings.headers: %s is set by the delivery itself", name)
		}
	}
	s.Config.check(s, wrong, with)
}

// reservedHeader says whether a header belongs to the delivery: CloudEvents, Standard Webhooks,
// tracing and HTTP's own.
func reservedHeader(name string) bool {
	name = strings.ToLower(name)
	own := []string{"content-type", "content-length", "host", "connection", "transfer-encoding", "traceparent", "tracestate"}
	return slices.Contains(own, name) || strings.HasPrefix(name, "ce-") || strings.HasPrefix(name, "webhook-")
}

// checkTypes refuses a type of ours that nobody is ever delivered: it is a typing error, or
// plumbing. Types that are not ours pass: they may come.
func (s *Subscription) checkTypes(wrong *problems) {
	for _, t := range s.Types {
		if t == "" {
			wrong.in(s, "types: an entry is empty")
		}
		if !strings.HasPrefix(t, typePrefix) {
			continue
		}
		if k, ok := KindOf(t); !ok || !slices.Contains(DeliverableKinds(), k) {
			wrong.in(s, "types: %s is not delivered to subscribers; there are %s", t, joined(DeliverableKinds()))
		}
	}
}

// DeliverableKinds lists the kinds that subscribers are shown: those on the family topics.
func DeliverableKinds() []Kind {
	var kinds []Kind
	for _, k := range Kinds() {
		if slices.Contains(DeliveredTopics(), TopicOf(k)) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// DeliveredTopics lists the topics whose events are delivered.
func DeliveredTopics() []string {
	return []string{TopicInbound, TopicStatus, TopicCalls, TopicAccount, TopicConsent}
}

func (c *SubscriptionConfig) check(s *Subscription, wrong *problems, with SubscriptionContext) {
	signed := len(c.SecretEnv)+len(c.SecretFile) > 0
	if c.Mode == "" && signed {
		c.Mode = ModeStructured
	}
	c.Mode = cmp.Or(c.Mode, ModeBinary)
	if known := []DeliveryMode{ModeBinary, ModeStructured, ModeBatch}; !slices.Contains(known, c.Mode) {
		wrong.in(s, "config.mode %q is not known; known are %s", c.Mode, joined(known))
	}
	c.Ordering = cmp.Or(c.Ordering, OrderNone)
	if known := []Ordering{OrderNone, OrderKey, OrderPartition}; !slices.Contains(known, c.Ordering) {
		wrong.in(s, "config.ordering %q is not known; known are %s", c.Ordering, joined(known))
	}
	if c.Mode == ModeBatch && c.Ordering != OrderNone {
		wrong.in(s, "config.mode batch keeps no order; use ordering none, or another mode")
	}
	if c.Timeout = cmp.Or(c.Timeout, Span(DefaultTimeout)); time.Duration(c.Timeout) > MaxTimeout {
		wrong.in(s, "config.timeout is more than %s", MaxTimeout)
	}
	if c.InFlight = cmp.Or(c.InFlight, DefaultInFlight); c.InFlight < 1 || c.InFlight > MaxInFlight {
		wrong.in(s, "config.in_flight should be 1 to %d", MaxInFlight)
	}
	if c.Retry.Tries = cmp.Or(c.Retry.Tries, DefaultTries); c.Retry.Tries < 1 || c.Retry.Tries > MaxTries {
		wrong.in(s, "config.retry.tries should be 1 to %d", MaxTries)
	}
	tiers := RetryTiers()
	if c.Retry.Tiers == nil {
		c.Retry.Tiers = []Span{Span(tiers[0].Delay)}
	}
	for i, span := range c.Retry.Tiers {
		if !slices.ContainsFunc(tiers, func(t RetryTier) bool { return t.Delay == time.Duration(span) }) {
			wrong.in(s, "config.retry.tiers: %s is no tier; there are 30s, 2m, 10m, 1h, 6h", time.Duration(span))
		}
		if i > 0 && span <= c.Retry.Tiers[i-1] {
			wrong.in(s, "config.retry.tiers should grow")
		}
	}
	if c.Consent != nil {
		wrong.in(s, "config.consent is not supported by this version; leave it out")
	}
	if c.Start == (Start{}) {
		c.Start = StartLatest
	}
	for i, name := range c.SecretEnv {
		if with.Getenv == nil {
			break
		}
		value, ok := with.Getenv(name)
		if !ok {
			wrong.in(s, "config.secret_env: the environment has no %s", name)
			continue
		}
		c.keep(s, wrong, fmt.Sprintf("config.secret_env[%d] (%s)", i, name), value)
	}
	for i, path := range c.SecretFile {
		if with.ReadFile == nil {
			break
		}
		value, err := with.ReadFile(path)
		if err != nil {
			wrong.in(s, "config.secret_file[%d]: %v", i, err)
			continue
		}
		c.keep(s, wrong, fmt.Sprintf("config.secret_file[%d]", i), string(value))
	}
}

func (c *SubscriptionConfig) keep(s *Subscription, wrong *problems, where, secret string) {
	key, err := ParseWebhookKey(strings.TrimSpace(secret))
	if err != nil {
		wrong.in(s, "%s: %v", where, err)
		return
	}
	c.Keys = append(c.Keys, key)
}

// Notes are remarks for the owner of the subscription: nothing is wrong, but it should be meant.
func (s *Subscription) Notes() []string {
	var notes []string
	if len(s.Config.SecretEnv)+len(s.Config.SecretFile) == 0 {
		notes = append(notes, fmt.Sprintf("subscription %s: no secret, deliveries are unsigned", s.ID))
	} else if s.Config.Mode == ModeBinary {
		notes = append(notes, fmt.Sprintf("subscription %s: the signature covers the body alone; in binary mode the event's attributes are not signed", s.ID))
	}
	if strings.HasPrefix(s.Sink, "http://") {
		notes = append(notes, fmt.Sprintf("subscription %s: the sink is plain http, readable on the way", s.ID))
	}
	return notes
}

// in adds a problem of a subscription.
func (p *problems) in(s *Subscription, format string, args ...any) {
	p.of(s.Line, "subscription", s.ID, format, args...)
}
