package service

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestServerLog: what clients do wrong is debug, so nobody fills a disk with it; a handler that
// broke is an error.
func TestServerLog(t *testing.T) {
	for line, want := range map[string]string{
		"http: TLS handshake error from 192.0.2.1:4711: EOF":                     "",
		"http2: server connection error from 192.0.2.1:4711: PROTOCOL_ERROR":     "",
		"http: panic serving 192.0.2.1:4711: runtime error: index out of range":  "ERROR",
		"http2: panic serving 192.0.2.1:4711: runtime error: index out of range": "ERROR",
		"http: Accept error: accept tcp: too many open files; retrying in 5ms":   "WARN",
	} {
		var out bytes.Buffer
		h := &Host{Log: slog.New(slog.NewTextHandler(&out, nil))}
		h.ServerLog().Print(line)
		if got := out.String(); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: logged as %q, want level %q", line, got, want)
		}
	}
}
