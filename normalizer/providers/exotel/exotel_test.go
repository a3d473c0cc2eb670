package exotel_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/exotel"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func TestCases(t *testing.T)      { providertest.Run(t, exotel.New()) }
func FuzzAdapt(f *testing.F)      { providertest.Fuzz(f, exotel.New()) }
func BenchmarkAdapt(b *testing.B) { providertest.Bench(b, exotel.New()) }
