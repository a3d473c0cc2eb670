package normalizer

import (
	"fmt"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// config is the stage's configuration.
type config struct {
	kafka        stream.Config
	pseudonymKey string
	pseudonyms   *schemas.Pseudonymizer // of pseudonymKey, by check
	window       int
}

func (c *config) declare(v *env.Vars) {
	c.kafka.Declare(v)
	v.Secret(&c.pseudonymKey, "HEED_PSEUDONYM_KEY", "Key of the pseudonyms that stand for people in event subjects and keys: 64 hex digits (openssl rand -hex 32); several, newest first, while it is being changed. The same for ingest, normalizer and consent.")
	v.Required("HEED_PSEUDONYM_KEY")
	v.Int(&c.window, "HEED_NORMALIZER_WINDOW", 32768, 0, "Recent events that are remembered per partition, to drop what a provider sends again (16 bytes each); 0 drops nothing.")
}

func (c *config) check() (err error) {
	if c.pseudonyms, err = schemas.ParsePseudonymKeys(c.pseudonymKey); err != nil {
		return fmt.Errorf("HEED_PSEUDONYM_KEY: %w", err)
	}
	return nil
}
