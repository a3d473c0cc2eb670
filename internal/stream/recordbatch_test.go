package stream

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// The vectors of Kafka's own UtilsTest.testMurmur2, and what the Java client makes of them.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
		if got, want := PartitionOf([]byte(key), 7), (want&0x7fffffff)%7; got != want {
			t.Errorf("PartitionOf(%q, 7) = %d, want %d", key, got, want)
		}
	}
}

func itemsOf(messages []Message) []*item {
	var all []*item
	for i := range messages {
		all = append(all, &item{message: messages[i], ms: messages[i].Time.UnixMilli()})
	}
	return all
}

// decode reads a batch as the reader does.
func decode(b []byte, from int64) ([]Record, error) {
	h, err := readBatchHeader(b)
	if err != nil {
		return nil, err
	}
	if err := h.checkCRC(b); err != nil {
		return nil, err
	}
	payload, err := decompress(nil, b[batchHeaderSize:h.size], codec(h.attributes&codecMask))
	if err != nil {
		return nil, err
	}
	d := decoded{names: &names{}}
	err = d.add(&h, payload, "t", 3, from)
	return d.records, err
}

func messages() *rapid.Generator[[]Message] {
	optional := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
	header := rapid.Custom(func(t *rapid.T) Header {
		return Header{rapid.StringN(0, 20, 40).Draw(t, "name"), optional.Draw(t, "value")}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Message {
		return Message{
			Time: timeOf(rapid.Int64Range(0, 4e12).Draw(t, "ms")),
			Key:  optional.Draw(t, "key"), Value: optional.Draw(t, "value"),
			Headers: rapid.SliceOfN(header, 0, 12).Draw(t, "headers"),
		}
	}), 1, 60)
}

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := messages().Draw(t, "messages")
		codec := rapid.SampledFrom([]codec{codecNone, codecLZ4, codecZstd}).Draw(t, "codec")
		seq := sequence{rapid.Int64().Draw(t, "producer"), rapid.Int16().Draw(t, "epoch"), rapid.Int32().Draw(t, "sequence")}
		prefix := []byte("before")
		b := appendBatch(slices.Clone(prefix), itemsOf(want), seq, codec)
		if !bytes.HasPrefix(b, prefix) {
			t.Fatal("appendBatch changed what was there")
		}
		b = b[len(prefix):]
		if again := appendBatch(nil, itemsOf(want), seq, codec); !bytes.Equal(b, again) {
			t.Fatal("the same records give other bytes")
		}
		size := batchHeaderSize
		for _, it := range itemsOf(want) {
			size += contentSize(&it.message) + maxRecordOverhead
		}
		if codec == codecNone && len(b) > size {
			t.Fatalf("%d bytes, estimated at most %d", len(b), size)
		}
		// franz-go reads the same header.
		var other kmsg.RecordBatch
		if err := other.ReadFrom(b); err != nil {
			t.Fatal(err)
		}
		if other.ProducerID != seq.producer || other.ProducerEpoch != seq.epoch || other.FirstSequence != seq.first || int(other.NumRecords) != len(want) || uint32(other.CRC) != crc32.Checksum(b[21:], castagnoli) {
			t.Fatalf("franz-go reads %+v", other)
		}
		got, err := decode(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range got {
			g, w := &got[i], &want[i]
			if g.Offset != int64(i) || g.Partition != 3 || !g.Time.Equal(w.Time) || !same(g.Key, w.Key) || !same(g.Value, w.Value) || len(g.Headers) != len(w.Headers) {
				t.Fatalf("record %d is %+v, want %+v", i, g, w)
			}
			for j := range g.Headers {
				if g.Headers[j].Key != w.Headers[j].Key || !same(g.Headers[j].Value, w.Headers[j].Value) {
					t.Fatalf("header %d of record %d is %v, want %v", j, i, g.Headers[j], w.Headers[j])
				}
			}
		}
	})
}

// same tells nil and empty apart.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

