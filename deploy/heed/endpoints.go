package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

func endpointCommands() []command {
	return []command{
		{
			name: "endpoints check", usage: "[FILE]",
			short: "say what is wrong with an endpoints file",
			help:  "FILE is HEED_ENDPOINTS_FILE when not given. Secrets are looked for where the file says, and never printed; --no-secrets leaves them.",
			run:   func(_ context.Context, c *call) error { return c.endpointsCheck() },
		},
		{
			name: "endpoints show", usage: "[FILE] [--url BASE]",
			short: "list the endpoints of a file, with the URLs to give to the providers",
			run:   func(_ context.Context, c *call) error { return c.endpointsShow() },
		},
		{
			name: "endpoints new", usage: "--provider NAME [--channel C] [--kind K] [--url BASE]",
			short: "make an entry for the endpoints file, with an id that nobody can guess",
			help: `Prints the entry to put under endpoints:, the URL to give to the provider, and what to enter on the
provider's side. Nothing is written.`,
			run: func(_ context.Context, c *call) error { return c.endpointsNew() },
		},
	}
}

func (c *call) readEndpoints(with schemas.EndpointContext) ([]schemas.Endpoint, string, error) {
	path := c.getenv("HEED_ENDPOINTS_FILE")
	if len(c.args) == 1 {
		path = c.args[0]
	}
	if path == "" {
		return nil, "", usage("name the endpoints file, or set HEED_ENDPOINTS_FILE")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, path, err
	}
	endpoints, err := schemas.ParseEndpoints(data, with)
	if err != nil {
		err = fmt.Errorf("%s:\n%w", path, err)
	}
	return endpoints, path, err
}

func (c *call) endpointsCheck() error {
	noSecrets := c.flags.Bool("no-secrets", false, "don't look for the secrets")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	with := endpointContext()
	if !*noSecrets {
		with.Getenv, with.ReadFile = os.LookupEnv, os.ReadFile
	}
	endpoints, path, err := c.readEndpoints(with)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s: %d endpoint%s, nothing wrong\n", path, len(endpoints), plural(len(endpoints)))
	for i := range endpoints {
		if open := endpoints[i].Verify[0].Scheme == schemas.SchemeNone; open {
			fmt.Fprintf(c.out, "  note: %s (line %d) takes unsigned callbacks from everybody who knows its URL\n", endpoints[i].Endpoint, endpoints[i].Line)
		}
	}
	return nil
}

func (c *call) endpointsShow() error {
	base := c.flags.String("url", "https://YOUR-HOST", "`BASE` of ingest's public URL")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	endpoints, _, err := c.readEndpoints(endpointContext())
	if err != nil {
		return err
	}
	for i := range endpoints {
		e := &endpoints[i]
		var schemes []string
		for _, v := range e.Verify {
			schemes = append(schemes, string(v.Scheme))
		}
		fmt.Fprintf(c.out, "%s\n  %s\n  %s lane, verified by %s\n", callbackURL(*base, e.Endpoint), describe(e.Origin), e.Lane, strings.Join(schemes, " and "))
	}
	return nil
}

func callbackURL(base, id string) string { return strings.TrimRight(base, "/") + "/v1/callbacks/" + id }

// advice is how a provider's callbacks are best verified, and what to enter on its side.
type advice struct {
	verify []string // lines of the entry
	enter  string
}

func adviceFor(provider string) advice {
	switch provider {
	case "telesign":
		return advice{[]string{"- scheme: telesign", "  customer_id: YOUR-CUSTOMER-ID", "  secret_env: TELESIGN_API_KEY"},
			"in the Telesign portal, or by their support: this URL as the callback (delivery receipts) or inbound URL. They sign with your API key."}
	case "exotel":
		return advice{[]string{"- scheme: exotel", "  secret_env: EXOTEL_WEBHOOK_SECRET"},
			"in Exotel's dashboard: this URL as status callback or webhook, and the same secret."}
	case "mobtexting":
		return advice{[]string{"- scheme: mobtexting", "  secret_env: MOBTEXTING_WEBHOOK_SECRET"},
			"in Mobtexting's webhook settings: this URL, and the same secret. It sends a challenge first, which ingest answers."}
	case "meta":
		return advice{[]string{"- scheme: meta", "  secret_env: META_APP_SECRET"},
			"in the app's webhook settings: this URL and a verify token; the same token goes into the entry as handshake: {token_env: META_VERIFY_TOKEN}."}
	case "google-rbm":
		return advice{[]string{"- scheme: google-rbm", "  secret_env: RBM_CLIENT_TOKEN"},
			"in the Business Communications console: this URL and the client token; the same token goes into the entry as handshake: {token_env: RBM_CLIENT_TOKEN}."}
	}
	return advice{[]string{"- scheme: header", "  header: X-Heed-Key", "  secret_env: CALLBACK_KEY"},
		"with the provider: this URL, and a custom header X-Heed-Key with the secret. Where it can send none, use scheme ip or basic; scheme none says that whoever knows the URL is let in."}
}

func (c *call) endpointsNew() error {
	provider := c.flags.String("provider", "", "the provider's `NAME`")
	channel := c.flags.String("channel", "any", "sms, rcs, whatsapp, viber, mms, email, voice, vmn or any")
	kind := c.flags.String("kind", "any", "inbound, status or any")
	country := c.flags.String("country", "", "of numbers that name none, e.g. IN")
	base := c.flags.String("url", "https://YOUR-HOST", "`BASE` of ingest's public URL")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if !slices.Contains(providerNames(), *provider) {
		return usage("--provider wants one of %s", strings.Join(providerNames(), ", "))
	}
	// 26 characters of base32: 130 bits, in lower case since some portals fold URLs.
	id := cmp.Or(*provider, "cb") + "-" + strings.ToLower(rand.Text())
	lane := schemas.LaneFast
	if *kind == string(schemas.EndpointStatus) {
		lane = schemas.LaneBulk // receipts must never queue in front of a STOP
	}
	a := adviceFor(*provider)
	var b strings.Builder
	fmt.Fprintf(&b, "  - id: %s\n    provider: %s\n    channel: %s\n    kind: %s\n    lane: %s\n", id, *provider, *channel, *kind, lane)
	if *country != "" {
		fmt.Fprintf(&b, "    default_country: %s\n", *country)
	}
	fmt.Fprintf(&b, "    verify:\n      %s\n", strings.Join(a.verify, "\n      "))
	if _, err := schemas.ParseEndpoints([]byte("endpoints:\n"+b.String()), endpointContext()); err != nil {
		return usage("%v", err)
	}
	fmt.Fprintf(c.out, "Put this into the endpoints file, under endpoints:\n\n%s\nURL: %s\nEnter %s\n", b.String(), callbackURL(*base, id), a.enter)
	return nil
}
