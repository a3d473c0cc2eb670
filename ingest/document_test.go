package ingest

import (
	"os"
	"strings"
	"testing"

	"github.com/heedhq/heed/schemas"
)

// TestDocument: the example of ENDPOINTS.md is a valid file, and the page names every scheme,
// provider and word there is.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../ENDPOINTS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	secret := "c2VjcmV0" // base64, as Telesign's must be
	endpoints, err := schemas.ParseEndpoints([]byte(example), schemas.EndpointContext{
		Providers: Providers(), Presets: Presets,
		Getenv:   func(string) (string, bool) { return secret, true },
		ReadFile: func(string) ([]byte, error) { return []byte(secret), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := makeRoutes(endpoints, nil, &tallies{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range schemas.Schemes() {
		if !strings.Contains(string(page), "| `"+string(s)+"` |") {
			t.Errorf("the page doesn't explain scheme %s", s)
		}
	}
	if list := strings.Join(Providers(), ", "); !strings.Contains(example, list) {
		t.Errorf("the page doesn't list the providers %s", list)
	}
}