func TestBatchThatCannotBeRead(t *testing.T) {
	good := appendBatch(nil, itemsOf([]Message{{Key: []byte("k"), Value: []byte("value"), Headers: []Header{{"h", []byte("v")}}}, {Value: []byte("w")}}), sequence{}, codecNone)
	change := func(at int, b byte) []byte {
		c := slices.Clone(good)
		c[at] = b
		return c
	}
	sum := func(b []byte) []byte {
		be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli))
		return b
	}
	for name, one := range map[string]struct {
		batch []byte
		want  error
	}{
		"nothing":              {nil, errTruncated},
		"half a header":        {good[:40], errTruncated},
		"half a batch":         {good[:len(good)-1], errTruncated},
		"an older format":      {change(atMagic, 1), errCorrupt},
		"too short a length":   {change(atLength+3, 1), errCorrupt},
		"a negative length":    {change(atLength, 0xff), errCorrupt},
		"a negative delta":     {change(atLastOffsetDelta, 0xff), errCorrupt},
		"one bit changed":      {change(len(good)-3, good[len(good)-3]^4), errCorrupt},
		"a compression of 7":   {sum(change(atAttributes+1, 7)), errCorrupt},
		"no zstd after all":    {sum(change(atAttributes+1, byte(codecZstd))), errCorrupt},
		"no lz4 after all":     {sum(change(atAttributes+1, byte(codecLZ4))), errCorrupt},
		"no gzip after all":    {sum(change(atAttributes+1, byte(codecGzip))), errCorrupt},
		"no snappy after all":  {sum(change(atAttributes+1, byte(codecSnappy))), errCorrupt},
		"a record too long":    {sum(change(batchHeaderSize, 0x7e)), errCorrupt},
		"more records claimed": {sum(change(atCount+3, 3)), errCorrupt},
		"a key too long":       {sum(change(batchHeaderSize+4, 0x7e)), errCorrupt},
		"many headers claimed": {sum(change(batchHeaderSize+12, 0x7e)), errCorrupt},
	} {
		if _, err := decode(one.batch, 0); !errors.Is(err, one.want) {
			t.Errorf("%s: %v, want %v", name, err, one.want)
		}
	}
	if _, err := decode(good, 0); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range []codec{codecNone, codecLZ4, codecZstd} {
		f.Add(appendBatch(nil, itemsOf([]Message{{Key: []byte("k"), Value: bytes.Repeat([]byte("value"), 100), Headers: []Header{{"h", []byte("v")}}}, {}}), sequence{}, c))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > batchHeaderSize {
			be.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], castagnoli)) // get past the door
		}
		records, err := decode(b, 0)
		if err != nil && !errors.Is(err, errCorrupt) && !errors.Is(err, errTruncated) {
			t.Errorf("an error of no kind: %v", err)
		}
		for i := range records {
			_ = records[i].Clone()
		}
	})
}

