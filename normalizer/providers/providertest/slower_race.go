//go:build race

package providertest

// slower is how much more time the adapters may take in this build: the race detector's bookkeeping
// takes two to twenty times as much (go.dev/doc/articles/race_detector).
const slower = 20
