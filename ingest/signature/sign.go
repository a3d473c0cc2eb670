package signature

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/heedhq/heed/schemas"
)

// Sign adds to header what the entry's sender would add for body, with the entry's first secret.
// id and now are used by standard-webhooks alone.
func Sign(e schemas.Verify, header http.Header, body []byte, id string, now time.Time) error {
	switch e.Scheme {
	case schemas.SchemeNone, schemas.SchemeIP:
		return nil
	}
	if len(e.Secrets) == 0 {
		return fmt.Errorf("sign %s: no secret", e.Scheme)
	}
	secret := e.Secrets[0].Reveal()
	switch e.Scheme {
	case schemas.SchemeBearer:
		header.Set("Authorization", "Bearer "+secret)
		return nil
	case schemas.SchemeBasic:
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(e.User+":"+secret)))
		return nil
	case schemas.SchemeHeader:
		header.Set(e.Header, secret)
		return nil
	}
	s, err := signedBy(e)
	if err != nil {
		return fmt.Errorf("sign %s: %w", e.Scheme, err)
	}
	part := body
	if s.part != nil {
		var reason Reason
		if part, reason = s.part(body); reason != "" {
			return fmt.Errorf("sign %s: the body has no part that the scheme signs", e.Scheme)
		}
	}
	switch e.Scheme {
	case schemas.SchemeStandardWebhooks:
		stamp := strconv.FormatInt(now.Unix(), 10)
		header.Set(webhookID, id)
		header.Set(webhookTimestamp, stamp)
		header.Set(webhookSignature, "v1,"+base64.StdEncoding.EncodeToString(s.keys[0].mac([]byte(id), []byte("."), []byte(stamp), []byte("."), body)))
	case schemas.SchemeTelesign:
		proof := base64.StdEncoding.EncodeToString(s.keys[0].mac(part))
		header.Set("Authorization", "TSA "+e.CustomerID+":"+proof)
		header.Set(telesignHeader, proof)
	default:
		digest := s.keys[0].mac(part)
		if s.base64 {
			header.Set(s.header, s.prefix+base64.StdEncoding.EncodeToString(digest))
		} else {
			header.Set(s.header, s.prefix+hex.EncodeToString(digest))
		}
	}
	return nil
}
