package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// endpoint is an entry of the endpoints file, ready for use.
type endpoint struct {
	schemas.Endpoint
	source      source
	verifier    *signature.Verifier
	tokens      []schemas.Secret // of handshakes
	headers     []stream.Header  // fixed headers of its records
	topic       string
	proofs      []string // header names that are redacted, canonical
	credentials []schemas.Secret
	answerType  []string // value of Content-Type, shared by all answers
	challenge   []string // values of WWW-Authenticate, beside a 401
	limit       *limiter // nil: no limit
	tally       *tally
}

// routes are the endpoints by id. They are never changed; a reload makes new ones.
type routes map[string]*endpoint

// makeRoutes prepares endpoints. Tallies and limiters of old endpoints live on under their id,
// so that a reload neither resets a counter nor opens a new budget.
func makeRoutes(endpoints []schemas.Endpoint, old routes, tallies *tallies) (routes, error) {
	table := make(routes, len(endpoints))
	var wrong []error
	for _, one := range endpoints {
		e, err := makeEndpoint(one)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: endpoint (%s): %w", one.Line, one.Endpoint, err))
			continue
		}
		if before := old[one.Endpoint]; before != nil && before.Rate == one.Rate {
			e.limit = before.limit
		}
		e.tally = tallies.of(one.Endpoint, one.Provider)
		table[one.Endpoint] = e
	}
	return table, errors.Join(wrong...)
}

// setRoutes makes these the endpoints, in one step.
func (h *handler) setRoutes(endpoints []schemas.Endpoint) error {
	table, err := makeRoutes(endpoints, *h.routes.Load(), &h.tallies)
	if err != nil {
		return err
	}
	h.routes.Store(&table)
	h.loads.Add(1)
	return nil
}

func makeEndpoint(one schemas.Endpoint) (*endpoint, error) {
	verifier, err := signature.New(one.Verify)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		Endpoint: one,
		source:   sourceOf(one.Provider),
		verifier: verifier,
		headers:  fixedHeaders(one.Origin),
		topic:    one.Lane.Topic(),
		limit:    newLimiter(float64(one.Rate)),
	}
	for _, name := range append(verifier.ProofHeaders(), schemas.CredentialHeaders()...) {
		e.proofs = append(e.proofs, http.CanonicalHeaderKey(name))
	}
	slices.Sort(e.proofs)
	e.proofs = slices.Compact(e.proofs)
	if one.Handshake != nil {
		e.tokens = one.Handshake.Tokens
	}
	e.credentials = slices.Clone(e.tokens)
	for _, v := range one.Verify {
		e.challenge = append(e.challenge, challengeOf(v.Scheme))
		e.credentials = append(e.credentials, v.Secrets...)
		if v.Scheme == schemas.SchemeGoogleRBM {
			e.tokens = append(slices.Clone(e.tokens), v.Secrets...) // one and the same at Google
		}
	}
	if one.Answer.Body != "" {
		e.answerType = []string{"text/plain; charset=utf-8"}
		if one.Answer.ContentType != "" {
			e.answerType = []string{one.Answer.ContentType}
		}
	}
	return e, nil
}

// challengeOf names what a 401 asks for (RFC 9110 §11.6.1). Some clients give their password only
// when they are asked so; a signature has no scheme of its own there.
func challengeOf(s schemas.Scheme) string {
	switch s {
	case schemas.SchemeBasic:
		return `Basic realm="callbacks", charset="UTF-8"`
	case schemas.SchemeBearer:
		return `Bearer realm="callbacks"`
	case schemas.SchemeTelesign:
		return "TSA"
	}
	return "Proof"
}

// isProof says whether a header proves who calls; name is canonical.
func (e *endpoint) isProof(name string) bool {
	for _, p := range e.proofs {
		if p == name {
			return true
		}
	}
	return false
}

// isCredential says whether a query value is one of the endpoint's secrets.
func (e *endpoint) isCredential(value string) bool {
	plain := unescape(value)
	return len(plain) > 0 && signature.Equal(plain, e.credentials)
}
