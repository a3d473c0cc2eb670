package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/heedhq/heed/ingest/signature"
)

// refusalLog writes one wide line per refused request, but at most one a second for each
// endpoint and outcome: whoever guesses signatures must not fill the disk. What was left out is counted
// in the next line.
type refusalLog struct {
	log   *slog.Logger
	limit map[refusal]*quiet
	mu    sync.Mutex
}

type refusal struct {
	endpoint string
	outcome  outcome
	reason   signature.Reason
}

type quiet struct {
	until  time.Time
	missed int
}

func newRefusalLog(log *slog.Logger) *refusalLog {
	return &refusalLog{log: log, limit: map[refusal]*quiet{}}
}

func (l *refusalLog) refused(e *endpoint, r result) {
	now := time.Now()
	l.mu.Lock()
	key := refusal{e.Endpoint.Endpoint, r.outcome, r.reason}
	q := l.limit[key]
	if q == nil {
		q = &quiet{}
		l.limit[key] = q
	}
	if now.Before(q.until) {
		q.missed++
		l.mu.Unlock()
		return
	}
	missed := q.missed
	q.until, q.missed = now.Add(time.Second), 0
	l.mu.Unlock()
	level := slog.LevelInfo
	if r.outcome == notKept || r.outcome == overCapacity {
		level = slog.LevelWarn
	}
	reason := string(r.reason)
	if r.why != nil {
		reason = r.why.Error()
	}
	l.log.Log(context.Background(), level, "callback refused",
		"endpoint", e.Endpoint.Endpoint, "provider", e.Provider, "outcome", r.outcome.String(), "reason", reason,
		"status", r.status, "bytes", r.size, "more_like_it", missed)
}
