package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A frame is: length of the data (4 bytes), CRC-32C of what follows (4), time of receipt in
// Unix nanoseconds (8), data. Numbers are little-endian.
const (
	frameHead = 16
	// maxData bounds what a length may say, so that a broken one doesn't ask for all memory.
	maxData = 64 << 20

	segmentSuffix = ".spool"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func frameSize(data int) int64 { return int64(frameHead + data) }

func appendFrame(b []byte, r Record) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Data)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Time.UnixNano()))
	b = append(b, r.Data...)
	binary.LittleEndian.PutUint32(b[at+4:], crc32.Checksum(b[at+8:], castagnoli))
	return b
}

var errTorn = errors.New("the record is torn or damaged")

// readFrame reads the frame at the beginning of b: errTorn when it isn't whole.
func readFrame(b []byte) (Record, int, error) {
	if len(b) < frameHead {
		return Record{}, 0, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxData || len(b) < frameHead+int(n) {
		return Record{}, 0, errTorn
	}
	end := frameHead + int(n)
	if crc32.Checksum(b[8:end], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return Record{}, 0, errTorn
	}
	return Record{time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))), b[frameHead:end]}, end, nil
}

// segment is one file of the log.
type segment struct {
	number  uint64
	path    string
	file    file  // open for appending; nil: sealed
	length  int64 // good bytes
	records int64 // of all of it
	oldest  time.Time
}

// file is what a segment needs of an *os.File.
type file interface {
	io.WriterAt
	Sync() error
	Truncate(int64) error
	Close() error
}

func createSegment(dir string, number uint64) (*segment, error) {
	path := filepath.Join(dir, fmt.Sprintf("%016x%s", number, segmentSuffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return &segment{number: number, path: path, file: f}, nil
}

// writeAtOnce bounds the copy of a batch on its way to the file; a batch may hold all that is
// in flight.
const writeAtOnce = 1 << 20

func (s *segment) write(batch []*write, frames []byte) ([]byte, error) {
	at := s.length
	for i, w := range batch {
		frames = appendFrame(frames, w.record)
		if len(frames) < writeAtOnce && i < len(batch)-1 {
			continue
		}
		if _, err := s.file.WriteAt(frames, at); err != nil {
			return frames, err
		}
		at += int64(len(frames))
		frames = frames[:0]
	}
	return frames, s.file.Sync()
}

// seal closes the file at its last good length.
func (s *segment) seal() {
	if s.file == nil {
		return
	}
	_ = s.file.Truncate(s.length) // when that fails, too, reading stops at the first bad frame
	_ = s.file.Close()
	s.file = nil
}

// recover reads what an earlier process left: every good frame counts, what is behind the last
// one is cut off, and a segment that is damaged in the middle is kept beside for people.
func (s *Spool) recover() error {
	names, err := filepath.Glob(s.path("*" + segmentSuffix))
	if err != nil {
		return err
	}
	slices.Sort(names) // the numbers have a fixed width
	from := readCursor(s.path(cursorName))
	// A new segment must come after the cursor, or the next recovery would take it for drained.
	s.head.number = from.segment
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), segmentSuffix), 16, 64)
		if err != nil {
			continue // none of ours
		}
		if number < from.segment {
			if err := os.Remove(name); err != nil { // drained; the process ended before it was deleted
				return err
			}
			continue
		}
		seg, drained, err := s.recoverSegment(name, number, from)
		if err != nil {
			return err
		}
		if seg.records-drained == 0 {
			if err := os.Remove(name); err != nil {
				return err
			}
			s.head.number = max(s.head.number, number)
			continue
		}
		if len(s.segments) == 0 && number == from.segment {
			s.head.start = from.offset
		}
		s.segments = append(s.segments, seg)
		s.size += seg.length
		s.records += seg.records - drained
	}
	if s.records > 0 {
		signal(s.more)
	}
	return nil
}

func (s *Spool) recoverSegment(name string, number uint64, from cursor) (*segment, int64, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, 0, err
	}
	seg := &segment{number: number, path: name}
	drained := int64(0)
	for int(seg.length) < len(data) {
		r, n, err := readFrame(data[seg.length:])
		if err != nil {
			break
		}
		if number == from.segment && seg.length < from.offset {
			drained++
		} else if seg.oldest.IsZero() || r.Time.Before(seg.oldest) {
			seg.oldest = r.Time
		}
		seg.length += int64(n)
		seg.records++
	}
	if left := len(data) - int(seg.length); left > 0 {
		// After a kill the rest is one half-written batch. A copy is kept all the same: if it is
		// damage in the middle, somebody may want what stands behind it.
		beside := name + ".torn"
		if err := os.WriteFile(beside, data[seg.length:], 0o600); err != nil {
			return nil, 0, err
		}
		if err := os.Truncate(name, seg.length); err != nil {
			return nil, 0, err
		}
		s.damaged = append(s.damaged, fmt.Sprintf("%s: %d bytes behind the last good record were cut off and put into %s", filepath.Base(name), left, filepath.Base(beside)))
	}
	return seg, drained, nil
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s belongs to another process; each replica needs a spool of its own", dir)
	}
	return f, nil
}

