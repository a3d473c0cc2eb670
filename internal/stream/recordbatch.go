package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// A record batch of format 2 (KIP-98) is a header of 61 bytes and records, the records
// compressed as one. Its checksum covers everything from the attributes on.
const (
	atBaseOffset      = 0
	atLength          = 8 // bytes after this field
	atMagic           = 16
	atCRC             = 17
	atAttributes      = 21
	atLastOffsetDelta = 23
	atBaseTime        = 27
	atMaxTime         = 35
	atProducerID      = 43
	atProducerEpoch   = 51
	atSequence        = 53
	atCount           = 57
	batchHeaderSize   = 61

	lengthEnd = 12 // where the bytes that atLength counts begin
)

const (
	codecMask        = 0x07
	logAppendTimeBit = 0x08
	controlBit       = 0x20
)

var (
	be         = binary.BigEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// batchHeader is what a reader needs of a batch's header.
type batchHeader struct {
	baseOffset int64
	size       int // of the whole batch
	magic      int8
	crc        uint32
	attributes int16
	lastDelta  int32
	baseTime   int64
	maxTime    int64
	count      int32
}

// next is the offset after the batch: compaction may have removed its last records, so only
// the header knows it.
func (h *batchHeader) next() int64 { return h.baseOffset + int64(h.lastDelta) + 1 }

// The ways in which a batch can be bad.
var (
	errTruncated = errors.New("the batch is cut off")
	errCorrupt   = errors.New("the batch is corrupt")
)

// readBatchHeader reads the header of the batch that b begins with: errTruncated when b does
// not hold all of it, as the last batch of a fetch may be.
func readBatchHeader(b []byte) (batchHeader, error) {
	var h batchHeader
	if len(b) < atMagic+1 {
		return h, errTruncated
	}
	h.baseOffset = int64(be.Uint64(b[atBaseOffset:]))
	h.size = lengthEnd + int(int32(be.Uint32(b[atLength:])))
	h.magic = int8(b[atMagic])
	if h.magic != 2 {
		return h, fmt.Errorf("%w: message format %d (Kafka before 0.11)", errCorrupt, h.magic)
	}
	if h.size < batchHeaderSize {
		return h, fmt.Errorf("%w: %d bytes long", errCorrupt, h.size)
	}
	if len(b) < batchHeaderSize {
		return h, errTruncated
	}
	h.crc = be.Uint32(b[atCRC:])
	h.attributes = int16(be.Uint16(b[atAttributes:]))
	h.lastDelta = int32(be.Uint32(b[atLastOffsetDelta:]))
	h.baseTime = int64(be.Uint64(b[atBaseTime:]))
	h.maxTime = int64(be.Uint64(b[atMaxTime:]))
	h.count = int32(be.Uint32(b[atCount:]))
	if h.lastDelta < 0 || h.count < 0 || h.baseOffset < 0 {
		return h, fmt.Errorf("%w: a negative count or offset", errCorrupt)
	}
	if len(b) < h.size {
		return h, errTruncated
	}
	return h, nil
}

// checkCRC compares the checksum of a whole batch.
func (h *batchHeader) checkCRC(batch []byte) error {
	if crc32.Checksum(batch[atAttributes:h.size], castagnoli) != h.crc {
		return fmt.Errorf("%w: checksum of the batch at offset %d", errCorrupt, h.baseOffset)
	}
	return nil
}

// names remembers header names, so that reading one makes no string: the headers of one
// topic's records have the same few names in the same order.
type names struct {
	inOrder []string
	all     map[string]string
}

// maxNames bounds what is remembered of names that somebody else chose.
const maxNames = 256

func (n *names) get(i int, b []byte) string {
	if i < len(n.inOrder) && n.inOrder[i] == string(b) {
		return n.inOrder[i]
	}
	s, ok := n.all[string(b)]
	if !ok {
		s = string(b)
		if n.all == nil || len(n.all) >= maxNames {
			n.all = map[string]string{}
		}
		n.all[s] = s
	}
	if i < maxNames {
		for len(n.inOrder) <= i {
			n.inOrder = append(n.inOrder, "")
		}
		n.inOrder[i] = s
	}
	return s
}

// decoded collects the records of batches.
type decoded struct {
	records []Record
	headers []Header
	names   *names
}

// add decodes the records of one batch whose payload (decompressed) is given, leaving out those
// before offset from. Keys, values and header values point into payload. After an error none of
// the batch's records is there.
func (d *decoded) add(h *batchHeader, payload []byte, topic string, partition int32, from int64) (err error) {
	records, headers := len(d.records), len(d.headers)
	defer func() {
		if err != nil {
			d.records, d.headers = d.records[:records], d.headers[:headers]
		}
	}()
	r := varintReader{b: payload}
	for i := range h.count {
		size := r.varint()
		if r.bad || size < 0 || int(size) > len(r.b) {
			return fmt.Errorf("%w: record %d of the batch at offset %d", errCorrupt, i, h.baseOffset)
		}
		record := varintReader{b: r.b[:size]}
		r.b = r.b[size:]
		record.skip(1) // attributes, unused
		ms := h.baseTime + record.varint()
		if h.attributes&logAppendTimeBit != 0 {
			ms = h.maxTime
		}
		offset := h.baseOffset + record.varint()
		key := record.bytes()
		value := record.bytes()
		count := record.varint()
		if record.bad || count < 0 || count > int64(len(record.b)) {
			return fmt.Errorf("%w: record %d of the batch at offset %d", errCorrupt, i, h.baseOffset)
		}
		first := len(d.headers)
		for j := range int(count) {
			name := record.bytes()
			d.headers = append(d.headers, Header{d.names.get(j, name), record.bytes()})
		}
		if record.bad {
			return fmt.Errorf("%w: headers of record %d of the batch at offset %d", errCorrupt, i, h.baseOffset)
		}
		if offset < from {
			d.headers = d.headers[:first]
			continue
		}
		// The three-index slice keeps an append by the user out of the next record's headers.
		d.records = append(d.records, Record{
			Topic: topic, Partition: partition, Offset: offset, Time: time.UnixMilli(ms),
			Key: key, Value: value, Headers: d.headers[first:len(d.headers):len(d.headers)],
		})
	}
	return nil
}

// varintReader reads the zigzag varints and byte strings of records.
type varintReader struct {
	b   []byte
	bad bool
}

func (r *varintReader) varint() int64 {
	// Nearly every number in a record is below 64 or 8,192.
	if len(r.b) >= 2 {
		if b0 := r.b[0]; b0 < 0x80 {
			r.b = r.b[1:]
			return int64(b0>>1) ^ -int64(b0&1)
		} else if b1 := r.b[1]; b1 < 0x80 {
			r.b = r.b[2:]
			u := uint64(b0&0x7f) | uint64(b1)<<7
			return int64(u>>1) ^ -int64(u&1)
		}
	}
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *varintReader) skip(n int) {
	if n > len(r.b) {
		r.bad = true
		n = len(r.b)
	}
	r.b = r.b[n:]
}

// bytes reads a byte string; length -1 is nil.
func (r *varintReader) bytes() []byte {
	n := r.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// appendRecord encodes one record.
func appendRecord(b []byte, m *Message, offsetDelta int, timeDelta int64) []byte {
	b = binary.AppendVarint(b, int64(bodySize(m, offsetDelta, timeDelta)))
	b = append(b, 0)
	b = binary.AppendVarint(b, timeDelta)
	b = binary.AppendVarint(b, int64(offsetDelta))
	if m.content != nil {
		return append(b, m.content...)
	}
	b = appendBytes(b, m.Key)
	b = appendBytes(b, m.Value)
	b = binary.AppendVarint(b, int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		b = appendBytes(appendString(b, h.Key), h.Value)
	}
	return b
}

// appendString writes a string as appendBytes does.
func appendString(b []byte, s string) []byte {
	return append(appendLength(b, len(s)), s...)
}

// appendBytes writes a byte string; nil and empty differ (a tombstone has no value).
func appendBytes(b, s []byte) []byte {
	if s == nil {
		return append(b, 1) // -1
	}
	return append(appendLength(b, len(s)), s...)
}

// appendLength is a varint; nearly all are below 64, which is one byte.
func appendLength(b []byte, n int) []byte {
	if n < 64 {
		return append(b, byte(n<<1))
	}
	return binary.AppendVarint(b, int64(n))
}

// bodySize is a record's size without its own length.
func bodySize(m *Message, offsetDelta int, timeDelta int64) int {
	return 1 + varintSize(timeDelta) + varintSize(int64(offsetDelta)) + contentSize(m)
}

// contentSize is what a record's key, value and headers take.
func contentSize(m *Message) int {
	if m.content != nil {
		return len(m.content)
	}
	n := bytesSize(m.Key) + bytesSize(m.Value) + varintSize(int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		n += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	return n
}

// maxRecordOverhead is what a record takes beside its content, at most: its length, the
// attributes, and the two deltas.
const maxRecordOverhead = 5 + 1 + 10 + 5

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// sequence names a producer's place in a partition: the broker drops a batch that it has
// already, and refuses one that leaves a gap.
type sequence struct {
	producer int64
	epoch    int16
	first    int32
}

var zeroHeader [batchHeaderSize]byte

func appendRecords(b []byte, items []*item, base int64) []byte {
	for i, it := range items {
		b = appendRecord(b, &it.message, i, it.ms-base)
	}
	return b
}

// appendBatch encodes items as one batch.
func appendBatch(b []byte, items []*item, seq sequence, codec codec) []byte {
	start := len(b)
	b = append(b, zeroHeader[:]...)
	base, latest := items[0].ms, items[0].ms
	for _, it := range items[1:] {
		latest = max(latest, it.ms)
	}
	used := codec
	if codec == codecNone {
		b = appendRecords(b, items, base)
	} else {
		size := 0
		for _, it := range items {
			size += it.size
		}
		plain := takeBuffer(size)
		*plain = appendRecords((*plain)[:0], items, base)
		b = compress(b, *plain, codec)
		if len(b)-start-batchHeaderSize >= len(*plain) { // bytes that don't get smaller stay as they are
			b, used = append(b[:start+batchHeaderSize], *plain...), codecNone
		}
		giveBuffer(plain)
	}
	h := b[start:]
	be.PutUint32(h[atLength:], uint32(len(h)-lengthEnd))
	be.PutUint32(h[lengthEnd:], 0xffffffff) // leader epoch: the broker's to set
	h[atMagic] = 2
	be.PutUint16(h[atAttributes:], uint16(used))
	be.PutUint32(h[atLastOffsetDelta:], uint32(len(items)-1))
	be.PutUint64(h[atBaseTime:], uint64(base))
	be.PutUint64(h[atMaxTime:], uint64(latest))
	be.PutUint64(h[atProducerID:], uint64(seq.producer))
	be.PutUint16(h[atProducerEpoch:], uint16(seq.epoch))
	be.PutUint32(h[atSequence:], uint32(seq.first))
	be.PutUint32(h[atCount:], uint32(len(items)))
	be.PutUint32(h[atCRC:], crc32.Checksum(h[atAttributes:], castagnoli))
	return b
}
