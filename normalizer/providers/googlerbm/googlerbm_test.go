package googlerbm_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/googlerbm"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func TestGoogleRBM(t *testing.T) { providertest.Run(t, googlerbm.New()) }

func FuzzGoogleRBM(f *testing.F) { providertest.Fuzz(f, googlerbm.New()) }

func BenchmarkGoogleRBM(b *testing.B) { providertest.Bench(b, googlerbm.New()) }
