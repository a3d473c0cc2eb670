package mobtexting_test

import (
	"testing"

	"github.com/heedhq/heed/normalizer/providers/mobtexting"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

func TestMobtexting(t *testing.T) { providertest.Run(t, mobtexting.New()) }

func FuzzMobtexting(f *testing.F) { providertest.Fuzz(f, mobtexting.New()) }

func BenchmarkMobtexting(b *testing.B) { providertest.Bench(b, mobtexting.New()) }
