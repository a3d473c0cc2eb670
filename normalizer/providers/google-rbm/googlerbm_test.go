package googlerbm_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/adapter"

	"github.com/heedhq/heed/normalizer/providers/google-rbm"
	"github.com/heedhq/heed/normalizer/providers/providertest"
	"github.com/heedhq/heed/schemas"
)

func TestGoogleRBM(t *testing.T) { providertest.Run(t, googlerbm.New()) }

func FuzzGoogleRBM(f *testing.F) { providertest.Fuzz(f, googlerbm.New()) }

func BenchmarkGoogleRBM(b *testing.B) { providertest.Bench(b, googlerbm.New()) }

// TestAHandshakeIsNoMessage: ingest answers handshakes and writes nothing. Should one be shown to
// the adapter all the same (a captured request), its secret must not become an event.
func TestAHandshakeIsNoMessage(t *testing.T) {
	raw := adapter.Raw{Request: schemas.Capture{Method: "POST", Body: []byte(`{"clientToken":"a","secret":"b"}`)}}
	if res := googlerbm.New().Adapt(raw); res.Ignored == "" || len(res.Items)+len(res.Failures) > 0 {
		t.Errorf("a handshake became %+v", res)
	}
}
