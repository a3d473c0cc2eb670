package dispatcher

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// shown is a subscription as the API shows it: the CloudEvents Subscriptions object, without
// what is secret, and how it stands.
type shown struct {
	schemas.Subscription
	Status schemas.SubscriptionStatus `json:"status"`
}

// api serves /v1/subscriptions until its context ends.
func (d *dispatcher) api() (func(context.Context) error, error) {
	tokens, err := d.config.api.Tokens(d.config.listen)
	if err != nil {
		return nil, err
	}
	listener, err := d.host.Listen("data", d.config.listen)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: d.routes(tokens), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 32 << 10, ErrorLog: d.host.ServerLog()}
	return func(ctx context.Context) error {
		failed := make(chan error, 1)
		go func() { failed <- server.Serve(listener) }()
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
		}
		finish, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(finish); err != nil {
			_ = server.Close()
		}
		return nil
	}, nil
}

func (d *dispatcher) routes(tokens *service.Tokens) http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, role service.Role, serve func(w http.ResponseWriter, r *http.Request, who string, s *subscriber)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			who, refused := tokens.Check(r, role)
			if refused != nil {
				if refused.Status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", "Bearer")
				}
				schemas.WriteProblem(w, refused.Status, refused.Code, refused.Detail, 0)
				return
			}
			var s *subscriber
			if id := r.PathValue("id"); id != "" {
				if s = d.current().byID(id); s == nil {
					schemas.WriteProblem(w, http.StatusNotFound, "unknown_subscription", "there is no subscription with this id in the subscriptions file", 0)
					return
				}
			}
			serve(w, r, who, s)
		})
	}
	route("GET /v1/subscriptions", service.RoleRead, d.list)
	route("GET /v1/subscriptions/{id}", service.RoleRead, d.one)
	route("GET /v1/subscriptions/{id}/attempts", service.RoleRead, d.attempts)
	route("POST /v1/subscriptions/{id}/pause", service.RoleWrite, d.pause)
	route("POST /v1/subscriptions/{id}/resume", service.RoleWrite, d.resume)
	fromFile := func(w http.ResponseWriter, _ *http.Request, _ string, _ *subscriber) {
		w.Header().Set("Allow", "GET")
		schemas.WriteProblem(w, http.StatusMethodNotAllowed, "from_file", "subscriptions come from the file of HEED_SUBSCRIPTIONS_FILE, which is read again when it changes", 0)
	}
	for _, pattern := range []string{"POST /v1/subscriptions", "PUT /v1/subscriptions/{id}", "DELETE /v1/subscriptions/{id}"} {
		route(pattern, service.RoleWrite, fromFile)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		schemas.WriteProblem(w, http.StatusNotFound, "unknown_path", "the API is under /v1/subscriptions", 0)
	})
	return mux
}

func (d *dispatcher) list(w http.ResponseWriter, r *http.Request, _ string, _ *subscriber) {
	all, now := []shown{}, time.Now()
	standings := d.standings()
	for _, s := range d.current().subs {
		all = append(all, show(s, standings[s], now))
	}
	answer(w, http.StatusOK, map[string]any{"subscriptions": all})
}

func (d *dispatcher) one(w http.ResponseWriter, r *http.Request, _ string, s *subscriber) {
	d.readEnds(r.Context())
	answer(w, http.StatusOK, show(s, d.standings()[s], time.Now()))
}

// show shows a subscription. Headers that the owner set may be credentials: their names are
// shown, their values not (CloudEvents Subscriptions API: secrets are write-only).
func show(s *subscriber, x *standing, now time.Time) shown {
	one := shown{Subscription: *s.sub}
	one.Settings.Headers = maps.Clone(s.sub.Settings.Headers)
	for name := range one.Settings.Headers {
		one.Settings.Headers[name] = schemas.Redacted
	}
	if x != nil {
		one.Status = schemas.SubscriptionStatus{State: x.state, Reason: x.reason, Lag: x.lag}
		if x.lag > 0 && x.age > 0 {
			oldest := now.Add(-x.age).UTC().Truncate(time.Millisecond)
			one.Status.Oldest = &oldest
		}
	}
	return one
}

func (d *dispatcher) pause(w http.ResponseWriter, r *http.Request, who string, s *subscriber) {
	d.flipTo(w, r, s, schemas.SubscriptionSwitch{Subscription: s.sub.ID, Paused: true, By: who, At: time.Now().UTC()})
}

func (d *dispatcher) resume(w http.ResponseWriter, r *http.Request, who string, s *subscriber) {
	d.flipTo(w, r, s, schemas.SubscriptionSwitch{Subscription: s.sub.ID, By: who, At: time.Now().UTC()})
}

func (d *dispatcher) flipTo(w http.ResponseWriter, r *http.Request, s *subscriber, is schemas.SubscriptionSwitch) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := d.flip(ctx, is); err != nil {
		d.host.Log.Warn("subscription not switched", "subscription", is.Subscription, "by", is.By, "error", err)
		schemas.WriteProblem(w, http.StatusServiceUnavailable, "kafka", "the change could not be kept; it may or may not hold", 5*time.Second)
		return
	}
	d.host.Log.Info("subscription switched", "subscription", is.Subscription, "paused", is.Paused, "by", is.By)
	answer(w, http.StatusOK, show(s, d.standings()[s], time.Now()))
}

// attemptsLookedThrough bounds how many records a question for attempts reads: what is older is
// on the topic, for whoever has more time.
const attemptsLookedThrough = 20000

// attempts answers with the latest attempts of a subscription, by any dispatcher, newest first.
func (d *dispatcher) attempts(w http.ResponseWriter, r *http.Request, _ string, s *subscriber) {
	limit := 100
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			schemas.WriteProblem(w, http.StatusBadRequest, "bad_limit", "limit is 1 to 1000", 0)
			return
		}
		limit = n
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	all, err := d.readAttempts(ctx, s.sub.ID, limit)
	if err != nil {
		d.host.Log.Warn("attempts not read", "subscription", s.sub.ID, "error", err)
		schemas.WriteProblem(w, http.StatusServiceUnavailable, "kafka", "the attempts could not be read", 5*time.Second)
		return
	}
	answer(w, http.StatusOK, map[string]any{"attempts": all})
}

func (d *dispatcher) readAttempts(ctx context.Context, id string, limit int) ([]json.RawMessage, error) {
	bounds, err := d.client.OffsetBounds(ctx, schemas.TopicDispatchAttempts)
	if err != nil {
		return nil, err
	}
	p := stream.PartitionOf([]byte(id), int32(len(bounds)))
	from, to := max(bounds[p].First, bounds[p].End-attemptsLookedThrough), bounds[p].End
	all := []json.RawMessage{}
	if from >= to {
		return all, nil
	}
	_, err = d.client.Replay(ctx, schemas.TopicDispatchAttempts, p, from, to, func(records []stream.Record) error {
		for i := range records {
			if string(records[i].Key) == id && json.Valid(records[i].Value) {
				all = append(all, slices.Clone(json.RawMessage(records[i].Value)))
			}
		}
		if len(all) > limit {
			all = slices.Clone(all[len(all)-limit:])
		}
		return nil
	})
	slices.Reverse(all)
	return all, err
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
