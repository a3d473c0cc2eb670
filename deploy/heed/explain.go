package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/ingest/handshake"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/providers"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// explanation is what ingest and the normalizer make of one captured request. It is computed
// by their own packages: handshake, the provider's adapter, translate.
type explanation struct {
	outcome   string
	handshake handshake.Kind
	outs      []translate.Out
	failures  []adapter.Failure
	ignored   string // why nothing came of it
	answer    answer
}

// answer is what ingest answers.
type answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// The outcomes of contract §1.
const (
	outcomeEvents     = "events"
	outcomeDeadLetter = "dead_letter"
	outcomeHandshake  = "handshake"
	outcomeIgnored    = "ignored"
)

// maxBody is ingest's default of HEED_INGEST_MAX_BODY.
const maxBody = 1 << 20

// methods are those that ingest takes callbacks by.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut}

// explain follows one request. Signatures are not checked: whoever captured a request rarely has
// the secret, and a credential is redacted in captures anyway.
func explain(o schemas.Origin, configured schemas.Answer, capture schemas.Capture, receivedAt time.Time) explanation {
	header := http.Header{}
	for _, f := range capture.Header {
		header.Add(f.Name, f.Value)
	}
	found, ok := handshake.Of(o.Provider, handshake.Request{Method: capture.Method, Query: capture.Query(), Header: header, Body: capture.Body})
	switch {
	case ok:
		e := explanation{outcome: outcomeHandshake, handshake: found.Kind, answer: answer{Status: found.Answer.Status, Headers: map[string]string{}, Body: found.Answer.Body}}
		for _, h := range found.Answer.Header {
			e.answer.Headers[h[0]] = h[1]
		}
		return e
	case !slices.Contains(methods, capture.Method):
		return refused(http.StatusMethodNotAllowed, "ingest takes callbacks by "+strings.Join(methods, ", ")+" only")
	case len(capture.Body) > maxBody:
		return refused(http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB (HEED_INGEST_MAX_BODY)")
	}
	e := explanation{answer: answer{Status: http.StatusOK, Headers: map[string]string{}, Body: configured.Body}}
	if configured.Status != 0 {
		e.answer.Status = configured.Status
	}
	if configured.ContentType != "" {
		e.answer.Headers["Content-Type"] = configured.ContentType
	}
	raw := adapter.Raw{Origin: o, Request: capture, ReceivedAt: receivedAt}
	i := slices.IndexFunc(providers.All(), func(a adapter.Adapter) bool { return a.Provider() == o.Provider })
	if i < 0 {
		e.outcome = outcomeDeadLetter
		e.failures = []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.UnknownProvider, Message: fmt.Sprintf("no adapter for provider %q; there are %s", o.Provider, strings.Join(providerNames(), ", "))}}
		return e
	}
	e.outs, e.failures, e.ignored = understand(providers.All()[i], raw)
	switch {
	case len(e.outs) > 0:
		e.outcome = outcomeEvents
	case len(e.failures) > 0:
		e.outcome = outcomeDeadLetter
	default:
		e.outcome = outcomeIgnored
	}
	return e
}

func refused(status int, why string) explanation {
	return explanation{outcome: outcomeIgnored, ignored: why, answer: answer{Status: status, Headers: map[string]string{"Content-Type": "application/problem+json"}}}
}

// understand is the normalizer's: an adapter that breaks costs its callback a dead letter.
func understand(a adapter.Adapter, raw adapter.Raw) (outs []translate.Out, failures []adapter.Failure, ignored string) {
	defer func() {
		if v := recover(); v != nil {
			what := fmt.Sprintf("a %T", v)
			if err, ok := v.(runtime.Error); ok {
				what = err.Error()
			}
			outs, ignored = nil, ""
			failures = []adapter.Failure{{Index: adapter.WholeCallback, Class: adapter.Panic, Message: "the adapter broke: " + what}}
		}
	}()
	result := a.Adapt(raw)
	outs, failures = translate.Events(raw, result, translate.Envelope{})
	return outs, failures, result.Ignored
}

func providerNames() []string {
	var names []string
	for _, a := range providers.All() {
		names = append(names, a.Provider())
	}
	return names
}

// question is a line of heed explain -.
type question struct {
	Endpoint json.RawMessage `json:"endpoint"`
	Request  struct {
		Method  string                     `json:"method"`
		Path    string                     `json:"path"`
		Query   string                     `json:"query"`
		Headers map[string]json.RawMessage `json:"headers"` // a string, or several
		Base64  string                     `json:"body_base64"`
	} `json:"request"`
	ReceivedAt string `json:"received_at"`
}

// reply is a line of its output.
type reply struct {
	Outcome  string            `json:"outcome"`
	Events   []json.RawMessage `json:"events"`
	Failures []failure         `json:"failures"`
	Reason   string            `json:"reason,omitempty"` // of "ignored"
	Answer   *answer           `json:"answer,omitempty"` // absent for a line that is no request
}

type failure struct {
	Index   *int   `json:"index,omitempty"` // absent: the whole callback
	Class   string `json:"class"`
	Message string `json:"message"`
}

