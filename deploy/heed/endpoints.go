package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/heedhq/heed/ingest/handshake"
	"github.com/heedhq/heed/ingest/signature"
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
			name: "endpoints new", usage: "--provider NAME [--channel C] [--kind K] [--country C] [--zone Z] [--url BASE]",
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
	var wrong []error
	for i := 0; i < len(endpoints) && !*noSecrets; i++ {
		if _, err := signature.New(endpoints[i].Verify); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: endpoint (%s): %w", endpoints[i].Line, endpoints[i].Endpoint, err))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s:\n%w", path, errors.Join(wrong...))
	}
	fmt.Fprintf(c.out, "%s: %d endpoint%s, nothing wrong\n", path, len(endpoints), plural(len(endpoints)))
	for i := range endpoints {
		e := &endpoints[i]
		for _, note := range handshake.Notes(e) {
			fmt.Fprintf(c.out, "  note: line %d: %s %s\n", e.Line, e.Endpoint, note)
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

// advice is how a provider's callbacks are best verified, and what to do on its side.
type advice struct {
	verify    []string // lines of the entry
	handshake string   // likewise
	naive     bool     // the provider sends times without a zone, or numbers without a country
	steps     []string
}

const ownSecret = "Make a secret, such as with: openssl rand -hex 32"

func adviceFor(provider string, channel schemas.Channel) advice {
	switch provider {
	case "telesign":
		return advice{
			verify: []string{"- scheme: telesign", "  customer_id: YOUR-CUSTOMER-ID", "  secret_env: TELESIGN_API_KEY # the API key of that customer id, as Telesign shows it"},
			steps:  []string{"In Telesign's portal, or by its support, enter the URL for delivery receipts or inbound messages. Callbacks are signed with the API key; there is nothing else to enter."},
		}
	case "exotel":
		if channel != schemas.WhatsApp && channel != schemas.AnyChannel {
			// Facts: a signature is documented for WhatsApp alone.
			return advice{
				verify: []string{"- scheme: none # Exotel documents no signature for this channel; with its source addresses: {scheme: ip, allow: [...]}"},
				naive:  true,
				steps:  []string{"In Exotel's dashboard, or as status_callback of each message, enter the URL. Keep it secret: it is the only proof.", "Ask Exotel's support for the addresses that callbacks come from, and verify by ip instead of none."},
			}
		}
		return advice{
			verify: []string{"- scheme: exotel # documented for WhatsApp alone; give other channels endpoints of their own", "  secret_env: EXOTEL_WEBHOOK_SECRET"},
			naive:  true,
			steps:  []string{ownSecret, "In Exotel's WhatsApp webhook settings enter the URL and the secret. Exotel may send a challenge at once, which ingest answers."},
		}
	case "mobtexting":
		return advice{
			verify: []string{"- scheme: bearer # of JSON posts the Signature can be checked instead: {scheme: mobtexting}, whose secret is the webhook's id", "  secret_env: MOBTEXTING_SECRET"},
			naive:  true,
			steps:  []string{ownSecret, "In Mobtexting's webhook settings enter the URL, and the secret as \"secret\": it comes back as Authorization: Bearer. Mobtexting sends a challenge at once, which ingest answers."},
		}
	case "meta":
		return advice{
			verify:    []string{"- scheme: meta", "  secret_env: META_APP_SECRET # App settings > Basic > App secret"},
			handshake: "{token_env: META_VERIFY_TOKEN}",
			steps:     []string{"Make a verify token, such as with: openssl rand -hex 32", "In the app's WhatsApp configuration enter the URL as callback URL, and the verify token. Meta asks at once; ingest answers when the token is right.", "Subscribe to the fields messages and user_preferences: a person's stop comes as the latter."},
		}
	case "google-rbm":
		return advice{
			verify: []string{"- scheme: google-rbm # the token answers Google's verification, too", "  secret_env: RBM_CLIENT_TOKEN"},
			steps:  []string{"In the agent's integrations at Google enter the URL as webhook; the console shows the client token.", "Let ingest have it before you press Verify: Google asks at once."},
		}
	case "kaleyra":
		return advice{
			verify: []string{"- scheme: header # Kaleyra signs nothing; basic works as well", "  header: X-Heed-Key", "  secret_env: KALEYRA_CALLBACK_KEY"},
			naive:  true,
			steps:  []string{ownSecret, "In Kaleyra's callback profile enter the URL, method POST, and under headers X-Heed-Key with the secret."},
		}
	}
	return advice{
		verify: []string{"- scheme: header", "  header: X-Heed-Key", "  secret_env: CALLBACK_KEY"},
		steps:  []string{ownSecret, "With the provider enter the URL, and a header X-Heed-Key with the secret. Where it can send none use scheme basic or ip; scheme none lets in whoever knows the URL."},
	}
}

func (c *call) endpointsNew() error {
	provider := c.flags.String("provider", "", "the provider's `NAME`")
	channel := c.flags.String("channel", "any", "sms, rcs, whatsapp, viber, mms, email, voice, vmn or any")
	kind := c.flags.String("kind", "any", "inbound, status or any")
	country := c.flags.String("country", "", "of numbers that name none, e.g. IN")
	zone := c.flags.String("zone", "", "of times that name none, e.g. Asia/Kolkata")
	base := c.flags.String("url", "https://YOUR-HOST", "`BASE` of ingest's public URL")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if !slices.Contains(providerNames(), *provider) {
		return usage("--provider wants one of %s", strings.Join(providerNames(), ", "))
	}
	// 26 characters of base32: 130 bits, in lower case since some portals fold URLs.
	id := *provider + "-" + strings.ToLower(rand.Text())
	lane := schemas.LaneFast
	if *kind == string(schemas.EndpointStatus) {
		lane = schemas.LaneBulk // receipts must never queue in front of a STOP
	}
	a := adviceFor(*provider, schemas.Channel(*channel))
	var b strings.Builder
	fmt.Fprintf(&b, "  - id: %s\n    provider: %s\n    channel: %s\n    kind: %s\n    lane: %s\n", id, *provider, *channel, *kind, lane)
	switch {
	case *country != "":
		fmt.Fprintf(&b, "    default_country: %s\n", *country)
	case a.naive:
		b.WriteString("    # default_country: IN       # of numbers without a country\n")
	}
	switch {
	case *zone != "":
		fmt.Fprintf(&b, "    naive_zone: %s\n", *zone)
	case a.naive:
		b.WriteString("    # naive_zone: Asia/Kolkata  # of times without a zone\n")
	}
	fmt.Fprintf(&b, "    verify:\n      %s\n", strings.Join(a.verify, "\n      "))
	if a.handshake != "" {
		fmt.Fprintf(&b, "    handshake: %s\n", a.handshake)
	}
	if _, err := schemas.ParseEndpoints([]byte("endpoints:\n"+b.String()), endpointContext()); err != nil {
		return usage("%v", err)
	}
	fmt.Fprintf(c.out, "URL: %s\n\nPut this into the endpoints file, under endpoints:\n\n%s\nThen:\n", callbackURL(*base, id), b.String())
	steps := append(slices.Clone(a.steps), "Try it: heed endpoints check, then heed send --to URL with a captured request.")
	for i, step := range steps {
		fmt.Fprintf(c.out, "  %d. %s\n", i+1, step)
	}
	fmt.Fprintf(c.out, "\nA secret from the environment (secret_env) is known after a restart of ingest, one from a file (secret_file) at once.\n")
	return nil
}
