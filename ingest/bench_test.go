package ingest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// instant acknowledges at once.
type instant struct{}

func (instant) Enqueue(_ context.Context, _ stream.Message, done func(stream.Position, error)) error {
	done(stream.Position{}, nil)
	return nil
}

// null takes an answer without keeping it.
type null struct{ header http.Header }

func (n *null) Header() http.Header         { return n.header }
func (n *null) WriteHeader(int)             {}
func (n *null) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler is what the handler costs by itself, without HTTP and without Kafka: HTTP
// costs some 15 µs of CPU, so this is what the ratio to a bare handler is made of.
func BenchmarkHandler(b *testing.B) {
	body := `{"whatsapp":{"messages":[{"callback_type":"incoming_message","from":"+919999912345","to":"+918000000000","content":{"type":"text","text":"` + strings.Repeat("what a person writes ", 40) + `"}}]}}`
	for _, endpoint := range []string{"open", "signed", "bearer"} {
		b.Run(endpoint, func(b *testing.B) {
			h := testHandler(b, testEndpoints, &keeper{kafka: instant{}, after: time.Second}, io.Discard)
			header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"provider/1.0"}, "Accept": {"*/*"}, "Content-Length": {"1000"}, "Authorization": {"Bearer tok-en-123"}}
			if endpoint == "signed" {
				for i, pairs := 0, signFor(b, schemas.SchemeExotel, "old-secret", body); i < len(pairs); i += 2 {
					header.Set(pairs[i], pairs[i+1])
				}
			}
			reader := strings.NewReader(body)
			r, err := http.NewRequest(http.MethodPost, "/v1/callbacks/"+endpoint, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header, r.RemoteAddr, r.RequestURI, r.ContentLength = header, "192.0.2.1:1234", "/v1/callbacks/"+endpoint, int64(len(body))
			w := &null{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				r.Body = io.NopCloser(reader)
				h.ServeHTTP(w, r)
			}
			if h.tallies.of(endpoint, "").by[appended].Load() == 0 {
				b.Fatal("nothing was taken")
			}
		})
	}
}
