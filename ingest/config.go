package ingest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/heedhq/heed/ingest/handshake"
	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// config is ingest's configuration.
type config struct {
	listen        string
	endpointsFile string
	pseudonymKeys string
	kafka         stream.Config

	maxBody, maxHeader, maxInFlight         int64
	maxConnections                          int
	headerTimeout, readTimeout, idleTimeout time.Duration
	trustedProxies                          []string
	certFile, keyFile                       string
	spoolDir                                string
	spoolAfter                              time.Duration
	spoolMax                                int64
	unreadyFor                              time.Duration

	pseudo  *schemas.Pseudonymizer // of pseudonymKeys
	trusted []netip.Prefix         // of trustedProxies
}

func (c *config) declare(v *env.Vars) {
	v.String(&c.listen, "HEED_LISTEN", ":8080", "Data port: POST, PUT or GET /v1/callbacks/{endpoint}.")
	v.String(&c.endpointsFile, "HEED_ENDPOINTS_FILE", "", "YAML file of the endpoints. Read again when it or a secret file that it names changes, and on SIGHUP; a bad file keeps the old endpoints and shows in /readyz and heed_ingest_endpoints_stale.")
	v.Required("HEED_ENDPOINTS_FILE")
	v.Secret(&c.pseudonymKeys, "HEED_PSEUDONYM_KEY", "Key of the pseudonyms that stand for persons: 64 hex digits (openssl rand -hex 32); while rotating several, newest first, separated by commas. The same for ingest, normalizer and consent.")
	v.Required("HEED_PSEUDONYM_KEY")
	c.kafka.Declare(v)
	v.Size(&c.maxBody, "HEED_INGEST_MAX_BODY", "1MiB", "Largest body of a callback; more is answered 413.")
	v.Size(&c.maxHeader, "HEED_INGEST_MAX_HEADER", "64KiB", "Largest header of a request; more is answered 431. Headers over 4 KiB that are still being read may have HEED_INGEST_MAX_IN_FLIGHT together; a connection that would have more is closed.")
	v.Size(&c.maxInFlight, "HEED_INGEST_MAX_IN_FLIGHT", "32MiB", "Bytes of callbacks that are being handled at one time; over it the answer is 503 with Retry-After. With the default ingest stays under 256 MiB whatever comes; a byte more costs some 3 of memory. Garbage is collected towards that, unless GOGC or GOMEMLIMIT say otherwise.")
	v.Int(&c.maxConnections, "HEED_INGEST_MAX_CONNECTIONS", 11000, 1, "Connections at one time, and HTTP/2 requests on them beside: each takes a place, of 16 to 20 KiB. A connection without one is closed at once, an HTTP/2 request is answered 503.")
	v.Duration(&c.headerTimeout, "HEED_INGEST_HEADER_TIMEOUT", 10*time.Second, "How long a request's header may take, and a new connection's first request.")
	v.Duration(&c.readTimeout, "HEED_INGEST_READ_TIMEOUT", 10*time.Second, "How long a request's header and body may take; then the answer is 408.")
	v.Duration(&c.idleTimeout, "HEED_INGEST_IDLE_TIMEOUT", 75*time.Second, "How long an idle connection is kept; longer than the idle time of a load balancer in front.")
	v.List(&c.trustedProxies, "HEED_INGEST_TRUSTED_PROXIES", "", "Networks (CIDR) of proxies in front whose X-Forwarded-For is believed, for verification by address and the peer's pseudonym.")
	v.String(&c.certFile, "HEED_INGEST_TLS_CERT_FILE", "", "Certificate chain (PEM) for TLS on the data port; read again when it changes. Without it the port speaks plain HTTP, for a proxy in front.")
	v.String(&c.keyFile, "HEED_INGEST_TLS_KEY_FILE", "", "Private key (PEM) of HEED_INGEST_TLS_CERT_FILE.")
	v.String(&c.spoolDir, "HEED_INGEST_SPOOL_DIR", "", "Directory for callbacks that Kafka doesn't acknowledge in time; of this replica alone, and outliving it. Without it such callbacks are answered 503.")
	v.Duration(&c.spoolAfter, "HEED_INGEST_SPOOL_AFTER", 750*time.Millisecond, "How long Kafka has to acknowledge a callback before it is spooled; at most 1500ms, so that the answer comes within 2 s.")
	v.Size(&c.spoolMax, "HEED_INGEST_SPOOL_MAX", "4GiB", "Largest size of the spool; when it is full the answer is 503.")
	v.Duration(&c.unreadyFor, "HEED_INGEST_UNREADY_FOR", 3*time.Second, "How long callbacks are still taken after the stop began and /readyz said so: as long as a load balancer needs to notice; at most 10s.")
}

