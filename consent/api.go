package consent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/consent/intent"
	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/address"
)

const (
	// maxBody: 1,000 checks of at most 400 bytes.
	maxBody = 512 << 10
	// slowTime bounds reading a history or writing an order.
	slowTime = 10 * time.Second
	// scans is how many requests may read whole partitions at the same time.
	scans = 2
)

// api is the data port's handler.
func (s *stage) api() http.Handler {
	a := &api{stage: s, scans: make(chan struct{}, scans), checker: &checker{
		view: s.view, directory: s.cfg.directory, pseudonyms: s.cfg.pseudonyms,
		staleAfter: s.cfg.staleAfter, timeout: s.cfg.checkTimeout, now: time.Now,
	}}
	mux := http.NewServeMux()
	for _, route := range []struct {
		method, path string
		role         service.Role
		serve        func(http.ResponseWriter, *http.Request, string)
	}{
		{http.MethodPost, "/v1/consent/check", service.RoleCheck, a.check},
		{http.MethodGet, "/v1/consent/export", service.RoleExport, a.export},
		{http.MethodPost, "/v1/consent", service.RoleWrite, a.order},
		{http.MethodGet, "/v1/consent/{user}/history", service.RoleRead, a.history},
		{http.MethodGet, "/v1/consent/{user}", service.RoleRead, a.show},
	} {
		mux.HandleFunc(route.path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != route.method {
				w.Header().Set("Allow", route.method)
				schemas.WriteProblem(w, http.StatusMethodNotAllowed, "method", "this path takes "+route.method, 0)
				return
			}
			name, refused := s.cfg.tokens.Check(r, route.role)
			if refused != nil {
				if refused.Status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", "Bearer")
				}
				schemas.WriteProblem(w, refused.Status, refused.Code, refused.Detail, 0)
				return
			}
			route.serve(w, r, name)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		schemas.WriteProblem(w, http.StatusNotFound, "no_such_path", "the API's paths begin with /v1/consent", 0)
	})
	return mux
}

type api struct {
	*stage
	checker *checker
	scans   chan struct{}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// body reads a JSON body strictly; false after a problem was answered.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands after the object")
		}
	}
	var tooLarge *http.MaxBytesError
	var shape *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		schemas.WriteProblem(w, http.StatusRequestEntityTooLarge, "too_large", "the body may have at most 512 KiB", 0)
	case errors.As(err, &shape): // its own text would show the value
		schemas.WriteProblem(w, http.StatusBadRequest, "malformed", "the body: "+shape.Field+" has the wrong type", 0)
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		schemas.WriteProblem(w, http.StatusBadRequest, "malformed", "the body is not JSON", 0)
	default:
		schemas.WriteProblem(w, http.StatusBadRequest, "malformed", "the body: "+err.Error(), 0)
	}
	return false
}

// check: POST /v1/consent/check.
func (a *api) check(w http.ResponseWriter, r *http.Request, _ string) {
	began := time.Now()
	var req schemas.CheckRequest
	if !body(w, r, &req) {
		return
	}
	if len(req.Checks) == 0 || len(req.Checks) > schemas.MaxChecks {
		schemas.WriteProblem(w, http.StatusBadRequest, "checks", "checks must hold 1 to 1000 questions", 0)
		return
	}
	results, asOf := a.checker.check(r.Context(), req.Checks)
	response := schemas.CheckResponse{Results: results}
	if !asOf.IsZero() {
		response.AsOf = &asOf
		a.metrics.age.Store(int64(time.Since(asOf)))
	}
	answer(w, http.StatusOK, response)
	a.metrics.checked(r.Context(), results, time.Since(began))
}

// user reads the person of the path; false after a problem was answered.
func (a *api) user(w http.ResponseWriter, r *http.Request) (schemas.User, bool) {
	user, ok := address.Parse(r.PathValue("user"))
	if !ok {
		schemas.WriteProblem(w, http.StatusBadRequest, "invalid_user", "the user must be a number in E.164 with + (%2B in a path), an e-mail address, or bsuid:... or opaque:...", 0)
	}
	return user, ok
}

