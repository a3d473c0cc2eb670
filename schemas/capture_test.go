package schemas_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/schemas"
)

// A CaptureReader gives what ParseCapture gives, whatever it read before: the same head again, one
// that begins like it, one that is cut off, another one.
func TestCaptureReaderKeepsCapturesApart(t *testing.T) {
	const head = "POST /v1/callbacks/a?x=1 HTTP/1.1\r\nContent-Type: application/json\r\n"
	captures := []string{
		head + "\r\n{}",
		head + "\r\n{\"a\":1}",
		head + "\n{}",
		head + "X-More: 1\r\n\r\n{}",
		head + "\r\n",
		head,
		head + "no colon\r\n\r\n{}",
		head + "\r\n\r\nbody with an empty line before it",
		"GET /v1/callbacks/a?x=1 HTTP/1.1\n\n",
		"GET /v1/callbacks/a?x=2 HTTP/1.1\n\n",
		"nonsense\n\n",
		"",
	}
	var r schemas.CaptureReader
	for i := range captures {
		for j := range captures {
			for _, data := range []string{captures[i], captures[j]} {
				want, failed := schemas.ParseCapture([]byte(data))
				got, err := r.Read([]byte(data))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("%q after %q (-ParseCapture +CaptureReader):\n%s", data, captures[i], diff)
				}
				if (err == nil) != (failed == nil) || err != nil && err.Error() != failed.Error() {
					t.Fatalf("%q: error %v, want %v", data, err, failed)
				}
			}
		}
	}
}
