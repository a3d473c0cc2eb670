// Package servicetest holds what the tests of every stage check alike: that nothing personal is
// in what a program says about its work. Only tests import it.
package servicetest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/heedhq/heed/internal/service"
)

// Logs collects a program's log; it is safe for use by several goroutines.
type Logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written so far.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// NothingPersonal fails the test when a personal string (an address, a text) stands in what a
// program said: as it is, percent-encoded, in base64 or in hexadecimal. where names the text
// ("the log of ingest"). For a phone number its digits without the plus count as well.
func NothingPersonal(t testing.TB, where, said string, personal ...string) {
	t.Helper()
	low := strings.ToLower(said)
	for _, p := range personal {
		if len(p) < 4 {
			t.Fatalf("%q is too short to be looked for", p)
		}
		bare := strings.TrimPrefix(p, "+")
		for _, form := range []struct{ name, text string }{
			{"as it is", bare},
			{"percent-encoded", url.QueryEscape(bare)},
			{"in hexadecimal", hex.EncodeToString([]byte(bare))},
			{"in base64", strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(p)), "=")},
			{"in base64", strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(bare)), "=")},
		} {
			if at := strings.Index(low, strings.ToLower(form.text)); at >= 0 {
				from, to := max(0, at-60), min(len(said), at+len(form.text)+20)
				t.Errorf("%s holds personal data %s: …%s…", where, form.name, said[from:to])
				break
			}
		}
	}
}

// Page reads a page of a running stage's admin port, such as "/metrics".
func Page(ctx context.Context, t testing.TB, r *service.Running, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr(ctx, "admin")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}
