package allinone

import (
	"slices"
	"testing"

	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/normalizer/providers"
)

// TestIngestKnowsTheAdapters holds ingest's table of providers against the normalizer's adapters:
// neither imports the other, and an endpoint must mean the same to both.
func TestIngestKnowsTheAdapters(t *testing.T) {
	var adapters []string
	for _, a := range providers.All() {
		name := a.Provider()
		adapters = append(adapters, name)
		if !slices.Contains(ingest.Providers(), name) {
			t.Errorf("ingest/sources.go has no row for %s: its endpoints would be refused", name)
		}
		var want []string
		if p, ok := a.(interface{ Presets() []string }); ok {
			want = slices.Sorted(slices.Values(p.Presets()))
		}
		if got := slices.Sorted(slices.Values(ingest.Presets(name))); !slices.Equal(got, want) {
			t.Errorf("%s: ingest takes the mapping presets %q, the adapter has %q", name, got, want)
		}
	}
	for _, name := range ingest.Providers() {
		if !slices.Contains(adapters, name) {
			t.Errorf("ingest/sources.go has a row for %s, but no adapter reads its callbacks: they would be dead letters", name)
		}
	}
}
