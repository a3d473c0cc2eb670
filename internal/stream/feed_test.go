package stream

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stored is a batch as it stands on a log: from base on, records with the deltas given (the
// others were compacted away), and a last offset delta.
func stored(base int64, last int32, c codec, deltas ...int) []byte {
	b := make([]byte, batchHeaderSize)
	var plain []byte
	for _, d := range deltas {
		plain = appendRecord(plain, &Message{Value: fmt.Appendf(nil, "at %d", base+int64(d))}, d, 0)
	}
	if len(deltas) > 0 {
		b = compress(b, plain, c)
	}
	be.PutUint64(b[atBaseOffset:], uint64(base))
	be.PutUint32(b[atLength:], uint32(len(b)-lengthEnd))
	b[atMagic] = 2
	be.PutUint16(b[atAttributes:], uint16(c))
	be.PutUint32(b[atLastOffsetDelta:], uint32(last))
	be.PutUint32(b[atCount:], uint32(len(deltas)))
	be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
	return b
}

// marker is a transaction's control batch.
func marker(base int64) []byte {
	b := stored(base, 0, codecNone, 0)
	b[atAttributes+1] |= controlBit
	be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
	return b
}

func fetchedOf(batches ...[]byte) *fetched {
	b := takeBuffer(1)
	*b = append(*b, slices.Concat(batches...)...)
	return &fetched{raw: b, end: 1000, answered: true}
}

// drain takes all there is: the records' offsets, and where the feed stands then.
func drain(t *testing.T, f *feed) (offsets []int64, read int64) {
	t.Helper()
	for {
		b, err := f.take()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			read, _, _ = f.position()
			return offsets, read
		}
		for i := range b.Records {
			r := &b.Records[i]
			if want := fmt.Sprint("at ", r.Offset); string(r.Value) != want {
				t.Errorf("record at %d holds %q", r.Offset, r.Value)
			}
			offsets = append(offsets, r.Offset)
		}
		b.Release()
	}
}

func TestFeed(t *testing.T) {
	for name, one := range map[string]struct {
		from    int64
		fetched *fetched
		want    []int64
		read    int64
		need    int
	}{
		"nothing new":                 {5, &fetched{end: 5, answered: true}, nil, 5, 0},
		"whole batches":               {10, fetchedOf(stored(10, 1, codecNone, 0, 1), stored(12, 0, codecZstd, 0)), []int64{10, 11, 12}, 13, 0},
		"from within a batch":         {11, fetchedOf(stored(10, 2, codecLZ4, 0, 1, 2)), []int64{11, 12}, 13, 0},
		"compacted inside":            {10, fetchedOf(stored(10, 9, codecLZ4, 2, 5, 9)), []int64{12, 15, 19}, 20, 0},
		"its tail compacted away":     {10, fetchedOf(stored(10, 9, codecZstd, 0, 1)), []int64{10, 11}, 20, 0},
		"an empty compacted batch":    {10, fetchedOf(stored(10, 9, codecZstd), stored(20, 0, codecZstd, 0)), []int64{20}, 21, 0},
		"only empty compacted ones":   {10, fetchedOf(stored(10, 9, codecZstd), stored(20, 79, codecGzip)), nil, 100, 0},
		"a transaction's marker":      {10, fetchedOf(marker(10), stored(11, 0, codecNone, 0)), []int64{11}, 12, 0},
		"the last one cut off":        {10, fetchedOf(stored(10, 0, codecNone, 0), stored(11, 0, codecNone, 0)[:40]), []int64{10}, 11, 0},
		"the last one barely there":   {10, fetchedOf(stored(10, 0, codecNone, 0), stored(11, 0, codecNone, 0)[:5]), []int64{10}, 11, 0},
		"only one, larger than asked": {10, fetchedOf(stored(10, 0, codecNone, 0)[:30]), nil, 10, len(stored(10, 0, codecNone, 0))},
		"batches from before":         {30, fetchedOf(stored(10, 4, codecZstd, 0, 4), stored(15, 20, codecZstd, 0, 20)), []int64{35}, 36, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed("t", 0, 1<<20, one.from)
			f.start()
			want, epoch, ok := f.room()
			if !ok || want.from != one.from {
				t.Fatalf("room %v, %v", want, ok)
			}
			if err := f.put(one.fetched, epoch); err != nil {
				t.Fatal(err)
			}
			got, read := drain(t, f)
			if diff := cmp.Diff(one.want, got); diff != "" || read != one.read || f.need != one.need {
				t.Errorf("read up to %d, need %d; want %d, %d%s", read, f.need, one.read, one.need, diff)
			}
			if want, _, ok := f.room(); !ok || want.from != one.read {
				t.Errorf("the next fetch is from %d, want %d", want.from, one.read)
			}
			if f.raw != 0 || f.decoded != 0 {
				t.Errorf("%d and %d bytes are held", f.raw, f.decoded)
			}
		})
	}
}

