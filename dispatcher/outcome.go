package dispatcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// verdict says what an attempt's end means for the event and for the endpoint.
type verdict int

const (
	// taken: the subscriber has the event.
	taken verdict = iota
	// refused: the subscriber will never take this event; one attempt is enough.
	refused
	// suspect: this event, or the endpoint, has a fault; others tell which.
	suspect
	// down: the endpoint takes nothing now, whatever the event.
	down
	// gone: the endpoint wants no more events at all.
	gone
)

func (v verdict) String() string {
	return [...]string{"taken", "refused", "suspect", "down", "gone"}[v]
}

// outcome is how an attempt ended.
type outcome struct {
	verdict    verdict
	reason     string        // closed list; a metric label: "status_503", "timeout", …
	status     int           // HTTP status, 0 when there was no answer
	retryAfter time.Duration // what the endpoint asked for, at most maxRetryAfter
}

// maxRetryAfter bounds what an endpoint can ask for: an hour. A mistaken date a year ahead
// would hold a lane until its events are lost to retention.
const maxRetryAfter = time.Hour

// judgeStatus judges an answer.
//
//	2xx                     taken
//	400, 413, 415, 422      refused: the request itself is at fault (contract §4)
//	410                     gone: CloudEvents webhook §2.1, Standard Webhooks: disable
//	429, 502, 503, 504      down: Standard Webhooks: throttle; the origin behind a proxy is away
//	520 to 527, 530         down: the same, as a well-known proxy says it
//	everything else         suspect: 401, 403, 404, 409, 500 …, and 3xx, which is never followed
func judgeStatus(status int, header http.Header, now time.Time) outcome {
	o := outcome{status: status, reason: "status_other"}
	if status >= 100 && status <= 599 {
		o.reason = "status_" + strconv.Itoa(status)
	}
	switch {
	case status >= 200 && status <= 299:
		o.verdict = taken
	case status == 400 || status == 413 || status == 415 || status == 422:
		o.verdict = refused
	case status == http.StatusGone:
		o.verdict = gone
	case status == 429 || status >= 502 && status <= 504 || status >= 520 && status <= 527 || status == 530:
		o.verdict = down
		o.retryAfter = parseRetryAfter(header.Get("Retry-After"), now)
	default:
		o.verdict = suspect
		o.retryAfter = parseRetryAfter(header.Get("Retry-After"), now)
	}
	return o
}

// parseRetryAfter reads seconds or a date (RFC 9110 §10.2.3); 0 when there is none or it is past.
func parseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		wait = time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// judgeError judges an attempt that got no answer. What happened before the request was sent is
// the endpoint's fault; a timeout or a connection cut in the middle may be the event's.
func judgeError(err error) outcome {
	var (
		refusedAddress *refusedAddressError
		dns            *net.DNSError
		op             *net.OpError
		record         tls.RecordHeaderError
		certificate    *tls.CertificateVerificationError
		authority      x509.UnknownAuthorityError
		alert          tls.AlertError
	)
	switch {
	case errors.As(err, &refusedAddress):
		return outcome{verdict: down, reason: "address_not_allowed"}
	case errors.As(err, &dns):
		return outcome{verdict: down, reason: "dns"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{verdict: down, reason: "connection_refused"}
	case errors.As(err, &record), errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &alert):
		return outcome{verdict: down, reason: "tls"}
	case errors.As(err, &op) && op.Op == "dial":
		return outcome{verdict: down, reason: "connect"}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return outcome{verdict: suspect, reason: "timeout"}
	}
	return outcome{verdict: suspect, reason: "connection_cut"}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
