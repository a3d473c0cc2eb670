// Package arch holds Heed's import rules, and its house rules that can be read from the source,
// as one test. It has no code of its own; nobody imports it. The rules, with a reason each, are
// the tables at the head of arch_test.go; in short:
//
//	schemas                  → nothing of ours
//	internal/*               → internal/* only, a closed list of packages
//	normalizer/adapter       → schemas
//	normalizer/providers/X   → normalizer/adapter, schemas; never another provider; pure
//	ingest, normalizer, consent, dispatcher → schemas, internal, their own tree; never each other
//	deploy/heed              → the stages' pure packages, never a stage
//	deploy/allinone, test    → everything; nothing imports them (but any test may use test/stack)
//
// Third parties stand behind one door each: kafka-go in internal/stream, the OpenTelemetry SDK
// in internal/telemetry, go-redis in internal/redisconn and consent. Production programs link
// no fake and no testing package.
//
// The test reads the source through `go list`, which the test cache does not see: run it with
// -count=1, as make lint and make test do. To change a rule, change its line and its reason.
package arch