// answerBudget is how long Kafka has when there is no spool: the shortest answer limit of a
// provider is 3 s (Mobtexting), and we answer within 2.
const answerBudget = 1800 * time.Millisecond

// memory is what all the limits come to when all are reached, less a tenth for what Go does not
// count: 221 MiB by default.
func (c *config) memory() int64 {
	const aPlace = 14 << 10 // a connection's goroutine, buffers and structures
	return (3*c.maxInFlight + int64(c.maxConnections)*aPlace) / 10 * 9
}

// check looks at what the variables name.
func (c *config) check() error {
	var wrong []error
	var err error
	if c.pseudo, err = schemas.ParsePseudonymKeys(c.pseudonymKeys); err != nil {
		wrong = append(wrong, fmt.Errorf("HEED_PSEUDONYM_KEY: %w", err))
	}
	c.trusted = nil
	for _, word := range c.trustedProxies {
		network, err := netip.ParsePrefix(word)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("HEED_INGEST_TRUSTED_PROXIES: %q is no network such as 10.0.0.0/8", word))
		}
		c.trusted = append(c.trusted, network)
	}
	if (c.certFile == "") != (c.keyFile == "") {
		wrong = append(wrong, errors.New("HEED_INGEST_TLS_CERT_FILE and HEED_INGEST_TLS_KEY_FILE are given both or not at all"))
	} else if c.certFile != "" {
		if _, err := loadCertificate(c.certFile, c.keyFile); err != nil {
			wrong = append(wrong, fmt.Errorf("HEED_INGEST_TLS_CERT_FILE: %w", err))
		}
	}
	if c.spoolAfter > 1500*time.Millisecond {
		wrong = append(wrong, errors.New("HEED_INGEST_SPOOL_AFTER: at most 1500ms, so that the answer comes within 2 s"))
	}
	if c.unreadyFor > 10*time.Second {
		wrong = append(wrong, errors.New("HEED_INGEST_UNREADY_FOR: at most 10s, so that the stop stays inside its budget"))
	}
	if c.readTimeout < c.headerTimeout {
		wrong = append(wrong, errors.New("HEED_INGEST_READ_TIMEOUT: it holds for header and body, so it can't be shorter than HEED_INGEST_HEADER_TIMEOUT"))
	}
	if c.maxInFlight < c.maxBody+c.maxHeader {
		wrong = append(wrong, errors.New("HEED_INGEST_MAX_IN_FLIGHT: smaller than one callback (HEED_INGEST_MAX_BODY and HEED_INGEST_MAX_HEADER)"))
	}
	endpoints, err := c.readEndpoints(os.ReadFile)
	if err == nil {
		_, err = makeRoutes(endpoints, nil, &tallies{})
	}
	if err != nil {
		wrong = append(wrong, fmt.Errorf("HEED_ENDPOINTS_FILE: %s:\n%w", c.endpointsFile, err))
	}
	return errors.Join(wrong...)
}

// notes says what is valid but should be known.
func (c *config) notes() []string {
	endpoints, err := c.readEndpoints(os.ReadFile)
	if err != nil {
		return nil
	}
	var notes []string
	for i := range endpoints {
		e := &endpoints[i]
		for _, note := range handshake.Notes(e) {
			notes = append(notes, "endpoint "+e.Endpoint+" "+note)
		}
	}
	if c.spoolDir == "" {
		notes = append(notes, "HEED_INGEST_SPOOL_DIR is not set: while Kafka is away callbacks are answered 503")
	}
	return notes
}

// readEndpoints reads the endpoints file and the secrets that it names.
func (c *config) readEndpoints(read func(path string) ([]byte, error)) ([]schemas.Endpoint, error) {
	data, err := read(c.endpointsFile)
	if err != nil {
		return nil, err
	}
	return schemas.ParseEndpoints(data, schemas.EndpointContext{
		Providers: Providers(),
		Presets:   Presets,
		Getenv:    os.LookupEnv,
		ReadFile:  read,
	})
}
