package road

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sink is a subscriber: it takes deliveries in binary mode and remembers them in their order.
type Sink struct {
	URL string

	mu         sync.Mutex
	deliveries []Delivery
	answer     int
	arrived    chan struct{} // closed and renewed with every delivery
}

// Delivery is one event as it came.
type Delivery struct {
	ID, Source, Type, Subject string
	Header                    http.Header
	Data                      []byte
	At                        time.Time
}

// NewSink opens a subscriber that answers 204 until Answer says otherwise.
func NewSink(t testing.TB) *Sink {
	s := &Sink{answer: http.StatusNoContent, arrived: make(chan struct{})}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Answer sets the status of the answers from now on.
func (s *Sink) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = status
}

func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return // the dispatcher gave up on it
	}
	attribute := func(name string) string {
		value, err := url.PathUnescape(r.Header.Get("ce-" + name)) // CloudEvents HTTP binding 3.1.3.2
		if err != nil {
			return r.Header.Get("ce-" + name)
		}
		return value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, Delivery{
		ID: attribute("id"), Source: attribute("source"), Type: attribute("type"), Subject: attribute("subject"),
		Header: r.Header, Data: data, At: time.Now(),
	})
	close(s.arrived)
	s.arrived = make(chan struct{})
	w.WriteHeader(s.answer)
}

// All are the deliveries so far.
func (s *Sink) All() []Delivery {
	all, _ := s.since(0)
	return all
}

func (s *Sink) since(n int) ([]Delivery, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deliveries[n:len(s.deliveries):len(s.deliveries)], s.arrived
}

// Await waits until a delivery that match accepts has come, also one from before.
func (s *Sink) Await(ctx context.Context, match func(*Delivery) bool) (*Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for seen := 0; ; {
		fresh, more := s.since(seen)
		for i := range fresh {
			if match(&fresh[i]) {
				return &fresh[i], nil
			}
		}
		seen += len(fresh)
		select {
		case <-more:
		case <-ctx.Done():
			return nil, fmt.Errorf("no such delivery among %d", seen)
		}
	}
}

// Data is the value of the delivery's JSON data at names and indexes with points between, as
// text; ok is false where there is none.
func (d *Delivery) Value(path string) (text string, ok bool) {
	decoder := json.NewDecoder(strings.NewReader(string(d.Data)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return "", false
	}
	for name := range strings.SplitSeq(path, ".") {
		switch at := value.(type) {
		case map[string]any:
			value, ok = at[name]
		case []any:
			i, err := strconv.Atoi(name)
			if ok = err == nil && i >= 0 && i < len(at); ok {
				value = at[i]
			}
		default:
			ok = false
		}
		if !ok {
			return "", false
		}
	}
	if s, isText := value.(string); isText {
		return s, true
	}
	out, err := json.Marshal(value)
	return string(out), err == nil
}
