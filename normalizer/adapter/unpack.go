package adapter

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// maxUnpacked bounds what a compressed body may become: as much as ingest takes of a plain one
// (HEED_INGEST_MAX_BODY's default), so that compressing gets nobody more of the normalizer's time.
const maxUnpacked = 1 << 20

// unpack gives the body as it was before it was compressed (RFC 9110 §8.4). No provider
// documents that, but a library or proxy on its side may switch it on, and a STOP is a STOP.
// Gzip is known by its first bytes, since who unpacks on the way may leave the header; the other
// codings nobody uses for requests.
func unpack(request *schemas.Capture) ([]byte, *Failure) {
	body := request.Body
	if len(body) == 0 || body[0] == '{' || body[0] == '[' {
		return body, nil
	}
	if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, &Failure{Index: WholeCallback, Class: Malformed, Message: "the body looks like gzip and is not"}
		}
		plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
		switch {
		case len(plain) > maxUnpacked:
			return nil, &Failure{Index: WholeCallback, Class: TooLarge, Message: fmt.Sprintf("the body is over %d bytes when unpacked", maxUnpacked)}
		case err != nil:
			return nil, &Failure{Index: WholeCallback, Class: Malformed, Message: "the body is gzip that ends early or is damaged"}
		}
		return plain, nil
	}
	if encoding := strings.ToLower(strings.TrimSpace(request.Get("Content-Encoding"))); slices.Contains([]string{"br", "compress", "deflate", "zstd"}, encoding) {
		return nil, &Failure{Index: WholeCallback, Class: Malformed, Message: "the body is compressed by " + encoding + "; of the codings only gzip is read, so turn it off at the sender"}
	}
	return body, nil
}
