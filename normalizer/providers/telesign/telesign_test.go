package telesign_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/providertest"
	"github.com/heedhq/heed/normalizer/providers/telesign"
)

func TestCases(t *testing.T)      { providertest.Run(t, telesign.New()) }
func FuzzAdapt(f *testing.F)      { providertest.Fuzz(f, telesign.New()) }
func BenchmarkAdapt(b *testing.B) { providertest.Bench(b, telesign.New()) }
