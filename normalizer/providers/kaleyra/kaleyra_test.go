package kaleyra_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/kaleyra"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func TestKaleyra(t *testing.T) { providertest.Run(t, kaleyra.New()) }

func FuzzKaleyra(f *testing.F) { providertest.Fuzz(f, kaleyra.New()) }

func BenchmarkKaleyra(b *testing.B) { providertest.Bench(b, kaleyra.New()) }
