package stream

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func timeOf(ms int64) time.Time { return time.UnixMilli(ms) }

// TestTracker holds the tracker against its definition: the first offset handed out that is not
// done, else the offset after everything handed out.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := rapid.Int64Range(0, 1000).Draw(t, "start")
		tr := newTracker(next)
		var out []int64
		done := map[int64]bool{}
		last := next
		check := func() {
			want := next
			for _, o := range out {
				if !done[o] {
					want = o
					break
				}
			}
			if got := tr.committed(); got != want {
				t.Fatalf("committed %d, want %d", got, want)
			}
			if want < last {
				t.Fatalf("committed went back from %d to %d", last, want)
			}
			last = want
			ms, ok := tr.oldest()
			if ok != slices.ContainsFunc(out, func(o int64) bool { return !done[o] }) || ok && ms != want*10 {
				t.Fatalf("oldest %d, %v; committed %d", ms, ok, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"hand out": func(t *rapid.T) {
				var records []Record
				for range rapid.IntRange(0, 100).Draw(t, "n") {
					next += int64(rapid.SampledFrom([]int{0, 0, 0, 1, 7}).Draw(t, "gap"))
					records = append(records, Record{Offset: next, Time: timeOf(next * 10)})
					out = append(out, next)
					next++
				}
				next += int64(rapid.IntRange(0, 3).Draw(t, "gap at the end"))
				tr.handOut(records, next)
			},
			"done": func(t *rapid.T) {
				if len(out) > 0 {
					o := rapid.SampledFrom(out).Draw(t, "offset")
					done[o] = true
					tr.done(o)
				}
			},
			"done with what was never handed out": func(t *rapid.T) {
				o := rapid.Int64Range(0, 5000).Draw(t, "offset")
				if !slices.Contains(out, o) {
					tr.done(o)
				}
			},
			"done until": func(t *rapid.T) {
				o := rapid.Int64Range(0, next).Draw(t, "offset")
				for _, one := range out {
					if one < o {
						done[one] = true
					}
				}
				tr.doneUntil(o)
			},
		})
	})
}

func BenchmarkTrackerInOrder(b *testing.B) {
	tr := newTracker(0)
	records := make([]Record, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for j := range records {
			records[j].Offset = int64(i*len(records) + j)
		}
		tr.handOut(records, records[999].Offset+1)
		for j := range records {
			tr.done(records[j].Offset)
		}
	}
}
