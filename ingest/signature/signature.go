// Package signature proves where a callback comes from, and signs one as a provider would: pure
// functions of header, body, peer address and time, for every scheme of the endpoints file.
// Ingest verifies with it, `heed send` signs with it.
//
// It refuses to look at anything but the raw bytes (a body that was parsed and written again is
// another body), and compares in constant time.
//
// Invariant: a callback passes only if every entry of its endpoint holds; within an entry any of
// its secrets will do, so that a secret can be changed without a gap.
package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/schemas"
)

// Request is what a proof is looked for in.
type Request struct {
	Header http.Header
	Peer   netip.Addr
	Body   []byte    // exactly as it came
	Time   time.Time // of receipt; only standard-webhooks looks at it
}

// Reason says why a callback was refused; it is a metric label. The zero value is: not refused.
type Reason string

// The reasons.
const (
	Missing   Reason = "missing"   // the proof isn't there
	Malformed Reason = "malformed" // the proof can't be read
	Mismatch  Reason = "mismatch"  // the proof is wrong
	Address   Reason = "address"   // the peer's address is not allowed
	Expired   Reason = "expired"   // the proof's time is too far from ours
)

// Reasons lists every reason.
func Reasons() []Reason { return []Reason{Missing, Malformed, Mismatch, Address, Expired} }

// Verifier holds an endpoint's schemes, ready for use by many goroutines.
type Verifier struct {
	checks  []func(*Request) Reason
	secrets []string // headers that carry a proof
}

// New prepares the entries of an endpoint. It refuses a secret that can't be a key of its scheme.
func New(entries []schemas.Verify) (*Verifier, error) {
	v := &Verifier{}
	for _, e := range entries {
		check, err := checkOf(e)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", e.Scheme, err)
		}
		v.checks = append(v.checks, check)
		v.secrets = append(v.secrets, headersOf(e)...)
	}
	if len(v.checks) == 0 {
		return nil, fmt.Errorf("no verification; say scheme: none where that is meant")
	}
	return v, nil
}

// Verify tells why the request is refused, or "".
func (v *Verifier) Verify(r *Request) Reason {
	for _, check := range v.checks {
		if reason := check(r); reason != "" {
			return reason
		}
	}
	return ""
}

// ProofHeaders names the headers that carry a proof: they are not kept on the record.
func (v *Verifier) ProofHeaders() []string { return v.secrets }

const (
	telesignHeader   = "X-Ts-Authorization"
	exotelHeader     = "X-Exotel-Signature"
	mobtextingHeader = "Signature"
	metaHeader       = "X-Hub-Signature-256"
	rbmHeader        = "X-Goog-Signature"

	webhookID        = "Webhook-Id"
	webhookTimestamp = "Webhook-Timestamp"
	webhookSignature = "Webhook-Signature"
)

func headersOf(e schemas.Verify) []string {
	switch e.Scheme {
	case schemas.SchemeBearer, schemas.SchemeBasic:
		return []string{"Authorization"}
	case schemas.SchemeHeader, schemas.SchemeHMAC:
		return []string{http.CanonicalHeaderKey(e.Header)}
	case schemas.SchemeTelesign:
		return []string{"Authorization", telesignHeader}
	case schemas.SchemeExotel:
		return []string{exotelHeader}
	case schemas.SchemeMobtexting:
		return []string{mobtextingHeader}
	case schemas.SchemeMeta:
		return []string{metaHeader}
	case schemas.SchemeGoogleRBM:
		return []string{rbmHeader}
	case schemas.SchemeStandardWebhooks:
		return []string{webhookSignature}
	}
	return nil
}

// checkOf prepares one entry.
func checkOf(e schemas.Verify) (func(*Request) Reason, error) {
	switch e.Scheme {
	case schemas.SchemeNone:
		return func(*Request) Reason { return "" }, nil
	case schemas.SchemeIP:
		return checkPeer(e.Allow), nil
	case schemas.SchemeBearer:
		return checkToken(e.Secrets, func(h http.Header) (string, Reason) { return credentials(h, "Bearer") }), nil
	case schemas.SchemeHeader:
		return checkToken(e.Secrets, func(h http.Header) (string, Reason) { return first(h, e.Header) }), nil
	case schemas.SchemeBasic:
		want := make([]schemas.Secret, len(e.Secrets))
		for i, s := range e.Secrets {
			want[i] = schemas.NewSecret(e.User + ":" + s.Reveal())
		}
		return checkToken(want, basicPair), nil
	}
	signed, err := signedBy(e)
	if err != nil {
		return nil, err
	}
	if e.Scheme == schemas.SchemeStandardWebhooks {
		return checkStandardWebhooks(signed.keys), nil
	}
	return signed.check, nil
}