// show: GET /v1/consent/{user}.
func (a *api) show(w http.ResponseWriter, r *http.Request, _ string) {
	user, ok := a.user(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), slowTime)
	defer cancel()
	people := a.cfg.pseudonyms.All(user.Kind, user.Address)
	status := schemas.ConsentStatus{User: user.Address, Person: people[0], Registers: []schemas.RegisterStatus{}}
	n, err := a.view.partitions(ctx)
	if err != nil {
		unavailable(w)
		return
	}
	for _, person := range people {
		p := stream.PartitionOf([]byte(person), n)
		v, err := a.view.read(ctx, p, []string{person})
		if err != nil {
			unavailable(w)
			return
		}
		if v.why != "" {
			schemas.WriteProblem(w, http.StatusServiceUnavailable, string(v.why), "the view of this person is being rebuilt; every check is denied meanwhile", time.Second)
			return
		}
		if !v.asOf.IsZero() && (status.AsOf == nil || v.asOf.Before(*status.AsOf)) {
			status.AsOf = &v.asOf
		}
		var keys []state.Key
		for k := range v.people[person] {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, func(x, y state.Key) int { return strings.Compare(string(x[:]), string(y[:])) })
		scopes, err := a.view.names(ctx, p, keys)
		if err != nil {
			unavailable(w)
			return
		}
		for i, k := range keys {
			reg := v.people[person][k]
			status.Registers = append(status.Registers, schemas.RegisterStatus{Scope: scopes[i], State: reg.State(), Stop: moment(reg.Stop), Start: moment(reg.Start)})
		}
	}
	answer(w, http.StatusOK, status)
}

