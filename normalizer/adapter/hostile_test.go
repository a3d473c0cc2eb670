package adapter_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/providers/providertest"
	"github.com/heedhq/heed/schemas"
)

// TestHostileBodiesAreCheap reads 1 MiB of the worst.
func TestHostileBodiesAreCheap(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string]string{
		"open": "[", "objects": `{"a":`, "numbers": "[0,", "commas": ",", "escapes": `\u0000`, "quotes": `"`,
		"names": `"a":1,`, "form": "a&", "form values": "a=b&", "percent": "%7B", "dashes": "--", "zeroes": "\x00{", "invalid": "\xff", "empties": "{},",
	} {
		for _, prefix := range []string{"", "{", "[", `{"a":"`, "--b\r\n"} {
			body := []byte(prefix + strings.Repeat(unit, size/len(unit)))
			raw := adapter.Raw{Request: schemas.Capture{Method: "POST", Target: "/", Body: body}}
			providertest.Cheap(t, fmt.Sprintf("%s after %q", name, prefix), len(body), func() {
				if v, f := adapter.Read(raw); f == nil {
					v.Rest(v.Root())
				}
			})
		}
	}
}
