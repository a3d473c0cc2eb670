//go:build race

package stream

// poison overwrites a released buffer, so that a test with -race sees who still reads it.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdd
	}
}
