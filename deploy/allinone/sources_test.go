package allinone_test

import (
	"slices"
	"testing"

	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/normalizer/providers"
)

// TestIngestAndNormalizerKnowTheSameProviders: this is the one place that may see both lists. A
// provider that only one knows would be refused at the door, or dead-lettered behind it.
func TestIngestAndNormalizerKnowTheSameProviders(t *testing.T) {
	var adapters []string
	for _, a := range providers.All() {
		adapters = append(adapters, a.Provider())
		var presets []string
		if p, ok := a.(interface{ Presets() []string }); ok {
			presets = p.Presets()
		}
		known := ingest.Presets(a.Provider())
		if slices.Sort(presets); !slices.Equal(presets, slices.Sorted(slices.Values(known))) {
			t.Errorf("%s: the adapter has the presets %v, ingest lets %v in", a.Provider(), presets, known)
		}
	}
	if got := ingest.Providers(); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(adapters))) {
		t.Errorf("ingest knows %v, the normalizer has adapters for %v", got, adapters)
	}
}
