package normalizer

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/heedhq/heed/internal/stream"
)

// BenchmarkWindow shows what the window is worth: of the events that a provider sends again, how
// many are dropped. One partition takes 400 events/s; each hundredth is sent again, after the
// pauses of the providers' documentation: 5, 10, 30 or 100 s.
func BenchmarkWindow(b *testing.B) {
	const perSecond = 400
	for _, size := range []int{1024, 8192, 32768, 131072} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			w := newWindow(size)
			data := []byte(`{"message_id":"x","status":{"code":"DELIVRD","meaning":"delivered"},"time_source":"provider"}`)
			again := map[int]int{} // when to send which once more
			repeats, dropped, n := 0, 0, 0
			b.ReportAllocs()
			for b.Loop() {
				event := n
				if earlier, ok := again[n]; ok {
					delete(again, n)
					event = earlier
					repeats++
				} else if random.IntN(100) == 0 {
					again[n+perSecond*[]int{5, 10, 30, 100}[random.IntN(4)]] = n
				}
				k := w.key(&stream.Event{Source: "heed/x", ID: fmt.Sprintf("%032d", event), Data: data})
				if w.has(k) {
					dropped++
				}
				w.add(k)
				n++
			}
			if repeats > 0 {
				b.ReportMetric(100*float64(dropped)/float64(repeats), "%dropped")
			}
		})
	}
}