func TestCodecsOfOthers(t *testing.T) {
	text := []byte(strings.Repeat("the same again; ", 10_000))
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(text)
	_ = w.Close()
	// What the Java client makes: blocks of 32 KiB in xerial's frame.
	framed := append(slices.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for block := range slices.Chunk(text, 32<<10) {
		packed := snappy.Encode(nil, block)
		framed = append(be.AppendUint32(framed, uint32(len(packed))), packed...)
	}
	for name, one := range map[string]struct {
		codec codec
		bytes []byte
	}{
		"none": {codecNone, text}, "gzip": {codecGzip, zipped.Bytes()}, "snappy": {codecSnappy, snappy.Encode(nil, text)}, "framed snappy": {codecSnappy, framed},
		"lz4": {codecLZ4, compress(nil, text, codecLZ4)}, "zstd": {codecZstd, compress(nil, text, codecZstd)},
	} {
		got, err := decompress([]byte("x"), one.bytes, one.codec)
		if err != nil || !bytes.Equal(got, append([]byte("x"), text...)) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if len(one.bytes) < 20 {
			t.Errorf("%s: not compressed but gone", name)
		}
		for _, cut := range []int{1, 9, 17, len(one.bytes) / 2} {
			if got, err := decompress(nil, one.bytes[:cut], one.codec); one.codec != codecNone && err == nil && bytes.Equal(got, text) {
				t.Errorf("%s: whole although cut at %d", name, cut)
			}
		}
	}
	bomb := make([]byte, maxDecompressed+1)
	for name, packed := range map[codec][]byte{codecZstd: compress(nil, bomb, codecZstd), codecLZ4: compress(nil, bomb, codecLZ4), codecSnappy: snappy.Encode(nil, bomb)} {
		if _, err := decompress(nil, packed, name); !errors.Is(err, errCorrupt) {
			t.Errorf("codec %d: a bomb of %d bytes: %v", name, len(packed), err)
		}
	}
}

func TestNames(t *testing.T) {
	var n names
	got := []string{}
	for range 2 {
		for i := range maxNames + 10 {
			got = append(got, n.get(i, fmt.Append(nil, "h", i)))
		}
	}
	for i, s := range got {
		if want := fmt.Sprint("h", i%(maxNames+10)); s != want {
			t.Fatalf("name %d is %q, want %q", i, s, want)
		}
	}
	if len(n.all) > maxNames || len(n.inOrder) > maxNames {
		t.Errorf("%d and %d names are kept", len(n.all), len(n.inOrder))
	}
}

func TestJudge(t *testing.T) {
	want := map[verdict][]int16{
		acked:          {0, 46},
		retry:          {-1, 2, 7, 14, 15, 19, 20, 89, 120},
		retryElsewhere: {3, 5, 6, 9, 13, 56, 74, 75, 100},
		newProducer:    {45, 47, 49, 59, 90},
		split:          {10, 18},
		refused:        {17, 29, 31, 32, 35, 43, 44, 76, 87},
	}
	for verdict, codes := range want {
		for _, code := range codes {
			if got := judge(code); got != verdict {
				t.Errorf("judge(%d) = %d, want %d", code, got, verdict)
			}
		}
	}
}

func TestSequence(t *testing.T) {
	a, b := &producerSession{1, 0}, &producerSession{2, 0}
	var s sequenceState
	got := []sequence{s.next(a, 5), s.next(a, 1), s.next(b, 2)}
	s.count = 0x7ffffffe
	got = append(got, s.next(b, 3), s.next(b, 1))
	s.back(1)
	s.back(3)
	got = append(got, s.next(b, 1))
	want := []sequence{{1, 0, 0}, {1, 0, 5}, {2, 0, 0}, {2, 0, 0x7ffffffe}, {2, 0, 1}, {2, 0, 0x7ffffffe}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sequence{})); diff != "" {
		t.Error(diff)
	}
}

func TestGroupByTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topics := []*topicQueue{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}
		var all []*partitionQueue
		for i, n := range rapid.SliceOf(rapid.IntRange(0, 3)).Draw(t, "topics") {
			all = append(all, &partitionQueue{topic: topics[n], partition: int32(i)})
		}
		got := slices.Clone(all)
		groupByTopic(got)
		seen := map[*topicQueue]bool{}
		for i := range got {
			if i > 0 && got[i].topic == got[i-1].topic {
				continue
			}
			if seen[got[i].topic] {
				t.Fatal("a topic stands in two places")
			}
			seen[got[i].topic] = true
		}
		for _, p := range all {
			if !slices.Contains(got, p) {
				t.Fatal("a partition is gone")
			}
		}
	})
}

func TestRequestBytes(t *testing.T) {
	b := []byte("batch")
	topic := &topicQueue{name: "t"}
	got, large := appendProduce(nil, "me", []*partitionQueue{{topic: topic, partition: 2, batch: &batch{bytes: &b}}}, brokerTimeout)
	const want = "0000003100000008000000010002" + "6d65" + "ffff" + "ffff" + "00001388" + "00000001" + "000174" + "00000001" + "00000002" + "00000005" + "6261746368"
	if len(large) != 0 || hex.EncodeToString(got)[8:] != want[8:] || int(be.Uint32(got)) != len(got)-4 {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}
