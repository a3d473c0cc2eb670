package service

import (
	"context"
	"log"
	"log/slog"
	"strings"
)

// ServerLog is where an http.Server of the stage complains. Nearly always it is a client's doing,
// a line each with its address: debug, or whoever likes fills the disk. Two things are ours.
func (h *Host) ServerLog() *log.Logger { return log.New(serverLog{h.Log}, "", 0) }

type serverLog struct{ log *slog.Logger }

func (l serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	switch _, after, _ := strings.Cut(text, ": "); {
	case strings.HasPrefix(after, "panic"):
		level = slog.LevelError
	case strings.HasPrefix(after, "Accept error"): // too many open files
		level = slog.LevelWarn
	}
	l.log.Log(context.Background(), level, "HTTP server", "what", text)
	return len(line), nil
}
