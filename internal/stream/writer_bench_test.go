package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/internal/stream/streamtest"
)

// BenchmarkEnqueue is what one record of ingest's size costs from Enqueue to its
// acknowledgement, on a broker that keeps nothing (but shares this process's processors).
func BenchmarkEnqueue(b *testing.B) {
	for _, compression := range []string{"none", "zstd"} {
		b.Run(compression, func(b *testing.B) {
			cluster := streamtest.Cluster(b, devbroker.Options{Topics: []stream.TopicSpec{{Name: "t", Partitions: 8}}, Extra: []kfake.Opt{kfake.BlackholeProduce()}})
			w := stream.NewWriter(streamtest.Open(b, cluster.ListenAddrs()), stream.WriterOptions{Compression: compression})
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			value := make([]byte, 1024)
			headers := []stream.Header{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("0123456789")}, {Key: "ce_type", Value: []byte("io.heed.callback.received.v1")}}
			keys := make([][]byte, 64)
			for i := range keys {
				keys[i] = []byte{byte(i), 1, 2, 3, 4, 5, 6, 7}
			}
			room := make(chan struct{}, 1000)
			done := func(_ stream.Position, err error) {
				if err != nil {
					b.Error(err)
				}
				<-room
			}
			b.ReportAllocs()
			b.SetBytes(1024)
			for i := 0; b.Loop(); i++ {
				room <- struct{}{}
				if err := w.Enqueue(ctx, stream.Message{Topic: "t", Key: keys[i%64], Value: value, Headers: headers}, done); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Close(ctx); err != nil {
				b.Error(err)
			}
		})
	}
}
