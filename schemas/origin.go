package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	_ "time/tzdata" // naive_zone must mean the same on every machine
)

// Origin is what a raw record says of the endpoint that it came in by: everything that an
// adapter may need to know beside the request. Ingest copies it from the endpoints file onto
// the record, so a record is understood the same way for as long as it is kept, whatever the
// file says by then (design I5), and the normalizer needs no file. The same keys stand in an
// entry of the endpoints file and in the input of `heed explain -`.
type Origin struct {
	Endpoint       string       `json:"id,omitempty" yaml:"id"`
	Provider       string       `json:"provider" yaml:"provider"`
	Channel        Channel      `json:"channel,omitempty" yaml:"channel"` // or "any"
	Kind           EndpointKind `json:"kind,omitempty" yaml:"kind"`
	Tenant         string       `json:"tenant,omitempty" yaml:"tenant"`
	Brand          string       `json:"brand,omitempty" yaml:"brand"`
	Agent          string       `json:"agent,omitempty" yaml:"agent"`
	DefaultCountry string       `json:"default_country,omitempty" yaml:"default_country"` // ISO 3166-1 alpha-2
	NaiveZone      string       `json:"naive_zone,omitempty" yaml:"naive_zone"`           // IANA name, e.g. Asia/Kolkata
	Mapping        *Mapping     `json:"mapping,omitempty" yaml:"mapping"`
}

// EndpointKind narrows what an endpoint receives.
type EndpointKind string

// The endpoint kinds.
const (
	EndpointInbound EndpointKind = "inbound"
	EndpointStatus  EndpointKind = "status"
	EndpointAny     EndpointKind = "any"
)

// Mapping says how to read a body whose keys the customer chose: by a preset of the provider's
// adapter, member by member (our name to their key), or by a preset of which fields change keys.
type Mapping struct {
	Preset string            `json:"preset,omitempty" yaml:"preset"`
	Fields map[string]string `json:"fields,omitempty" yaml:"fields"`
}

// MappingNames are our names that a mapping's fields may give a key to: the keys of `fields`.
func MappingNames() []string {
	return []string{
		"action", "business", "channel", "event_id", "intent", "latitude", "longitude", "media_name", "media_url", "message_id", "mime_type",
		"postback", "reply_to", "scope", "scope_value", "status", "status_code", "status_description", "subject", "text", "time", "user",
	}
}

// Source is the CloudEvents source of the endpoint's events: a URI reference, unique with the
// event's id.
func (o Origin) Source() string {
	if o.Endpoint == "" {
		return "heed/explain"
	}
	return "heed/" + o.Endpoint
}

// CheckZone says what is wrong with a naive_zone; empty is none. The zone data are those of the
// program (time/tzdata), so the check doesn't depend on the machine.
func CheckZone(name string) error {
	if name == "" {
		return nil
	}
	if name == "Local" {
		return errors.New("the zone Local would be the machine's; give a name such as Asia/Kolkata")
	}
	if _, err := time.LoadLocation(name); err != nil {
		return fmt.Errorf("%q is no IANA zone name, such as Asia/Kolkata or UTC", name)
	}
	return nil
}

// Attributes calls yield with every extension attribute that a raw record carries of the
// origin, in a fixed order; what is empty is left out, as CloudEvents has no empty attributes.
// OriginOf is the way back.
func (o Origin) Attributes(yield func(name, value string) bool) {
	mapping := ""
	if o.Mapping != nil {
		b, err := json.Marshal(o.Mapping)
		if err == nil {
			mapping = string(b)
		}
	}
	for _, a := range [...][2]string{
		{ExtProvider, o.Provider},
		{ExtChannel, string(o.Channel)},
		{ExtEndpoint, o.Endpoint},
		{ExtEndpointKind, string(o.Kind)},
		{ExtTenant, o.Tenant},
		{ExtBrand, o.Brand},
		{ExtAgent, o.Agent},
		{ExtCountry, o.DefaultCountry},
		{ExtZone, o.NaiveZone},
		{ExtMapping, mapping},
	} {
		if a[1] != "" && !yield(a[0], a[1]) {
			return
		}
	}
}

// OriginOf reads the origin off a raw record; attribute gives the value of a named extension
// attribute, "" if there is none.
func OriginOf(attribute func(name string) string) (Origin, error) {
	o := Origin{
		Provider:       attribute(ExtProvider),
		Channel:        Channel(attribute(ExtChannel)),
		Endpoint:       attribute(ExtEndpoint),
		Kind:           EndpointKind(attribute(ExtEndpointKind)),
		Tenant:         attribute(ExtTenant),
		Brand:          attribute(ExtBrand),
		Agent:          attribute(ExtAgent),
		DefaultCountry: attribute(ExtCountry),
		NaiveZone:      attribute(ExtZone),
	}
	if m := attribute(ExtMapping); m != "" {
		if err := json.Unmarshal([]byte(m), &o.Mapping); err != nil {
			return Origin{}, fmt.Errorf("the attribute %s of the raw record is not a mapping: %w", ExtMapping, err)
		}
	}
	return o, nil
}
