package arch

// The tables. Packages of ours are written without the module prefix; "x/..." is x and
// everything below it.

// mayImport says which packages of ours a package may import (its own tree always). Every
// package must match a row; the first that matches counts.
var mayImport = []struct {
	who  string
	ours []string
	why  string
}{
	{"schemas/...", nil, "the contract may not know who speaks it"},
	{"internal/...", []string{"internal/..."}, "plumbing carries bytes, not meaning"},
	{"normalizer/providers/providertest", []string{"normalizer/...", "schemas/...", "internal/..."}, "the shared suite knows every obligation of a provider"},
	{"normalizer/providers", []string{"normalizer/adapter", "normalizer/providers/...", "schemas/..."}, "the explicit list of providers"},
	{"normalizer/providers/...", []string{"normalizer/adapter/...", "schemas", "schemas/address"}, "a provider is one folder: deleting it must break one line"},
	{"normalizer/adapter/...", []string{"normalizer/adapter", "schemas", "schemas/address"}, "the contract between the normalizer and its providers"},
	{"ingest/handshake/...", []string{"schemas", "ingest/signature"}, "heed explain shows it and links no stage"},
	{"ingest/signature/...", []string{"schemas", "schemas/address"}, "the operator's tool signs with it and links no stage"},
	{"ingest/handshake/...", []string{"schemas", "ingest/signature"}, "the operator's tool explains with it and links no stage"},
	{"consent/intent/...", []string{"schemas", "schemas/address"}, "the operator's tool classifies with it and links no stage"},
	{"ingest/...", []string{"schemas/...", "internal/..."}, "a stage knows the contract and the plumbing, never another stage"},
	{"normalizer/...", []string{"schemas/...", "internal/..."}, "a stage knows the contract and the plumbing, never another stage"},
	{"consent/...", []string{"schemas/...", "internal/..."}, "a stage knows the contract and the plumbing, never another stage"},
	{"dispatcher/...", []string{"schemas/...", "internal/..."}, "a stage knows the contract and the plumbing, never another stage; it asks consent over HTTP"},
	{"deploy/topics/...", []string{"schemas/...", "internal/..."}, "makes the topics of the table"},
	{"deploy/heed/...", []string{"schemas/...", "internal/...", "deploy/topics", "ingest/handshake", "ingest/signature", "normalizer/adapter", "normalizer/providers/...", "normalizer/translate", "consent/intent"}, "the operator's tool uses the stages' pure packages and is a client of their APIs"},
	{"deploy/...", []string{"schemas/...", "internal/...", "ingest/...", "normalizer/...", "consent/...", "dispatcher/...", "deploy/..."}, "the quick start runs all four stages; nothing imports it"},
	{"test/...", []string{"schemas/...", "internal/...", "ingest/...", "normalizer/...", "consent/...", "dispatcher/...", "deploy/...", "test/..."}, "tests from outside may see everything; nothing imports them"},
}

// testsMayImport adds to mayImport for _test.go files.
var testsMayImport = []struct {
	who, ours string
	why       string
}{
	{"normalizer/providers/...", "normalizer/providers/providertest", "one call runs all obligations"},
	{"normalizer/...", "normalizer/providers/...", "the translator is tested with the real providers"},
	{"deploy/...", "deploy/...", "commands are tested through each other"},
	{"...", "test/stack", "the suites that pass on fakes pass on real Kafka and Redis as well"},
}

// internalPackages is the closed list: two users among the stages, no word of the domain in the
// API. A new one needs both and a line here.
var internalPackages = map[string]string{
	"internal/arch":                "the import rules",
	"internal/env":                 "strict configuration",
	"internal/redisconn":           "Redis: open, instrument",
	"internal/service":             "the shell around each program",
	"internal/stream":              "Kafka",
	"internal/telemetry":           "OpenTelemetry",
	"internal/stream/...":          "test brokers and suites of stream",
	"internal/service/servicetest": "what tests of every stage check: nothing personal in logs and metrics",
}