// A batch that is damaged is never handed out; what stands before it is, and the damaged one is
// fetched again.
func TestFeedDamaged(t *testing.T) {
	for name, damage := range map[string]func([]byte){
		"a bit": func(b []byte) { b[len(b)-2] ^= 1 },
		"not zstd": func(b []byte) {
			clear(b[batchHeaderSize:])
			be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
		},
		"the records": func(b []byte) {
			be.PutUint32(b[atCount:], 9)
			be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFeed("t", 0, 1<<20, 10)
			f.start()
			bad := stored(11, 0, codecZstd, 0)
			damage(bad)
			_, epoch, _ := f.room()
			if err := f.put(fetchedOf(stored(10, 0, codecZstd, 0), bad, stored(12, 0, codecZstd, 0)), epoch); err != nil {
				t.Fatal(err)
			}
			b, err := f.take()
			if err != nil || len(b.Records) != 1 || b.Records[0].Offset != 10 {
				t.Fatalf("%v, %v", b, err)
			}
			b.Release()
			if b, err := f.take(); !errors.Is(err, errCorrupt) || b != nil {
				t.Fatalf("the damaged batch: %v, %v", b, err)
			}
			if want, epoch, ok := f.room(); !ok || want.from != 11 {
				t.Fatalf("the next fetch is from %d", want.from)
			} else if err := f.put(fetchedOf(stored(11, 0, codecZstd, 0), stored(12, 0, codecZstd, 0)), epoch); err != nil {
				t.Fatal(err)
			}
			if got, read := drain(t, f); !slices.Equal(got, []int64{11, 12}) || read != 13 {
				t.Errorf("then %v up to %d", got, read)
			}
			if f.raw != 0 || f.decoded != 0 {
				t.Errorf("%d and %d bytes are held", f.raw, f.decoded)
			}
		})
	}
	f := newFeed("t", 0, 1<<20, 10)
	f.start()
	old := stored(10, 0, codecNone, 0)
	old[atMagic] = 1
	if err := f.put(fetchedOf(old), 0); err == nil || !strings.Contains(err.Error(), "message format 1") {
		t.Errorf("an old format: %v", err)
	}
}

// What was fetched before a seek does not come after it.
func TestFeedSeek(t *testing.T) {
	f := newFeed("t", 0, 1<<20, 10)
	f.start()
	_, epoch, _ := f.room()
	if err := f.put(fetchedOf(stored(10, 0, codecZstd, 0)), epoch); err != nil {
		t.Fatal(err)
	}
	f.seek(50)
	if err := f.put(fetchedOf(stored(11, 0, codecZstd, 0)), epoch); err != nil {
		t.Fatal(err)
	}
	if got, read := drain(t, f); got != nil || read != 50 {
		t.Errorf("read %v up to %d", got, read)
	}
	_, epoch, _ = f.room()
	if err := f.put(fetchedOf(stored(50, 0, codecZstd, 0)), epoch); err != nil {
		t.Fatal(err)
	}
	held, err := f.take()
	if err != nil || held == nil {
		t.Fatal(err)
	}
	f.close()
	if string(held.Records[0].Value) != "at 50" {
		t.Error("a held batch changed when the feed was closed")
	}
	held.Release()
	held.Release() // twice is harmless
	if f.raw != 0 || f.decoded != 0 {
		t.Errorf("%d and %d bytes are held", f.raw, f.decoded)
	}
}

// What a reader that failed never released does not count against the next one.
func TestFeedDisown(t *testing.T) {
	for _, c := range []codec{codecNone, codecZstd} {
		f := newFeed("t", 0, 1<<20, 10)
		f.start()
		_, epoch, _ := f.room()
		if err := f.put(fetchedOf(stored(10, 0, c, 0), stored(11, 0, c, 0)), epoch); err != nil {
			t.Fatal(err)
		}
		lost, err := f.take()
		if err != nil || lost == nil {
			t.Fatal(err)
		}
		f.disown()
		f.seek(10)
		if f.raw != 0 || f.decoded != 0 {
			t.Errorf("codec %d: %d and %d bytes are held", c, f.raw, f.decoded)
		}
		lost.Release() // late
		_, epoch, _ = f.room()
		if err := f.put(fetchedOf(stored(10, 0, c, 0)), epoch); err != nil {
			t.Fatal(err)
		}
		if got, read := drain(t, f); !slices.Equal(got, []int64{10}) || read != 11 || f.raw != 0 || f.decoded != 0 {
			t.Errorf("codec %d: then %v up to %d; %d and %d bytes are held", c, got, read, f.raw, f.decoded)
		}
	}
}

// However much there is and however little is released, a partition holds what it says.
func TestFeedHoldsItsBound(t *testing.T) {
	const most = 64 << 10
	big := bytes.Repeat([]byte("v"), most/4)
	for _, c := range []codec{codecNone, codecZstd} {
		f := newFeed("t", 0, most, 0)
		f.start()
		next, rounds := int64(0), 0
		var held []*Batch
		for ; rounds < 1000; rounds++ {
			want, epoch, ok := f.room()
			if ok && want.from == next {
				// As much as was asked for, of batches that decompress to most/4 each.
				var raw [][]byte
				for size := 0; size < most-most/3; {
					b := appendBatch(nil, []*item{{message: Message{Value: big}, size: len(big) + 30}}, sequence{}, c)
					be.PutUint64(b, uint64(next))
					next++
					raw = append(raw, b)
					size += len(b)
				}
				if err := f.put(fetchedOf(raw...), epoch); err != nil {
					t.Fatal(err)
				}
			}
			if b, err := f.take(); err != nil {
				t.Fatal(err)
			} else if b != nil {
				held = append(held, b)
			}
			if f.raw > 2*most || f.decoded > 2*most+most/2 {
				t.Fatalf("codec %d: %d bytes of fetches and %d decompressed, at most %d each", c, f.raw, f.decoded, 2*most)
			}
		}
		if len(held) == 0 || f.raw == 0 {
			t.Fatal("nothing was read")
		}
		for _, b := range held {
			b.Release()
		}
		if f.decoded != 0 {
			t.Errorf("%d bytes after all was released", f.decoded)
		}
	}
}
