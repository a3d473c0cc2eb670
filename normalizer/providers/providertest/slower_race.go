//go:build race

package providertest

// slower is how much more time the adapters may take in this build: the race detector's bookkeeping
// takes two to twenty times as much (go.dev/doc/articles/race_detector). The cases are not blown up
// at all, which would take minutes: an adapter has one goroutine, so there is nothing to detect.
const slower = 20
