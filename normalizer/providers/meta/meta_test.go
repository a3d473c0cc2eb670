package meta_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/meta"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func TestMeta(t *testing.T) { providertest.Run(t, meta.New()) }

func FuzzMeta(f *testing.F) { providertest.Fuzz(f, meta.New()) }

func BenchmarkMeta(b *testing.B) { providertest.Bench(b, meta.New()) }
