package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/road"
)

// payload is one golden case of a provider, as a callback to an endpoint of its own.
type payload struct {
	name     string // provider/case
	endpoint string
	entry    string // of the endpoints file
	callback schemas.Capture
	events   []event // as the golden case wants them
	dead     bool    // wants a dead letter
}

type event struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// payloads reads every golden case of every provider: the seed documents' payloads among them.
func payloads(t *testing.T) []payload {
	t.Helper()
	requests, err := filepath.Glob("../../normalizer/providers/*/testdata/*/request.http")
	if err != nil || len(requests) == 0 {
		t.Fatalf("no golden cases (%v)", err)
	}
	var all []payload
	for i, path := range requests {
		dir := filepath.Dir(path)
		provider := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		p := payload{name: provider + "/" + filepath.Base(dir), endpoint: fmt.Sprintf("%s-%d", provider, i)}
		if p.callback, err = schemas.ParseCapture(read(t, path)); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		entry := map[string]any{}
		if text, err := os.ReadFile(filepath.Join(dir, "endpoint.json")); err == nil {
			if err := json.Unmarshal(text, &entry); err != nil {
				t.Fatalf("%s/endpoint.json: %v", dir, err)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		delete(entry, "received_at")
		entry["id"], entry["provider"], entry["verify"] = p.endpoint, provider, []any{map[string]string{"scheme": "none"}}
		entry["channel"], entry["kind"] = cmp.Or(entry["channel"], any("any")), cmp.Or(entry["kind"], any("any"))
		line, err := json.Marshal(entry) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		p.entry = "  - " + string(line) + "\n"
		if text, err := os.ReadFile(filepath.Join(dir, "want.json")); err == nil {
			var want struct {
				Events   []event
				Failures []json.RawMessage
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatalf("%s/want.json: %v", dir, err)
			}
			p.events, p.dead = want.Events, len(want.Failures) > 0
		} else {
			p.dead = !bytes.HasPrefix(read(t, filepath.Join(dir, "want.error")), []byte("ignored: "))
		}
		all = append(all, p)
	}
	return all
}

// everyPayload posts every golden case as its provider would, and wants at the subscriber exactly
// the ids, types and data that the case wants, and a dead letter for what can't be read.
func everyPayload(t *testing.T, r *road.Road, all []payload) {
	dead := int64(0)
	for _, p := range all {
		status, answer, err := r.Post(t.Context(), p.endpoint, p.callback)
		if err != nil || status/100 != 2 {
			t.Errorf("%s: answered %d %s (%v)", p.name, status, answer, err)
		}
		if p.dead {
			dead++
		}
	}
	for _, p := range all {
		for _, want := range p.events {
			got, err := r.Sink.Await(t.Context(), func(d *road.Delivery) bool {
				return d.Source == "heed/"+p.endpoint && d.ID == want.ID
			})
			if err != nil {
				t.Errorf("%s: %s %s: %v", p.name, want.Type, want.ID, err)
				continue
			}
			if got.Type != want.Type {
				t.Errorf("%s: %s is %s, want %s", p.name, want.ID, got.Type, want.Type)
			}
			if diff := gocmp.Diff(facts(t, want.Data), facts(t, got.Data)); diff != "" {
				t.Errorf("%s: data of %s (-want +got):\n%s", p.name, want.ID, diff)
			}
		}
		if t.Failed() && t.Context().Err() != nil {
			return
		}
	}
	client, err := stream.Open(stream.Config{Brokers: r.Brokers}, stream.Options{ClientID: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := road.Until(t.Context(), func() (bool, string) {
		bounds, err := client.OffsetBounds(context.WithoutCancel(t.Context()), schemas.TopicCallbacksDead)
		if err != nil {
			return false, err.Error()
		}
		var n int64
		for _, b := range bounds {
			n += b.End - b.First
		}
		return n >= dead, fmt.Sprintf("%d dead letters, want %d", n, dead)
	}); err != nil {
		t.Error(err)
	}
	t.Logf("%d callbacks, %d events delivered, %d of the callbacks dead-lettered", len(all), len(r.Sink.All()), dead)
}

// facts are an event's data without what depends on the day on which the callback came.
func facts(t *testing.T, data json.RawMessage) map[string]any {
	t.Helper()
	var out map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&out); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	delete(out, "time_flag")
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// entries are the endpoints of all payloads, to be added to an endpoints file.
func entries(all []payload) string {
	var b strings.Builder
	for _, p := range all {
		b.WriteString(p.entry)
	}
	return b.String()
}
