// Command consent is the stage that knows who has opted out: it reads heed.inbound, keeps every
// act of a person on heed.consent.facts, folds the facts into Redis, publishes what changed to
// heed.consent, and answers POST /v1/consent/check. See consent --help for the API, what it does
// when Kafka or Redis is away, and every variable.
package main

import (
	"github.com/heedhq/heed/consent"
	"github.com/heedhq/heed/internal/service"
)

func main() { service.Main(consent.Stage()) }
