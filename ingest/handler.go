package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/ingest/handshake"
	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/schemas"
)

// handler answers providers. What a callback says is never looked at: the bytes are proved,
// kept and answered.
type handler struct {
	routes   atomic.Pointer[routes]
	loads    atomic.Int64 // times that routes were taken
	keep     *keeper
	calls    *calls
	inFlight inFlight
	places   places
	heads    inFlight // of requests whose header is still being read
	underway underway
	peers    peers
	pseudo   *schemas.Pseudonymizer
	tracing  tracing
	tallies  tallies
	took     metric.Float64Histogram
	log      *refusalLog
	maxBody  int64
	instance string
	count    atomic.Uint64 // callbacks so far; part of their ids
}

const callbackPath = "/v1/callbacks/"

// retryAfter is what a provider is told to wait: long enough for a queue to empty, shorter than
// every provider's own pause.
const retryAfter = time.Second

// ServeHTTP takes a callback: route, size, read, handshake, verify, keep, answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if conn, _ := r.Context().Value(connection{}).(*countedConn); conn != nil {
		conn.handed(r)
	}
	if r.ProtoMajor < 2 {
		h.serve(w, r)
		return
	}
	if !h.places.take() {
		// No problem document: it could wait for the client's window, which is the one thing that
		// nobody counts here.
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	defer h.places.free()
	h.serve(w, r)
	// A client that keeps its window shut holds back the body of its answer, and with it the
	// request: that counts while its place is taken. What it sent and nobody reads goes first.
	if len(w.Header()["Content-Type"]) > 0 {
		_ = r.Body.Close()
		_ = http.NewResponseController(w).Flush()
	}
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, callbackPath)
	if !ok {
		schemas.WriteProblem(w, http.StatusNotFound, "no_such_path", "Callbacks go to "+callbackPath+"{endpoint}.", 0)
		return
	}
	e := (*h.routes.Load())[id]
	if e == nil {
		h.tallies.unknown.Add(1)
		schemas.WriteProblem(w, http.StatusNotFound, "no_such_endpoint", "There is no such endpoint.", 0)
		return
	}
	c := h.calls.get()
	span := h.tracing.start(r, c)
	result := h.take(w, r, e, c)
	e.tally.by[result.outcome].Add(1)
	if result.outcome <= spooled {
		e.tally.bytes.Add(int64(result.size))
		h.took.Record(context.Background(), time.Since(result.received).Seconds(), e.tally.labels[result.outcome].(metric.RecordOption))
	} else if result.outcome != handshaken {
		h.log.refused(e, result)
	}
	if span != nil {
		h.tracing.finish(span, e, result.outcome, result.status, result.size)
	}
	h.inFlight.release(c.held)
	h.calls.put(c)
}

// result is what became of a request, for counting and the log.
type result struct {
	outcome outcome
	reason  signature.Reason // of unproved
	why     error            // of notKept
	status  int
	size    int // of the body

	received time.Time // of accepted callbacks
}

func (h *handler) take(w http.ResponseWriter, r *http.Request, e *endpoint, c *call) result {
	var done result
	refuse := func(o outcome, status int, code, detail string, wait time.Duration) result {
		done.outcome, done.status = o, status
		schemas.WriteProblem(w, status, code, detail, wait)
		return done
	}
	switch r.Method {
	case http.MethodPost, http.MethodGet, http.MethodPut, http.MethodHead, http.MethodOptions:
	default:
		w.Header().Set("Allow", handshake.Methods)
		return refuse(wrongMethod, http.StatusMethodNotAllowed, "method_not_allowed", "Callbacks come by POST, PUT or GET.", 0)
	}
	if wait, ok := e.limit.take(); !ok {
		return refuse(rateLimited, http.StatusTooManyRequests, "rate_limited", "More callbacks a second than this endpoint takes.", max(wait, retryAfter))
	}

	c.buf, c.names = appendHead(c.buf, r, e, c.names)
	c.head = len(c.buf)
	switch err := h.read(r, c); {
	case err == nil:
	case errors.Is(err, errTooLarge):
		leaveBody(w, r)
		return refuse(tooLarge, http.StatusRequestEntityTooLarge, "too_large", "The body is larger than "+strconv.FormatInt(h.maxBody, 10)+" bytes.", 0)
	case errors.Is(err, errOverCapacity):
		leaveBody(w, r)
		return refuse(overCapacity, http.StatusServiceUnavailable, "over_capacity", "Too many callbacks are being handled; send this one again.", retryAfter)
	case errors.Is(err, os.ErrDeadlineExceeded):
		leaveBody(w, r)
		return refuse(tooSlow, http.StatusRequestTimeout, "too_slow", "The body did not come in time.", 0)
	default:
		// Said also to who is gone: without an answer net/http would make it a 200.
		leaveBody(w, r)
		return refuse(aborted, http.StatusBadRequest, "body_broken", "The body ended before it was whole, or is not what its header says.", 0)
	}
	body := c.body()
	done.size = len(body)

	if found, ok := handshake.Of(e.Provider, handshake.Request{Method: r.Method, Query: r.URL.RawQuery, Header: r.Header, Body: body, Rate: e.Rate}); ok {
		return h.shake(w, e, found, done)
	}

	slot, received := h.underway.enter()
	defer h.underway.leave(slot)
	peer := h.peers.of(r)
	done.reason = e.verifier.Verify(&signature.Request{Header: r.Header, Peer: peer, Body: body, Time: received})
	if done.reason != "" {
		e.tally.reasons[done.reason].Add(1)
		w.Header()["Www-Authenticate"] = e.challenge
		return refuse(unproved, http.StatusUnauthorized, "unproved", unprovedDetail(done.reason), 0)
	}

	h.identify(c, r, e)
	where, err := h.keep.keep(c, c.message(e, h.peers.pseudonym(peer), received))
	switch {
	case errors.Is(err, errNotKept):
		done.why = err
		return refuse(notKept, http.StatusServiceUnavailable, "not_kept", "The callback could not be kept for certain; send it again.", retryAfter)
	case err != nil:
		return refuse(tooLarge, http.StatusRequestEntityTooLarge, "too_large", "The callback is larger than a record may be.", 0)
	}
	done.outcome, done.status, done.received = where, e.Answer.Status, received
	answer(w, e)
	return done
}