// WriteFile writes a file beside the spool, and returns when it is on the disk.
func WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ---- draining ----

// cursorName is the file that says how far the spool is drained. It is not synced: losing it
// costs duplicates of at most one segment.
const cursorName = "drained"

type cursor struct {
	segment uint64
	offset  int64
}

func readCursor(path string) cursor {
	data, err := os.ReadFile(path)
	if err != nil || len(data) != 20 || crc32.Checksum(data[:16], castagnoli) != binary.LittleEndian.Uint32(data[16:]) {
		return cursor{}
	}
	return cursor{binary.LittleEndian.Uint64(data), int64(binary.LittleEndian.Uint64(data[8:]))}
}

func (c cursor) write(f *os.File) error {
	b := binary.LittleEndian.AppendUint64(nil, c.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.offset))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := f.WriteAt(b, 0)
	return err
}

// reader is where draining stands.
type reader struct {
	number uint64 // last segment that was drained, or is being
	start  int64  // first byte that is not drained, in the first segment
	file   *os.File
	of     *segment
	cursor *os.File

	read    int64 // bytes of what Next returned last
	records int64
	buffer  []byte
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file, r.of = nil, nil
	}
	if r.cursor != nil {
		_ = r.cursor.Close()
		r.cursor = nil
	}
}

// Next gives the oldest records that are not drained, of about max bytes; none when there are
// none. They are valid until the next call. Without Done the same come again.
func (s *Spool) Next(limit int) ([]Record, error) {
	s.mu.Lock()
	s.retire()
	if len(s.segments) == 0 || s.closed {
		s.mu.Unlock()
		return nil, nil
	}
	seg := s.segments[0]
	length := seg.length
	s.mu.Unlock()
	h := &s.head
	if h.of != seg {
		f, err := os.Open(seg.path)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		if h.file != nil {
			_ = h.file.Close()
		}
		h.file, h.of, h.number = f, seg, seg.number
		s.mu.Unlock()
	}
	h.read, h.records = 0, 0
	for want := min(length-h.start, int64(limit)); want > 0; {
		if int64(cap(h.buffer)) < want {
			h.buffer = make([]byte, want)
		}
		n, err := h.file.ReadAt(h.buffer[:want], h.start)
		if err != nil && err != io.EOF {
			return nil, err
		}
		var records []Record
		for b := h.buffer[:n]; len(b) > 0; {
			r, size, err := readFrame(b)
			if err != nil {
				break
			}
			records = append(records, r)
			b = b[size:]
			h.read += int64(size)
		}
		h.records = int64(len(records))
		if len(records) > 0 {
			return records, nil
		}
		if want == length-h.start {
			return nil, fmt.Errorf("%s: %w at byte %d", filepath.Base(seg.path), errTorn, h.start)
		}
		want = min(length-h.start, 2*want) // a record larger than the limit
	}
	return nil, nil
}

// Skip gives up what can't be read: it puts the rest of the first segment aside, for people, and
// goes on with the next. It says what it did.
func (s *Spool) Skip() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segments[0]
	seg.seal()
	beside := seg.path + ".damaged"
	if err := os.Rename(seg.path, beside); err != nil {
		return "", err
	}
	lost := seg.records
	s.segments = s.segments[1:]
	s.size -= seg.length
	s.records = 0
	for _, left := range s.segments {
		s.records += left.records
	}
	s.head.leave()
	return fmt.Sprintf("a segment of %d records can't be read beyond some point and was put aside as %s", lost, filepath.Base(beside)), nil
}

// Done says that what Next returned last is taken off.
func (s *Spool) Done() error {
	h := &s.head
	s.mu.Lock()
	h.start += h.read
	s.records -= h.records
	h.read, h.records = 0, 0
	at := cursor{h.number, h.start}
	gone := s.retire()
	s.mu.Unlock()
	if gone {
		at = cursor{h.number + 1, 0}
	}
	if h.cursor == nil {
		f, err := os.OpenFile(s.path(cursorName), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		h.cursor = f
	}
	return at.write(h.cursor)
}

// retire deletes the first segment once it is drained: when it is sealed, or when it is the only
// one and nothing is on its way into it (the next batch begins another). The caller holds s.mu.
func (s *Spool) retire() bool {
	if len(s.segments) == 0 {
		return false
	}
	seg := s.segments[0]
	if s.head.of != seg || s.head.start < seg.length || seg.file != nil && s.writing {
		return false
	}
	seg.seal()
	s.segments = s.segments[1:]
	s.size -= seg.length
	s.head.leave()
	_ = os.Remove(seg.path) // left behind it would be drained twice at worst: the cursor is past it
	return true
}

// leave closes the segment that was drained.
func (r *reader) leave() {
	if r.file != nil {
		_ = r.file.Close()
	}
	r.file, r.of, r.start = nil, nil, 0
}