func moment(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

func unavailable(w http.ResponseWriter) {
	schemas.WriteProblem(w, http.StatusServiceUnavailable, "unavailable", "what the answer rests on does not answer; try again", time.Second)
}

// scan takes one of the few places for requests that read whole partitions.
func (a *api) scan(w http.ResponseWriter) (release func(), ok bool) {
	select {
	case a.scans <- struct{}{}:
		return func() { <-a.scans }, true
	default:
		schemas.WriteProblem(w, http.StatusTooManyRequests, "busy", "two requests that read all facts are running; try again", 5*time.Second)
		return nil, false
	}
}

// history: GET /v1/consent/{user}/history. It reads the person's partition of the facts.
func (a *api) history(w http.ResponseWriter, r *http.Request, _ string) {
	user, ok := a.user(w, r)
	if !ok {
		return
	}
	release, ok := a.scan(w)
	if !ok {
		return
	}
	defer release()
	n, err := a.view.partitions(r.Context())
	if err != nil {
		unavailable(w)
		return
	}
	history := schemas.ConsentHistory{User: user.Address, Facts: []schemas.Fact{}}
	said := map[string]bool{}
	for _, person := range a.cfg.pseudonyms.All(user.Kind, user.Address) {
		prefix := []byte(person + "/")
		_, err := a.client.Replay(r.Context(), schemas.TopicConsentFacts, stream.PartitionOf([]byte(person), n), stream.FirstOffset, -1, func(records []stream.Record) error {
			for i := range records {
				if !strings.HasPrefix(string(records[i].Key), string(prefix)) {
					continue
				}
				f, ok, err := factOf(&records[i])
				if err != nil || !ok || said[string(records[i].Key)] {
					continue // a repeat, until compaction takes it
				}
				said[string(records[i].Key)] = true
				f.fact.Sealed = ""
				history.Facts = append(history.Facts, f.fact)
			}
			return nil
		})
		if err != nil {
			unavailable(w)
			return
		}
	}
	slices.SortStableFunc(history.Facts, func(x, y schemas.Fact) int { return x.At.Compare(y.At) })
	answer(w, http.StatusOK, history)
}

// export: GET /v1/consent/export. One JSON object a line, facts in the order in which they came.
// A stream that breaks off before its last line "{}" is not whole.
func (a *api) export(w http.ResponseWriter, r *http.Request, name string) {
	release, ok := a.scan(w)
	if !ok {
		return
	}
	defer release()
	n, err := a.view.partitions(r.Context())
	if err != nil {
		unavailable(w)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	count := 0
	for p := range n {
		_, err = a.client.Replay(r.Context(), schemas.TopicConsentFacts, p, stream.FirstOffset, -1, func(records []stream.Record) error {
			_ = control.SetReadDeadline(time.Time{})
			for i := range records {
				f, ok, err := factOf(&records[i])
				if err != nil || !ok {
					continue
				}
				user, err := a.read.seals.open(f.fact.Person, f.fact.Sealed)
				if err != nil {
					user = nil
				}
				if err := lines.Encode(schemas.ConsentExport{User: user, Fact: f.body}); err != nil {
					return err
				}
				count++
			}
			return control.Flush()
		})
		if err != nil {
			break
		}
	}
	if err == nil {
		_, err = io.WriteString(w, "{}\n")
	}
	a.host.Log.Info("export", "by", name, "facts", count, "whole", err == nil)
}

// order: POST /v1/consent.
func (a *api) order(w http.ResponseWriter, r *http.Request, name string) {
	var o schemas.ConsentOrder
	if !body(w, r, &o) {
		return
	}
	now := time.Now().UTC()
	user, ok := address.Parse(string(o.User))
	bad := func(code, detail string) { schemas.WriteProblem(w, http.StatusBadRequest, code, detail, 0) }
	switch {
	case !ok:
		bad("invalid_user", "user must be a number in E.164 with +, an e-mail address, or bsuid:... or opaque:...")
		return
	case o.Act != schemas.ActStop && o.Act != schemas.ActStart:
		bad("act", "act must be stop or start")
		return
	case o.Channel != "" && !slices.Contains(schemas.Channels(), o.Channel):
		bad("channel", "no such channel")
		return
	case o.Act == schemas.ActStart && strings.TrimSpace(o.Evidence) == "":
		bad("evidence", "a start needs evidence: how and when the person asked for messages")
		return
	case o.Act == schemas.ActStart && o.Agent == "" && o.Brand == "":
		bad("scope", "a start must name an agent or a brand")
		return
	case len(o.Evidence) > 2000 || len(o.Agent) > 200 || len(o.Brand) > 200 || len(o.Category) > 200:
		bad("too_long", "evidence may have 2000 bytes, names 200")
		return
	}
	at := now
	if o.At != nil && o.At.Before(now) {
		at = o.At.UTC()
	}
	scopes := where{channel: o.Channel, agent: o.Agent, named: o.Brand, directory: a.cfg.directory, stopBrand: a.cfg.stopScope == "brand"}.ordered(o)
	person := a.cfg.pseudonyms.Of(user.Kind, user.Address)
	f := schemas.Fact{Person: person, Act: o.Act, Scopes: scopes, At: at.Truncate(time.Millisecond), Cause: schemas.FactCause{
		Source: stageSource, ID: rand.Text(), By: "operator", Actor: name, Note: o.Evidence, Channel: o.Channel,
		Ruleset: intent.Version(), Time: at, ReceivedAt: now,
	}}
	// The same request sent again is the same act.
	if key := r.Header.Get("Idempotency-Key"); key != "" && len(key) <= 200 {
		f.Cause.ID = eventID(schemas.ConsentFact, name+"\x00"+key)
	}
	ctx, cancel := context.WithTimeout(r.Context(), slowTime)
	defer cancel()
	var err error
	if f.Sealed, err = a.read.seals.seal(person, &user); err != nil {
		unavailable(w)
		return
	}
	n, err := a.view.partitions(ctx)
	if err != nil {
		unavailable(w)
		return
	}
	p := stream.PartitionOf([]byte(person), n)
	m, evidence, _, err := messages(&f, p)
	if err == nil {
		_, err = a.writer.Append(ctx, m, evidence)
	}
	if err != nil {
		a.host.Log.Warn("an order was not written", "by", name, "error", err)
		unavailable(w)
		return
	}
	whole, err := catchUpOther(ctx, a.view, a.client, p)
	a.host.Log.Info("order", "by", name, "act", string(o.Act), "person", person, "applied", whole && err == nil)
	f.Sealed = ""
	status := http.StatusOK
	if !whole {
		status = http.StatusAccepted
	}
	answer(w, status, schemas.ConsentReceipt{Fact: f, Applied: whole})
}

// ordered gives the scopes of an operator's act: as narrow as it was named, no narrower.
func (w where) ordered(o schemas.ConsentOrder) []schemas.ConsentScope {
	category := strings.ToLower(strings.TrimSpace(o.Category))
	if o.Act == schemas.ActStart {
		s := intent.Scope{}
		if category != "" {
			s = intent.Scope{Level: schemas.ScopeCategory, Value: category}
		}
		return w.start(s)
	}
	scope := schemas.ConsentScope{Agent: o.Agent, Channel: o.Channel, Category: category}
	if o.Agent != "" || o.Brand != "" {
		scope.Brand = w.brand()
	}
	return []schemas.ConsentScope{scope}
}
