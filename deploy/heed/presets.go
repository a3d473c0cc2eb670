package main

import (
	"github.com/heedhq/heed/normalizer/providers"
)

// presetsOf lists the mapping presets of a provider whose customers define the body.
func presetsOf(provider string) []string {
	for _, a := range providers.All() {
		if p, ok := a.(interface{ Presets() []string }); ok && a.Provider() == provider {
			return p.Presets()
		}
	}
	return nil
}