// signing is a scheme that puts an HMAC over the body into a header.
type signing struct {
	keys   []*macKey
	header string
	prefix string                                         // before the digest
	base64 bool                                           // else hex
	given  func(http.Header) (given []string, r Reason)   // nil: the header's value
	part   func(body []byte) (part []byte, reason Reason) // nil: the whole body
}

// signedBy gives the signing of an entry. Where a scheme's key is not the secret's own bytes,
// the difference stands here.
func signedBy(e schemas.Verify) (*signing, error) {
	s := &signing{}
	algorithm, decode := "sha256", func(secret string) ([]byte, error) { return []byte(secret), nil }
	switch e.Scheme {
	case schemas.SchemeHMAC:
		s.header, s.prefix, s.base64, algorithm = e.Header, e.Prefix, e.Encoding == "base64", e.Algorithm
	case schemas.SchemeExotel:
		s.header, s.prefix = exotelHeader, "sha256="
	case schemas.SchemeMeta:
		s.header, s.prefix = metaHeader, "sha256="
	case schemas.SchemeMobtexting:
		s.header = mobtextingHeader
	case schemas.SchemeGoogleRBM:
		s.header, s.base64, s.part, algorithm = rbmHeader, true, rbmData, "sha512"
	case schemas.SchemeTelesign:
		s.header, s.base64, s.given, decode = telesignHeader, true, telesignProofs(e.CustomerID), base64Key
	case schemas.SchemeStandardWebhooks:
		s.header, s.base64, decode = webhookSignature, true, func(secret string) ([]byte, error) {
			return base64Key(strings.TrimPrefix(secret, "whsec_"))
		}
	default:
		return nil, fmt.Errorf("the scheme is not known")
	}
	for i, secret := range e.Secrets {
		key, err := decode(secret.Reveal())
		if err != nil {
			return nil, fmt.Errorf("secret %d is not base64", i+1)
		}
		mac, err := newMACKey(algorithm, key)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, mac)
	}
	return s, nil
}

func base64Key(secret string) ([]byte, error) {
	return base64.StdEncoding.WithPadding(base64.NoPadding).DecodeString(strings.TrimRight(secret, "="))
}

func (s *signing) check(r *Request) Reason {
	var proofs []string
	var buffer [1]string
	if s.given != nil {
		var reason Reason
		if proofs, reason = s.given(r.Header); reason != "" {
			return reason
		}
	} else {
		value, reason := first(r.Header, s.header)
		if reason != "" {
			return reason
		}
		buffer[0] = value
		proofs = buffer[:]
	}
	body := r.Body
	if s.part != nil {
		var reason Reason
		if body, reason = s.part(body); reason != "" {
			return reason
		}
	}
	worst := Malformed
	for _, proof := range proofs {
		digest, ok := s.decode(proof)
		if !ok {
			continue
		}
		worst = Mismatch
		if anyKey(s.keys, digest, body) {
			return ""
		}
	}
	return worst
}

// decode reads the digest of a proof.
func (s *signing) decode(proof string) ([]byte, bool) {
	text, ok := strings.CutPrefix(proof, s.prefix)
	if !ok {
		return nil, false
	}
	if s.base64 {
		digest, err := base64Key(text)
		return digest, err == nil
	}
	digest, err := hex.DecodeString(text)
	return digest, err == nil
}

