package service

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/pprof"
)

// newInstance makes an id that no other process start has.
func newInstance() string { return rand.Text()[:12] }

// adminHandler serves the admin port.
func (h *Host) adminHandler(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]string{"status": "ok"}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		status, body := h.readiness()
		writeJSON(w, status, body)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, map[string]string{"service": h.Name, "version": h.Version, "instance": h.Instance})
	})
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness answers /readyz: 200 when every condition holds, else 503 with each reason.
func (h *Host) readiness() (int, any) {
	h.mu.Lock()
	conditions, notes, draining := h.ready, h.notes, h.draining
	h.mu.Unlock()
	body := struct {
		Status string            `json:"status"`
		Why    map[string]string `json:"why,omitempty"`
		Notes  map[string]string `json:"notes,omitempty"` // worth knowing, but no reason to be unready
	}{Status: "ready", Why: map[string]string{}, Notes: map[string]string{}}
	switch {
	case draining:
		body.Why["service"] = "stopping"
	case len(conditions) == 0: // the admin port is up before the stage has said what it needs
		body.Why["service"] = "starting"
	}
	for _, c := range conditions {
		if err := c.check(); err != nil {
			body.Why[c.name] = err.Error()
		}
	}
	for _, n := range notes {
		if text := n.text(); text != "" {
			body.Notes[n.name] = text
		}
	}
	if len(body.Why) > 0 {
		body.Status = "not ready"
		return http.StatusServiceUnavailable, body
	}
	return http.StatusOK, body
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
