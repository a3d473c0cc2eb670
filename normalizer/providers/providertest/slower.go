//go:build !race

package providertest

// slower is how much more time the adapters may take in this build.
const slower = 1
