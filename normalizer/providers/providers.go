// Package providers is the explicit list of the providers that the normalizer understands. A
// new provider is a folder beside this file and a line in All; a test compares the two.
package providers

import (
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/providers/exotel"
	"github.com/heedhq/heed/normalizer/providers/google-rbm"
	"github.com/heedhq/heed/normalizer/providers/kaleyra"
	"github.com/heedhq/heed/normalizer/providers/meta"
	"github.com/heedhq/heed/normalizer/providers/mobtexting"
	"github.com/heedhq/heed/normalizer/providers/telesign"
)

// All lists an adapter for every provider.
func All() []adapter.Adapter {
	return []adapter.Adapter{
		exotel.New(),
		googlerbm.New(),
		kaleyra.New(),
		meta.New(),
		mobtexting.New(),
		telesign.New(),
	}
}