// leaveBody says that what is left of the body is not read. On HTTP/1 the connection ends with
// it; HTTP/2 would do the same for that header, although only the stream is concerned.
func leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	}
}

// identify gives the callback its id and its key: the person's pseudonym, so that one person's
// callbacks keep their order, else a hash of the request. A provider's retry has the same key.
func (h *handler) identify(c *call, r *http.Request, e *endpoint) {
	c.id = h.instance + "-" + strconv.FormatUint(h.count.Add(1), 36)
	kind, address := e.source.user(e.Kind, r.URL.RawQuery, c.body())
	if address != "" {
		c.key = h.pseudo.Of(kind, address)
		return
	}
	c.key = h.pseudo.OfRequest(r.URL.RawQuery, c.body())
}

// shake answers a handshake, if its token rule holds.
func (h *handler) shake(w http.ResponseWriter, e *endpoint, found *handshake.Found, done result) result {
	done.outcome = handshaken
	if !found.Allowed(e.tokens) {
		done.outcome, done.status, done.reason = unproved, http.StatusUnauthorized, badToken
		e.tally.reasons[badToken].Add(1)
		w.Header()["Www-Authenticate"] = e.challenge
		schemas.WriteProblem(w, done.status, "unproved", "The handshake needs the endpoint's token.", 0)
		return done
	}
	done.status = found.Answer.Status
	if found.Kind == handshake.Probe && e.answerType != nil {
		w.Header()["Content-Type"] = e.answerType // of the GET that follows: Exotel looks whether it is text/plain
	}
	for _, field := range found.Answer.Header {
		w.Header().Set(field[0], field[1])
	}
	w.WriteHeader(done.status)
	_, _ = io.WriteString(w, found.Answer.Body)
	return done
}

// answer says that the callback is kept, in the words that the endpoint's owner chose. The usual
// answer, 200 without a body, is what net/http writes by itself; a header of ours would cost a
// tenth of the whole request.
func answer(w http.ResponseWriter, e *endpoint) {
	if e.answerType != nil {
		w.Header()["Content-Type"] = e.answerType
	}
	if e.Answer.Status != http.StatusOK {
		w.WriteHeader(e.Answer.Status)
	}
	if e.Answer.Body != "" && e.Answer.Status != http.StatusNoContent {
		_, _ = io.WriteString(w, e.Answer.Body)
	}
}

var (
	errTooLarge     = errors.New("body too large")
	errOverCapacity = errors.New("over capacity")
)

// read reads the body behind the head. The buffer, and what is held of the in-flight limit,
// grows with what has come and not with what was announced: a client that announces much and
// sends little holds little.
func (h *handler) read(r *http.Request, c *call) error {
	if r.ContentLength > h.maxBody {
		return errTooLarge
	}
	room := 512
	if r.ContentLength >= 0 {
		room = int(min(r.ContentLength, 64<<10))
	}
	if err := h.grow(c, room); err != nil {
		return err
	}
	if r.ContentLength == 0 {
		return nil
	}
	for {
		if len(c.buf) == cap(c.buf) {
			more := len(c.buf)
			if r.ContentLength >= 0 {
				more = min(more, max(512, int(r.ContentLength)-len(c.body())))
			}
			if err := h.grow(c, more); err != nil {
				return err
			}
		}
		n, err := r.Body.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if int64(len(c.body())) > h.maxBody {
			return errTooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// grow makes room for more bytes and holds them of the in-flight limit.
func (h *handler) grow(c *call, more int) error {
	need := int64(len(c.buf) + more)
	if need > c.held {
		if !h.inFlight.hold(need - c.held) {
			return errOverCapacity
		}
		c.held = need
	}
	if free := cap(c.buf) - len(c.buf); free < more {
		bigger := make([]byte, len(c.buf), len(c.buf)+more)
		copy(bigger, c.buf)
		c.buf = bigger
	}
	return nil
}

func unprovedDetail(reason signature.Reason) string {
	switch reason {
	case signature.Missing:
		return "The callback doesn't bring the proof that this endpoint asks for."
	case signature.Malformed:
		return "The proof of the callback can't be read."
	case signature.Address:
		return "Callbacks of this endpoint don't come from this address."
	case signature.Expired:
		return "The proof of the callback is too old, or from the future."
	}
	return "The proof of the callback is wrong."
}

func unescape(value string) string {
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return value
	}
	return plain
}