// rbmData is the part that Google signs: the decoded message.data.
func rbmData(body []byte) ([]byte, Reason) {
	var envelope struct {
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if json.Unmarshal(body, &envelope) != nil || envelope.Message.Data == nil {
		return nil, Malformed
	}
	return envelope.Message.Data, ""
}

// telesignProofs finds the signature in either header, with or without "TSA <customer id>:" in
// front, as Telesign's own samples read it differently.
func telesignProofs(customerID string) func(http.Header) ([]string, Reason) {
	return func(h http.Header) ([]string, Reason) {
		var proofs []string
		reason := Missing
		for _, name := range []string{"Authorization", telesignHeader} {
			value, missing := first(h, name)
			if missing != "" {
				continue
			}
			bare := value
			if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "TSA") { // RFC 9110 §11.1: any case
				bare = rest
			}
			if id, proof, ok := strings.Cut(bare, ":"); ok {
				if customerID != "" && !strings.EqualFold(strings.TrimSpace(id), customerID) {
					reason = Mismatch
					continue
				}
				bare = proof
			}
			bare = strings.TrimSpace(bare)
			proofs = append(proofs, bare)
		}
		if len(proofs) == 0 {
			return nil, reason
		}
		return proofs, ""
	}
}

// tolerance is how far a Standard Webhooks time stamp may be from ours; the specification's
// libraries use the same.
const tolerance = 5 * time.Minute

// checkStandardWebhooks: signature over "id.timestamp.body", one or more "v1,<base64>" in the header.
func checkStandardWebhooks(keys []*macKey) func(*Request) Reason {
	return func(r *Request) Reason {
		id, missingID := first(r.Header, webhookID)
		stamp, missingTime := first(r.Header, webhookTimestamp)
		given, missing := first(r.Header, webhookSignature)
		if missingID != "" || missingTime != "" || missing != "" {
			return Missing
		}
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil {
			return Malformed
		}
		if off := r.Time.Sub(time.Unix(seconds, 0)); off > tolerance || off < -tolerance {
			return Expired
		}
		worst := Malformed
		for word := range strings.FieldsSeq(given) {
			text, ok := strings.CutPrefix(word, "v1,")
			if !ok {
				continue
			}
			digest, err := base64Key(text)
			if err != nil {
				continue
			}
			worst = Mismatch
			if anyKey(keys, digest, []byte(id), []byte("."), []byte(stamp), []byte("."), r.Body) {
				return ""
			}
		}
		return worst
	}
}

func checkPeer(allow []netip.Prefix) func(*Request) Reason {
	return func(r *Request) Reason {
		peer := r.Peer.Unmap()
		for _, network := range allow {
			if network.Contains(peer) {
				return ""
			}
		}
		return Address
	}
}

// checkToken compares a token with the secrets. Both sides are hashed first, so that the time
// taken tells nothing about the secret's length either.
func checkToken(secrets []schemas.Secret, given func(http.Header) (string, Reason)) func(*Request) Reason {
	want := make([][sha256.Size]byte, len(secrets))
	for i, s := range secrets {
		want[i] = sha256.Sum256([]byte(s.Reveal()))
	}
	return func(r *Request) Reason {
		token, reason := given(r.Header)
		if reason != "" {
			return reason
		}
		got := sha256.Sum256([]byte(token))
		same := 0
		for i := range want {
			same |= subtle.ConstantTimeCompare(got[:], want[i][:])
		}
		if same == 0 {
			return Mismatch
		}
		return ""
	}
}

// Equal tells whether token is one of the secrets, in constant time: for the tokens of handshakes.
func Equal(token string, secrets []schemas.Secret) bool {
	return checkToken(secrets, func(http.Header) (string, Reason) { return token, "" })(&Request{}) == ""
}

// first is the header's only value. Two values are refused: which of them was meant is a
// question that a proxy in front may answer differently.
func first(h http.Header, name string) (string, Reason) {
	values := h[http.CanonicalHeaderKey(name)]
	switch {
	case len(values) == 0 || values[0] == "":
		return "", Missing
	case len(values) > 1:
		return "", Malformed
	}
	return values[0], ""
}

// credentials is what follows the scheme's name in Authorization; the name's case is free (RFC 9110 §11.1).
func credentials(h http.Header, scheme string) (string, Reason) {
	value, reason := first(h, "Authorization")
	if reason != "" {
		return "", reason
	}
	name, rest, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(name, scheme) {
		return "", Malformed
	}
	return strings.TrimLeft(rest, " "), ""
}

func basicPair(h http.Header) (string, Reason) {
	text, reason := credentials(h, "Basic")
	if reason != "" {
		return "", reason
	}
	pair, err := base64Key(text)
	if err != nil {
		return "", Malformed
	}
	return string(pair), ""
}