// doors say where a third party may be imported: prod by production files, test by _test.go
// files and by packages that only tests import (testOnly) in addition.
var doors = []struct {
	what       string
	prod, test []string
	why        string
}{
	{"github.com/segmentio/kafka-go/...", []string{"internal/stream"}, []string{"internal/stream/..."}, "its defaults lose data (acks none) and its group Reader rewinds offsets: one package knows"},
	{"github.com/redis/go-redis/...", []string{"internal/redisconn", "consent/..."}, []string{"consent/...", "dispatcher/...", "internal/redisconn", "deploy/allinone/...", "test/..."}, "keys and scripts are consent's alone"},
	{"go.opentelemetry.io/otel/sdk/...", []string{"internal/telemetry"}, []string{"internal/...", "ingest/...", "normalizer/...", "consent/...", "dispatcher/...", "deploy/...", "test/..."}, "one place sets telemetry up; everybody else uses the API"},
	{"go.opentelemetry.io/otel/exporters/...", []string{"internal/telemetry"}, []string{"internal/telemetry"}, "one place sets telemetry up"},
	{"go.opentelemetry.io/otel/semconv/...", []string{"internal/telemetry"}, nil, "one version of the conventions, in one file"},
	{"github.com/prometheus/...", []string{"internal/telemetry"}, []string{"internal/...", "deploy/...", "test/..."}, "metrics are made with the OpenTelemetry API"},
	{"github.com/cloudevents/sdk-go/v2", nil, nil, "the root alias package links an HTTP client and a logger"},
	{"github.com/cloudevents/sdk-go/v2/client/...", nil, nil, "links an HTTP client and a logger"},
	{"github.com/cloudevents/sdk-go/v2/...", []string{"dispatcher/...", "normalizer/...", "internal/stream/..."}, []string{"schemas", "internal/stream/...", "normalizer/...", "dispatcher/...", "deploy/...", "test/..."}, "stages hold stream.Event; the SDK is the judge in tests, and CESQL's event"},
	{"github.com/cloudevents/sdk-go/sql/...", []string{"dispatcher/..."}, []string{"dispatcher/..."}, "CESQL filters"},
	{"github.com/nyaruka/phonenumbers", []string{"schemas/address"}, nil, "2 MB of metadata; one package says what a canonical address is"},
	{"github.com/twmb/franz-go/...", nil, []string{"..."}, "the in-process broker is for tests and the quick start"},
	{"github.com/alicebob/miniredis/...", nil, []string{"..."}, "the in-process Redis is for tests and the quick start"},
	{"github.com/santhosh-tekuri/jsonschema/...", nil, []string{"schemas/...", "ingest/...", "normalizer/...", "consent/...", "dispatcher/...", "deploy/...", "test/..."}, "schemas are held by tests, not at run time"},
	{"github.com/standard-webhooks/...", nil, []string{"dispatcher/...", "ingest/...", "deploy/...", "test/..."}, "the judge of our signatures"},
	{"github.com/google/go-cmp/...", nil, []string{"..."}, "tests only"},
	{"github.com/rogpeppe/go-internal/...", nil, []string{"..."}, "tests only"},
	{"pgregory.net/rapid", nil, []string{"..."}, "tests only"},
	{"github.com/stretchr/testify/...", nil, nil, "plain testing; no assertion framework"},
	{"testing/...", nil, []string{"..."}, "production links no testing"},
}

// testOnly packages are no _test.go files but are imported by tests alone: they pass doors as
// tests do, and no production package may import them.
var testOnly = []string{
	"internal/stream/streamtest/...", "internal/service/servicetest", "schemas/schematest",
	"normalizer/providers/providertest", "consent/consenttest", "dispatcher/dispatchertest", "test/...",
}

// fakesAllowed are programs that hold a fake on purpose.
var fakesAllowed = []string{"deploy/allinone/...", "internal/stream/devbroker", "test/..."}

// neverLinked must not be in any production program, also not through a third party.
var neverLinked = []string{"testing", "github.com/twmb/franz-go/...", "github.com/alicebob/miniredis/...", "github.com/stretchr/testify/..."}

// pure packages give the same output for the same input for ever: no clock, no I/O, no chance.
var pure = []struct {
	who    string
	except []string // imports that are allowed all the same
	why    string
}{
	{"normalizer/providers/...", nil, "a replay must give the same events (I5)"},
	{"normalizer/adapter/...", nil, "a replay must give the same events (I5)"},
	{"consent/intent/...", nil, "the same text must mean the same for ever (I3)"},
	{"schemas/...", []string{"log/slog", "net/http", "net"}, "the contract opens nothing and reads no clock"},
}

var impureImports = []string{"context", "os", "os/exec", "io/ioutil", "log", "log/slog", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "syscall"}

var impureCalls = []string{"time.Now", "time.Since", "time.Until", "time.Sleep", "time.After", "time.NewTimer", "time.Tick", "time.NewTicker", "time.AfterFunc"}

// notPure are packages below a pure tree that tests import only, or that hold the list.
var notPure = []string{"normalizer/providers/providertest"}
