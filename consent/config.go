package consent

import (
	"errors"
	"fmt"
	"time"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/redisconn"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// config is the stage's configuration.
type config struct {
	kafka         stream.Config
	redis         redisconn.Config
	api           service.API
	listen        string
	pseudonymKey  string
	directoryFile string
	stopScope     string
	buckets       int
	staleAfter    time.Duration
	replicaAfter  time.Duration
	checkTimeout  time.Duration

	pseudonyms *schemas.Pseudonymizer
	directory  *directory
	tokens     *service.Tokens
}

func (c *config) declare(v *env.Vars) {
	c.kafka.Declare(v)
	c.redis.Declare(v)
	v.Required("HEED_REDIS_URL")
	c.api.Declare(v)
	v.String(&c.listen, "HEED_LISTEN", ":8082", "Address of the consent API.")
	v.Secret(&c.pseudonymKey, "HEED_PSEUDONYM_KEY", "Key of the pseudonyms that stand for people: 64 hex digits (openssl rand -hex 32); several, newest first, while it is being changed. The same for ingest, normalizer and consent. Addresses on the facts are encrypted under a key derived from it.")
	v.Required("HEED_PSEUDONYM_KEY")
	v.String(&c.directoryFile, "HEED_DIRECTORY_FILE", "", "File that says which agents speak for which brand: brands: [{id, agents: [{channel, id}]}]. An agent that stands in none is a brand of its own, unless the event names one.")
	v.Enum(&c.stopScope, "HEED_CONSENT_STOP_SCOPE", "agent", []string{"agent", "brand"}, "How far a plain STOP reaches: the agent that it was sent to, as the providers document it, or the agent's whole brand, which is stricter.")
	v.Int(&c.buckets, "HEED_CONSENT_BUCKETS", 8192, 1, "Buckets of people per partition in Redis. 100 people a bucket is best (12 partitions of 8,192: 10 million people); a bucket of more than Redis's hash-max-listpack-entries takes twice the memory. A change rebuilds the view from the facts.")
	v.Duration(&c.staleAfter, "HEED_CONSENT_STALE_AFTER", 30*time.Second, "Age of the view from which checks are denied as stale.")
	v.Duration(&c.replicaAfter, "HEED_CONSENT_REPLICA_TIMEOUT", 20*time.Second, "An ingest replica that says nothing for so long no longer holds the view's time back. Shorter than HEED_CONSENT_STALE_AFTER, or every crash of an ingest denies all checks for a while.")
	v.Duration(&c.checkTimeout, "HEED_CONSENT_CHECK_TIMEOUT", 250*time.Millisecond, "Time after which a check that Redis does not answer is denied as unavailable.")
}

func (c *config) check() error {
	var wrong []error
	var err error
	if c.pseudonyms, err = schemas.ParsePseudonymKeys(c.pseudonymKey); err != nil {
		wrong = append(wrong, fmt.Errorf("HEED_PSEUDONYM_KEY: %w", err))
	}
	if c.directory, err = readDirectory(c.directoryFile); err != nil {
		wrong = append(wrong, err)
	}
	if c.tokens, err = c.api.Tokens(c.listen); err != nil {
		wrong = append(wrong, err)
	}
	return errors.Join(wrong...)
}
