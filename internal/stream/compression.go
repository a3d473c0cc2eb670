package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is how a batch's records are compressed; the numbers are Kafka's.
type codec int16

const (
	codecNone codec = iota
	codecGzip
	codecSnappy
	codecLZ4
	codecZstd
)

// codecOf reads WriterOptions.Compression.
func codecOf(name string) (codec, error) {
	switch name {
	case "", "zstd":
		return codecZstd, nil
	case "lz4":
		return codecLZ4, nil
	case "none":
		return codecNone, nil
	}
	return 0, fmt.Errorf("no such compression: %q (zstd, lz4 or none)", name)
}

// maxDecompressed refuses a batch that grows beyond all reason. Ours decompress to 1 MiB at
// most but for single large records; Java's to about message.max.bytes.
const maxDecompressed = 64 << 20

var errInflated = fmt.Errorf("%w: it decompresses to more than %d bytes", errCorrupt, maxDecompressed)

// The zstd coders hold tables, no state between calls: one of each serves everybody.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithWindowSize(256<<10))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxDecompressed), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic(err)
		}
		return d
	})
	lz4Writers = sync.Pool{New: func() any { return lz4.NewWriter(nil) }}
	lz4Readers = sync.Pool{New: func() any { return lz4.NewReader(nil) }}
)

// compress appends src to dst, compressed.
func compress(dst, src []byte, c codec) []byte {
	switch c {
	case codecZstd:
		return zstdEncoder().EncodeAll(src, dst)
	case codecLZ4:
		out := bytes.NewBuffer(dst)
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		w.Reset(out)
		// Into memory nothing fails.
		_, _ = w.Write(src)
		_ = w.Close()
		return out.Bytes()
	default:
		return append(dst, src...)
	}
}

// decompress appends src to dst, decompressed.
func decompress(dst, src []byte, c codec) ([]byte, error) {
	switch c {
	case codecNone:
		return append(dst, src...), nil
	case codecZstd:
		out, err := zstdDecoder().DecodeAll(src, dst)
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
			return nil, errInflated
		}
		return out, corrupt(err)
	case codecLZ4:
		r := lz4Readers.Get().(*lz4.Reader)
		defer lz4Readers.Put(r)
		r.Reset(bytes.NewReader(src))
		return readBounded(dst, r)
	case codecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, corrupt(err)
		}
		return readBounded(dst, r)
	case codecSnappy:
		return decompressSnappy(dst, src)
	}
	return nil, fmt.Errorf("%w: compression %d", errCorrupt, c)
}

func corrupt(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errCorrupt, err)
}

// readBounded appends all of r to dst.
func readBounded(dst []byte, r io.Reader) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	n, err := io.Copy(out, io.LimitReader(r, maxDecompressed+1))
	if err != nil {
		return nil, corrupt(err)
	}
	if n > maxDecompressed {
		return nil, errInflated
	}
	return out.Bytes(), nil
}

// xerialMagic begins the framing that the Java client puts around snappy blocks: 8 bytes of
// magic, two int32 of versions, then blocks with their int32 length.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

func decompressSnappy(dst, src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappyBlock(dst, src, len(dst))
	}
	if len(src) < 16 {
		return nil, fmt.Errorf("%w: snappy framing", errCorrupt)
	}
	start := len(dst)
	var err error
	for src = src[16:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, fmt.Errorf("%w: snappy framing", errCorrupt)
		}
		n := binary.BigEndian.Uint32(src)
		if src = src[4:]; int64(n) > int64(len(src)) {
			return nil, fmt.Errorf("%w: snappy framing", errCorrupt)
		}
		if dst, err = appendSnappyBlock(dst, src[:n], start); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendSnappyBlock appends one block; what was appended since start counts to the bound.
func appendSnappyBlock(dst, block []byte, start int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return nil, corrupt(err)
	}
	if len(dst)-start+n > maxDecompressed {
		return nil, errInflated
	}
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := snappy.Decode(dst[at:at+n:at+n], block); err != nil {
		return nil, corrupt(err)
	}
	return dst, nil
}