// explainLines answers every line of in with one line, in order. It fails only when in or out do.
func explainLines(ctx context.Context, in io.Reader, out io.Writer, now func() time.Time) error {
	r, w := bufio.NewReaderSize(in, 1<<20), bufio.NewWriterSize(out, 1<<20)
	for ctx.Err() == nil {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 || err == nil {
			if e := writeReply(w, explainLine(bytes.TrimSpace(line), now)); e != nil {
				return e
			}
		}
		if r.Buffered() == 0 { // somebody may be waiting for this answer before the next question
			if e := w.Flush(); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), ctx.Err())
}

// lineEnds are the characters besides \n at which some readers of lines end one (Python's splitlines);
// in JSON they can only stand in strings.
var lineEnds = strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`)

func writeReply(w *bufio.Writer, r reply) error {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return err
	}
	_, err := lineEnds.WriteString(w, b.String())
	return err
}

func explainLine(line []byte, now func() time.Time) reply {
	o, configured, capture, receivedAt, err := readQuestion(line, now)
	if err != nil {
		return reply{Outcome: outcomeDeadLetter, Events: []json.RawMessage{}, Failures: []failure{{Class: string(adapter.Malformed), Message: "the line is not a question: " + err.Error()}}}
	}
	return explain(o, configured, capture, receivedAt).reply()
}

func (e explanation) reply() reply {
	r := reply{Outcome: e.outcome, Events: []json.RawMessage{}, Failures: []failure{}, Answer: &e.answer}
	if e.outcome == outcomeIgnored {
		r.Reason = e.ignored
	}
	for i := range e.outs {
		r.Events = append(r.Events, e.outs[i].Event.Structured())
	}
	for _, f := range e.failures {
		one := failure{Class: string(f.Class), Message: f.Message}
		if f.Index != adapter.WholeCallback {
			one.Index = &f.Index
		}
		r.Failures = append(r.Failures, one)
	}
	return r
}

// readQuestion reads a line. Keys of the endpoint that say nothing about understanding (verify,
// lane, rate) are taken and not looked at.
func readQuestion(line []byte, now func() time.Time) (o schemas.Origin, configured schemas.Answer, capture schemas.Capture, receivedAt time.Time, err error) {
	var q question
	if err = json.Unmarshal(line, &q); err != nil {
		return
	}
	var more struct {
		Answer struct {
			Status      int    `json:"status"`
			ContentType string `json:"content_type"`
			Body        string `json:"body"`
		} `json:"answer"`
	}
	if len(q.Endpoint) == 0 {
		q.Endpoint = []byte("{}")
	}
	if err = errors.Join(json.Unmarshal(q.Endpoint, &o), json.Unmarshal(q.Endpoint, &more)); err != nil {
		err = fmt.Errorf("endpoint: %w", err)
		return
	}
	configured = schemas.Answer(more.Answer)
	if o.Provider == "" {
		err = errors.New("endpoint.provider is missing")
		return
	}
	if err = schemas.CheckZone(o.NaiveZone); err != nil {
		err = fmt.Errorf("endpoint.naive_zone: %w", err)
		return
	}
	if o.Mapping != nil && slices.Contains(providerNames(), o.Provider) {
		if wrong := o.Mapping.Problems(o.Provider, presetsOf(o.Provider)); len(wrong) > 0 {
			err = fmt.Errorf("endpoint: %s", strings.Join(wrong, "; "))
			return
		}
	}
	receivedAt = now().UTC()
	if q.ReceivedAt != "" {
		if receivedAt, err = time.Parse(time.RFC3339Nano, q.ReceivedAt); err != nil {
			err = errors.New("received_at is not RFC 3339")
			return
		}
	}
	if capture, err = q.capture(o.Endpoint); err != nil {
		err = fmt.Errorf("request: %w", err)
	}
	return
}

func (q *question) capture(id string) (schemas.Capture, error) {
	c := schemas.Capture{Method: strings.ToUpper(q.Request.Method), Target: q.Request.Path}
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if c.Target == "" {
		c.Target = "/v1/callbacks/" + id
	}
	if query := strings.TrimPrefix(q.Request.Query, "?"); query != "" {
		c.Target += "?" + query
	}
	header := http.Header{}
	for name, raw := range q.Request.Headers {
		var one string
		var several []string
		switch {
		case json.Unmarshal(raw, &one) == nil:
			several = []string{one}
		case json.Unmarshal(raw, &several) == nil:
		default:
			return c, fmt.Errorf("header %s is neither a string nor a list of strings", name)
		}
		header[name] = several
	}
	c.Header = schemas.Fields(header)
	var err error
	if c.Body, err = base64.StdEncoding.DecodeString(q.Request.Base64); err != nil {
		return c, errors.New("body_base64 is not base64")
	}
	return c, nil
}

// structured is an event for people: indented.
func structured(e *stream.Event) string {
	var b bytes.Buffer
	if json.Indent(&b, e.Structured(), "    ", "  ") != nil {
		return string(e.Structured())
	}
	return b.String()
}
