package dispatcher

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

var webhookIDs = base32.StdEncoding.WithPadding(base32.NoPadding)

// webhookID is the Standard Webhooks id of what one request carries: the same for every attempt,
// and without the dot that separates the signed parts, which a CloudEvents id may have.
func webhookID(events ...*stream.Event) string {
	h := sha256.New()
	for _, e := range events {
		h.Write([]byte(e.Source))
		h.Write([]byte{0})
		h.Write([]byte(e.ID))
		h.Write([]byte{0})
	}
	var sum [sha256.Size]byte
	return "msg_" + strings.ToLower(webhookIDs.EncodeToString(h.Sum(sum[:0])[:20]))
}

// signature is the webhook-signature header: one signature per key, so that a receiver that
// knows any of them can verify while keys rotate (Standard Webhooks, "Zero downtime rotation").
func signature(keys []schemas.WebhookKey, id string, at time.Time, body []byte) string {
	var b []byte
	for i, key := range keys {
		if i > 0 {
			b = append(b, ' ')
		}
		mac := hmac.New(sha256.New, key.Bytes())
		mac.Write([]byte(id))
		mac.Write([]byte{'.'})
		mac.Write(strconv.AppendInt(nil, at.Unix(), 10))
		mac.Write([]byte{'.'})
		mac.Write(body)
		b = append(b, "v1,"...)
		b = base64.StdEncoding.AppendEncode(b, mac.Sum(nil))
	}
	return string(b)
}
