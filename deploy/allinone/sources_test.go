package allinone

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/normalizer/providers"
)

// TestIngestKnowsTheProviders: the stages know nothing of each other, so their two lists of
// providers are compared here. A provider that ingest doesn't know can't have an endpoint; one
// that the normalizer doesn't know would only fill the dead letters.
func TestIngestKnowsTheProviders(t *testing.T) {
	var adapters []string
	for _, a := range providers.All() {
		adapters = append(adapters, a.Provider())
		var presets []string
		if p, ok := a.(interface{ Presets() []string }); ok {
			presets = slices.Sorted(slices.Values(p.Presets()))
		}
		if diff := cmp.Diff(presets, ingest.Presets(a.Provider())); diff != "" {
			t.Errorf("presets of %s: -adapter +ingest/sources.go\n%s", a.Provider(), diff)
		}
	}
	slices.Sort(adapters)
	if diff := cmp.Diff(adapters, ingest.Providers()); diff != "" {
		t.Errorf("providers: -normalizer/providers/providers.go +ingest/sources.go\n%s", diff)
	}
}
