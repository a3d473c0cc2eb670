//go:build !linux

package providertest

import "time"

var began = time.Now()

// threadTime is the time since the start: only Linux tells what a thread takes.
func threadTime() time.Duration { return time.Since(began) }
