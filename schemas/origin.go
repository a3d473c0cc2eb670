package schemas

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
// adapter, or member by member, our name to their key.
type Mapping struct {
	Preset string            `json:"preset,omitempty" yaml:"preset"`
	Fields map[string]string `json:"fields,omitempty" yaml:"fields"`
}

// Source is the CloudEvents source of the endpoint's events: a URI reference, unique with the
// event's id.
func (o Origin) Source() string {
	if o.Endpoint == "" {
		return "heed/explain"
	}
	return "heed/" + o.Endpoint
}
