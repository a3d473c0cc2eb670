package ingest_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/schemas"
)

// patient: a busy machine's Kafka is not away, and nothing takes the way round by the disk.
const patient = "HEED_INGEST_SPOOL_AFTER=1500ms"

// TestFraming: where a request ends is never a matter of taste (RFC 9112 §6, §11.2). What two
// readers could take for different requests is refused and the connection closed, but for a
// Content-Length beside chunked, which is chunked. What follows is a request of its own: it is
// routed and proved like any other.
func TestFraming(t *testing.T) {
	const (
		head = "POST /v1/callbacks/open HTTP/1.1\r\nHost: x\r\n"
		next = "POST /v1/callbacks/shut HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" // without its proof
		last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	)
	for _, c := range []struct {
		name, request string
		statuses      []int
		bodies        []string // kept
	}{
		{"three in one go", head + "Content-Length: 1\r\n\r\na" + head + "Content-Length: 1\r\n\r\nb" + last, []int{200, 200, 404}, []string{"a", "b"}},
		{"chunked and then another", head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + next + last, []int{200, 401, 404}, []string{"hi"}},
		{"chunked with a length", head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + next + last, []int{200, 401, 404}, []string{"hi"}},
		{"a GET with a body", "GET /v1/callbacks/open?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" + last, []int{200, 404}, []string{"hi"}},
		{"the same length twice", head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi" + last, []int{200, 404}, []string{"hi"}},
		{"trailers", head + "Transfer-Encoding: chunked\r\nTrailer: X-Proof\r\n\r\n2\r\nhi\r\n0\r\nX-Proof: x\r\n\r\n" + last, []int{200, 404}, []string{"hi"}},
		{"100-continue", head + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi" + last, []int{100, 200, 404}, []string{"hi"}},
		{"100-continue of too much", head + "Expect: 100-continue\r\nContent-Length: 9999999\r\n\r\n", []int{413}, nil},
		{"chunked twice", head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, []int{501}, nil},
		{"chunked and then identity", head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + next, []int{501}, nil},
		{"nearly chunked", head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next, []int{501}, nil},
		{"a blank before the colon", head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + next, []int{400}, nil},
		{"two lengths", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi" + next, []int{400}, nil},
		{"a list of lengths", head + "Content-Length: 2, 2\r\n\r\nhi" + next, []int{400}, nil},
		{"a length with a sign", head + "Content-Length: +2\r\n\r\nhi" + next, []int{400}, nil},
		{"a line end in a chunk extension", head + "Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\nhi\r\n0\r\n\r\n" + next, []int{400}, nil},
		{"chunks that end in LF alone", head + "Transfer-Encoding: chunked\r\n\r\n2\nhi\n0\n\n" + next, []int{400}, nil},
		{"CR alone in a header", head + "X: a\rContent-Length: 9\r\n\r\n" + next, []int{400}, nil},
		{"two hosts", head + "Host: y\r\n\r\n" + next, []int{400}, nil},
		{"no host", "POST /v1/callbacks/open HTTP/1.1\r\n\r\n" + next, []int{400}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, twoEndpoints, patient)
			conn := dial(t, r)
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			var statuses []int
			for in := bufio.NewReader(conn); ; {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					break // closed
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				statuses = append(statuses, resp.StatusCode)
			}
			if diff := cmp.Diff(c.statuses, statuses); diff != "" {
				t.Errorf("answers: -want +got\n%s", diff)
			}
			var bodies []string
			callbacks, _ := r.records(t)
			for _, rec := range callbacks {
				capture, err := schemas.ParseCapture(rec.Value)
				if err != nil {
					t.Fatal(err)
				}
				bodies = append(bodies, string(capture.Body))
			}
			if got, want := strings.Join(bodies, " "), strings.Join(c.bodies, " "); len(bodies) != len(c.bodies) || len(bodies) == 1 && got != want {
				t.Errorf("kept %q, want %q", bodies, c.bodies)
			}
		})
	}
}
