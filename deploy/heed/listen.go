package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/schemas"
)

func (c *call) listen(ctx context.Context) error {
	var answers []int
	c.flags.Func("status", "status codes to answer with, in turn; the last one stays (default 200)", func(s string) error {
		for word := range strings.SplitSeq(s, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil || n < 200 || n > 599 {
				return fmt.Errorf("%q is no status code", word)
			}
			answers = append(answers, n)
		}
		return nil
	})
	delay := c.flags.Duration("delay", 0, "how long to wait before answering")
	retryAfter := c.flags.String("retry-after", "", "value of the Retry-After header of answers that are no 2xx")
	count := c.flags.Int("count", 0, "end after `N` deliveries; exit 1 if one of them had a bad signature")
	asJSON := c.flags.Bool("json", false, "print each delivery as a JSON line")
	secrets := c.secretFlags()
	if err := c.parse(0, 1); err != nil {
		return err
	}
	keys, err := secrets()
	if err != nil {
		return err
	}
	s := &subscriber{call: c, answers: answers, delay: *delay, retryAfter: *retryAfter, json: *asJSON, full: make(chan struct{}), count: *count}
	if len(keys) > 0 {
		// The dispatcher's reading of a secret, which also takes one that is no base64.
		key, err := schemas.ParseWebhookKey(keys[0].Reveal())
		if err != nil {
			return err
		}
		keys[0] = schemas.NewSecret("whsec_" + base64.StdEncoding.EncodeToString(key.Bytes()))
		if s.verifier, err = signature.New([]schemas.Verify{{Scheme: schemas.SchemeStandardWebhooks, Secrets: keys}}); err != nil {
			return err
		}
	}
	addr := "127.0.0.1:8090"
	if len(c.args) == 1 {
		addr = c.args[0]
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.err, "listening on http://%s\n", listener.Addr())
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-s.full:
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = server.Shutdown(stop)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad > 0 {
		return fmt.Errorf("%d of %d deliveries had a bad signature", s.bad, s.seen)
	}
	return nil
}

// subscriber is the server of heed listen. mu guards what follows it.
type subscriber struct {
	*call
	answers    []int
	delay      time.Duration
	retryAfter string
	json       bool
	verifier   *signature.Verifier
	count      int
	full       chan struct{} // closed after count deliveries

	mu   sync.Mutex
	seen int
	bad  int
}

// delivery is what heed listen --json prints of one.
type delivery struct {
	At        time.Time       `json:"at"`
	Answered  int             `json:"answered"`
	Signature string          `json:"signature"`
	Mode      string          `json:"mode"`
	Attempt   string          `json:"attempt,omitempty"`
	Event     json.RawMessage `json:"event,omitempty"`
	Body      string          `json:"body,omitempty"` // of what is no event
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // the CloudEvents webhook handshake
		if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" {
			w.Header().Set("WebHook-Allowed-Origin", origin)
			w.Header().Set("WebHook-Allowed-Rate", "*")
		}
		w.Header().Set("Allow", "POST, PUT, OPTIONS")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	verdict := "not checked"
	if s.verifier != nil {
		verdict = "ok"
		if reason := s.verifier.Verify(&signature.Request{Header: r.Header, Body: body, Time: time.Now()}); reason != "" {
			verdict = "BAD (" + string(reason) + ")"
		}
	} else if r.Header.Get("Webhook-Signature") != "" {
		verdict = "not checked (no --secret-env)"
	}
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := http.StatusOK
	if n := len(s.answers); n > 0 {
		status = s.answers[min(s.seen, n-1)]
	}
	s.seen++
	if strings.HasPrefix(verdict, "BAD") {
		s.bad++
	}
	if status/100 != 2 && s.retryAfter != "" {
		w.Header().Set("Retry-After", s.retryAfter)
	}
	w.WriteHeader(status)
	mode, events := eventsOf(r.Header, body)
	for _, event := range events {
		s.print(delivery{At: time.Now().UTC(), Answered: status, Signature: verdict, Mode: mode, Event: event})
	}
	if len(events) == 0 {
		s.print(delivery{At: time.Now().UTC(), Answered: status, Signature: verdict, Mode: mode, Body: string(body)})
	}
	if s.count > 0 && s.seen == s.count {
		close(s.full)
	}
}

func (s *subscriber) print(d delivery) {
	if s.json {
		line, _ := json.Marshal(d)
		fmt.Fprintf(s.out, "%s\n", line)
		return
	}
	if d.Event == nil {
		fmt.Fprintf(s.out, "%s  answered %d  signature %s  no CloudEvent: %q\n", d.At.Format(time.TimeOnly), d.Answered, d.Signature, d.Body)
		return
	}
	var e struct {
		ID, Type, Subject string
		Data              json.RawMessage
	}
	_ = json.Unmarshal(d.Event, &e)
	fmt.Fprintf(s.out, "%s  answered %d  signature %s  %s\n          id %s  subject %s\n          %s\n",
		d.At.Format(time.TimeOnly), d.Answered, d.Signature, e.Type, e.ID, e.Subject, e.Data)
}

// eventsOf reads a delivery in any CloudEvents HTTP content mode as structured events.
func eventsOf(h http.Header, body []byte) (mode string, events []json.RawMessage) {
	media, _, _ := strings.Cut(strings.ToLower(h.Get("Content-Type")), ";")
	switch strings.TrimSpace(media) {
	case "application/cloudevents+json":
		if json.Valid(body) {
			return "structured", []json.RawMessage{body}
		}
	case "application/cloudevents-batch+json":
		if json.Unmarshal(body, &events) == nil {
			return "batch", events
		}
	default:
		if h.Get("Ce-Specversion") == "" {
			break
		}
		e := map[string]any{"datacontenttype": h.Get("Content-Type")}
		for name := range h {
			if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok {
				value := h.Get(name)
				if plain, err := url.PathUnescape(value); err == nil { // HTTP binding §3.1.3.2
					value = plain
				}
				e[attribute] = value
			}
		}
		if json.Valid(body) {
			e["data"] = json.RawMessage(body)
		} else if len(body) > 0 {
			e["data_base64"] = body
		}
		event, _ := json.Marshal(e)
		return "binary", []json.RawMessage{event}
	}
	return "none", nil
}
