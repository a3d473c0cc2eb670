package state

import (
	"time"

	"github.com/heedhq/heed/schemas"
)

// When is what is known about the time of an act.
type When struct {
	Act      schemas.Act
	Event    time.Time // as the event says; zero when it doesn't
	Source   schemas.TimeSource
	Flag     schemas.TimeFlag
	Received time.Time // when ingest had the callback
}

const (
	// stopAhead is how far a STOP may lie in the future: clocks of providers run ahead a little.
	stopAhead = 5 * time.Second
	// startBack is where a START from the future is put: early enough that no STOP of the same
	// minute loses to it.
	startBack = time.Minute
	// oldAfter is the age at receipt from which a time is flagged. It counts all the same.
	oldAfter = 30 * 24 * time.Hour
)

// Effective is the time that the merge compares (facts §5.2), and what was done to it. It hangs
// on the event alone, so a replay gives the same answer. A STOP in the future only delays a
// START; a START in the future would swallow later STOPs: hence the asymmetry.
func (w When) Effective() (at time.Time, flags []string) {
	flag := func(s string) { flags = append(flags, s) }
	at = w.Event
	known := !at.IsZero() && w.Source != schemas.TimeReceived && w.Flag != schemas.TimeUnreadable
	if w.Flag == schemas.TimeNaive {
		flag("naive")
		// Without a zone the time may be hours off. A STOP takes the later reading, a START the
		// earlier one.
		if w.Act == schemas.ActStop {
			known = false
		}
	}
	if !known {
		at = w.Received
	}
	if at.IsZero() {
		at = w.Event
	}
	at = at.Truncate(time.Millisecond)
	if known && w.Act == schemas.ActStop && at.Equal(at.Truncate(time.Second)) {
		at = at.Add(999 * time.Millisecond) // whole seconds: a STOP takes the end, a START the beginning
	}
	if w.Received.IsZero() {
		return at, flags
	}
	received := w.Received.Truncate(time.Millisecond)
	switch {
	case w.Act == schemas.ActStop && at.After(received.Add(stopAhead)):
		flag("future")
		at = received.Add(stopAhead)
	case w.Act == schemas.ActStart && at.After(received):
		flag("future")
		at = received.Add(-startBack)
	}
	if received.Sub(at) > oldAfter {
		flag("old")
	}
	return at, flags
}
