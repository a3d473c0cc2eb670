// Ingest takes the callbacks that messaging providers push and keeps them.
//
// It accepts POST, PUT and GET /v1/callbacks/{endpoint}; the endpoints, who may call them and
// what they are answered stand in the YAML file of HEED_ENDPOINTS_FILE. It answers 200 when the
// callback is on every in-sync replica of heed.callbacks, or, when Kafka doesn't acknowledge
// within HEED_INGEST_SPOOL_AFTER, on the disk of HEED_INGEST_SPOOL_DIR, from where it goes to
// Kafka later, in order. It answers within 2 s.
//
// It refuses with a problem document (RFC 9457): 400 a body that breaks off, 401 what fails the endpoint's verification,
// 404 an unknown endpoint, 405 another method, 408 a body that takes longer than
// HEED_INGEST_READ_TIMEOUT, 413 a body over HEED_INGEST_MAX_BODY, 429 what is over the
// endpoint's own rate, and 503 with Retry-After when it can't keep the callback for certain.
// A 503 means "unknown", not "not written": events of one callback that came twice have the
// same ids.
//
// When Kafka is away it spools and stays ready; without a spool it isn't ready. A replayed
// callback is not refused: no time window would fit providers that retry for hours, and the
// same bytes give the same events.
//
// SIGHUP reads the endpoints file again. SIGTERM and SIGINT stop it: /readyz turns 503, it
// serves on for HEED_INGEST_UNREADY_FOR (3 s), finishes what it handles (5 s), flushes (8 s) and
// leaves the last time mark; what is still in the spool waits there for the next start.
//
// The variables: ingest --help.
package main

import (
	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/internal/service"
)

func main() { service.Main(ingest.Stage()) }
