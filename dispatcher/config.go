package dispatcher

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// config is the dispatcher's configuration.
type config struct {
	listen    string
	file      string
	kafka     stream.Config
	api       service.API
	allowNets []string
	memory    int64

	allowed []netip.Prefix // of allowNets
}

func (c *config) declare(v *env.Vars) {
	v.String(&c.listen, "HEED_LISTEN", ":8083", "Data port: the subscriptions API, /v1/subscriptions.")
	v.String(&c.file, "HEED_SUBSCRIPTIONS_FILE", "", "YAML file of the subscriptions. Read again when it or a secret file that it names changes, and on SIGHUP; a bad file keeps the old subscriptions and shows in /readyz and heed_dispatch_subscriptions_stale.")
	v.Required("HEED_SUBSCRIPTIONS_FILE")
	c.kafka.Declare(v)
	c.api.Declare(v)
	v.List(&c.allowNets, "HEED_DISPATCH_ALLOW_NETS", "", "Networks (CIDR), separated by commas, that sinks may be in beyond public addresses, such as 10.0.0.0/8. Link-local and metadata addresses are never delivered to.")
	v.Size(&c.memory, "HEED_DISPATCH_MEMORY", "256MiB", "Events held in memory for all subscribers at most; one subscriber has at most a sixteenth of it. Beyond, events wait in Kafka.")
}

// check looks at what the variables name.
func (c *config) check() error {
	var wrong []error
	var err error
	if c.allowed, err = parseNets(c.allowNets); err != nil {
		wrong = append(wrong, err)
	}
	if c.memory < 1<<20 {
		wrong = append(wrong, errors.New("HEED_DISPATCH_MEMORY: at least 1MiB"))
	}
	if _, err := c.api.Tokens(c.listen); err != nil {
		wrong = append(wrong, err)
	}
	subs, err := c.read(os.ReadFile)
	if err == nil {
		_, err = compileAll(subs)
	}
	if err != nil {
		wrong = append(wrong, fmt.Errorf("HEED_SUBSCRIPTIONS_FILE: %s:\n%w", c.file, err))
	}
	return errors.Join(wrong...)
}

// notes says what is valid but should be known.
func (c *config) notes() []string {
	subs, err := c.read(os.ReadFile)
	if err != nil {
		return nil
	}
	var notes []string
	for i := range subs {
		notes = append(notes, subs[i].Notes()...)
	}
	return notes
}

// read reads the subscriptions file and the secrets that it names.
func (c *config) read(read func(path string) ([]byte, error)) ([]schemas.Subscription, error) {
	data, err := read(c.file)
	if err != nil {
		return nil, err
	}
	return schemas.ParseSubscriptions(data, schemas.SubscriptionContext{Getenv: os.LookupEnv, ReadFile: read})
}

// compileAll compiles what every subscription wants; the error names each that is not valid.
func compileAll(subs []schemas.Subscription) ([]*selection, error) {
	all := make([]*selection, len(subs))
	var wrong []error
	for i := range subs {
		var err error
		if all[i], err = compile(&subs[i]); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: subscription (%s): %w", subs[i].Line, subs[i].ID, err))
		}
	}
	return all, errors.Join(wrong...)
}
