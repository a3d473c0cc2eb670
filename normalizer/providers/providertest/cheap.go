package providertest

import (
	"bytes"
	"encoding/json"
	"math"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a hostile callback may cost: the bars are 50 ms for 1 MiB, and 64 times its size in memory.
// The time is held as processor time, and against what the standard library takes to look through
// as many bytes of JSON, so that it means the same on a busy machine and with -race.
const (
	hostile      = 1 << 20
	hostileTimes = 40
	hostileFold  = 64
)

// Cheap fails the test when work on so many bytes costs more than a hostile callback may.
func Cheap(t testing.TB, what string, size int, work func()) {
	t.Helper()
	limit := time.Duration(float64(lookThrough()) * hostileTimes * float64(size) / hostile)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	spent := processorTime(work)
	runtime.ReadMemStats(&after)
	for tries := 1; spent > limit && tries < 3; tries++ { // collecting what came before may be in it
		spent = min(spent, processorTime(work))
	}
	t.Logf("%s: %v, %.1f times", what, spent, float64(spent)/float64(lookThrough()))
	if spent > limit {
		t.Errorf("%s: %d bytes take %v, which is %.0f times what encoding/json takes to look through them; the bar is %d", what, size, spent, float64(spent)/float64(limit)*hostileTimes, hostileTimes)
	}
	if fold := (after.TotalAlloc - before.TotalAlloc) / uint64(size); fold > hostileFold {
		t.Errorf("%s: %d bytes take %d times their size in memory; the bar is %d", what, size, fold, hostileFold)
	}
}

// lookThrough is what encoding/json takes to look through 1 MiB.
var lookThrough = sync.OnceValue(func() time.Duration {
	list := bytes.Repeat([]byte(`{"id":"m-1","to":14155550123},`), hostile/30)
	document := append(append([]byte{'['}, list...), "{}]"...)
	least := time.Duration(math.MaxInt64)
	for range 5 {
		least = min(least, processorTime(func() { json.Valid(document) }))
	}
	return least
})

// processorTime is the processor time that this process takes while work runs.
func processorTime(work func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	work()
	return used() - before
}
