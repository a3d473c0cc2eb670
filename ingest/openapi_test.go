package ingest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestOpenAPI: every status that ingest gives, net/http's own among them, stands in its OpenAPI
// document under the method that got it, with the answer's content type.
func TestOpenAPI(t *testing.T) {
	r := start(t, twoEndpoints+"  - {id: rated, provider: kaleyra, verify: [{scheme: none}], rate: 0.001}\n",
		"HEED_INGEST_MAX_HEADER=8KiB", "HEED_INGEST_MAX_BODY=1KiB", "HEED_INGEST_MAX_IN_FLIGHT=1MiB", "HEED_INGEST_READ_TIMEOUT=300ms", "HEED_INGEST_HEADER_TIMEOUT=300ms")
	documented := openAPI(t)
	seen := map[string]bool{}
	for _, method := range []string{"POST", "PUT", "GET", "HEAD", "OPTIONS"} {
		// HEAD and OPTIONS prove nothing and write nothing.
		asks := method != "HEAD" && method != "OPTIONS"
		for _, c := range []struct {
			name, target, rest string // rest: of the request, after Host
			want               int    // 0: whatever it is
		}{
			{"taken", "/v1/callbacks/open", "Content-Length: 2\r\n\r\n{}", 0},
			{"no such endpoint", "/v1/callbacks/nope", "\r\n", 404},
			{"no such path", "/", "\r\n", 404},
			{"unsigned", "/v1/callbacks/shut", "\r\n", 0},
			{"handshake", "/v1/callbacks/open", "WebHook-Request-Origin: e.example\r\nWebHook-Request-Rate: 5\r\n\r\n", 200},
			{"the second within the rate's time", "/v1/callbacks/rated", "\r\n", 0},
			{"over the rate", "/v1/callbacks/rated", "\r\n", 429},
			{"too large", "/v1/callbacks/open", "Content-Length: 1025\r\n\r\n", 413},
			{"a body that doesn't come", "/v1/callbacks/open", "Content-Length: 3\r\n\r\na", 408},
			{"a chunk that is none", "/v1/callbacks/open", "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
			{"a header that is none", "/v1/callbacks/open", "nonsense\r\n\r\n", 400},
			{"a header too large", "/v1/callbacks/open", "X: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", 431},
			{"another expectation", "/v1/callbacks/open", "Expect: miracles\r\n\r\n", 417},
			{"another coding", "/v1/callbacks/open", "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
			{"another version", "/v1/callbacks/open", "\r\n", 505},
		} {
			version := "1.1"
			if c.want == 505 {
				version = "3.0"
			}
			conn := dial(t, r)
			if _, err := fmt.Fprintf(conn, "%s %s HTTP/%s\r\nHost: x\r\n%s", method, c.target, version, c.rest); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
			if err != nil {
				t.Errorf("%s, %s: %v", method, c.name, err)
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = conn.Close()
			if asks && c.name == "unsigned" && resp.StatusCode != 401 || c.want != 0 && resp.StatusCode != c.want {
				t.Errorf("%s, %s: answered %d", method, c.name, resp.StatusCode)
			}
			at := method + " " + strconv.Itoa(resp.StatusCode)
			seen[at] = true
			media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
			types, ok := documented[at]
			switch {
			case !ok:
				t.Errorf("%s, %s: %s is not documented", method, c.name, at)
			case method != "HEAD" && resp.StatusCode >= 400 && !strings.Contains(types, media):
				t.Errorf("%s, %s: %s is documented as %s, and comes as %q", method, c.name, at, types, media)
			}
		}
	}
	for at := range documented {
		if !seen[at] && !strings.HasSuffix(at, " 503") && at != "OPTIONS 401" { // those have tests of their own
			t.Errorf("%s is documented, but nothing here brought it about", at)
		}
	}
}

// openAPI gives the content types of each method and status of the document.
func openAPI(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../schemas/openapi/ingest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type response struct {
		Ref     string         `yaml:"$ref"`
		Content map[string]any `yaml:"content"`
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]response `yaml:"responses"`
		} `yaml:"paths"`
		Components struct {
			Responses map[string]response `yaml:"responses"`
		} `yaml:"components"`
	}
	// The parameters of a path are a list, which the struct has no place for: everything else is read.
	if err := yaml.Unmarshal(text, &doc); err != nil && !strings.Contains(err.Error(), "cannot unmarshal !!seq") {
		t.Fatal(err)
	}
	all := map[string]string{}
	for method, operation := range doc.Paths["/v1/callbacks/{endpoint}"] {
		for status, r := range operation.Responses {
			if _, name, ok := strings.Cut(r.Ref, "#/components/responses/"); ok {
				r, ok = doc.Components.Responses[name]
				if !ok {
					t.Errorf("%s %s: there is no response %s", method, status, name)
				}
			}
			var types []string
			for media := range r.Content {
				types = append(types, media)
			}
			all[strings.ToUpper(method)+" "+status] = strings.Join(types, " ")
		}
	}
	if len(all) < 50 {
		t.Fatalf("only %d answers were read of the document", len(all))
	}
	return all
}
