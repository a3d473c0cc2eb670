package dispatcher

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
)

// progress is how far a lane got on its partition: every record before next has been looked at,
// and of those only the open ones are not done. It is kept as a committed offset, the first open
// record, with the rest in the commit's metadata.
type progress struct {
	next    int64
	open    []openRecord // by offset, ascending; done ones are dropped at the front, and when many
	done    int          // how many in open are done
	started time.Time    // when the subscription began: where a partition that is new to it starts
}

type openRecord struct {
	offset   int64
	attempts int // counted attempts so far
	done     bool
	loaded   bool // in memory; false after a restart until it is read again
	time     time.Time
}

// find gives the place of offset in open.
func (p *progress) find(offset int64) (int, bool) {
	return slices.BinarySearchFunc(p.open, offset, func(r openRecord, offset int64) int {
		switch {
		case r.offset < offset:
			return -1
		case r.offset > offset:
			return 1
		}
		return 0
	})
}

// wants says whether the record at offset is still to be done, as far as earlier runs know, and
// how many attempts it has had.
func (p *progress) wants(offset int64) (attempts int, ok bool) {
	if offset >= p.next {
		return 0, true
	}
	i, found := p.find(offset)
	if !found || p.open[i].done || p.open[i].loaded {
		return 0, false
	}
	return p.open[i].attempts, true
}

// take notes that the record at offset is being handled; wants has said yes.
func (p *progress) take(offset int64, at time.Time) {
	if offset < p.next {
		if i, found := p.find(offset); found {
			p.open[i].loaded, p.open[i].time = true, at
		}
		return
	}
	p.open = append(p.open, openRecord{offset: offset, loaded: true, time: at})
	p.next = offset + 1
}

// pass notes that everything before offset has been looked at: what was open there from an
// earlier run and was not met again is gone from the topic, or is no longer wanted.
func (p *progress) pass(offset int64) {
	p.next = max(p.next, offset)
	for i := range p.open {
		r := &p.open[i]
		if r.offset >= offset {
			break
		}
		if !r.loaded && !r.done {
			r.done = true
			p.done++
		}
	}
	p.trim()
}

// unload notes that the record at offset has left the memory without being done.
func (p *progress) unload(offset int64) {
	if i, found := p.find(offset); found {
		p.open[i].loaded = false
	}
}

// finish notes that the record at offset is done.
func (p *progress) finish(offset int64) {
	if i, found := p.find(offset); found && !p.open[i].done {
		p.open[i].done = true
		p.done++
		p.trim()
	}
}

// count notes how many attempts the record at offset has had.
func (p *progress) count(offset int64, attempts int) {
	if i, found := p.find(offset); found {
		p.open[i].attempts = attempts
	}
}

func (p *progress) trim() {
	n := 0
	for n < len(p.open) && p.open[n].done {
		n++
	}
	p.open, p.done = p.open[n:], p.done-n
	if p.done > 64 && p.done > len(p.open)/2 {
		p.open = slices.DeleteFunc(p.open, func(r openRecord) bool { return r.done })
		p.done = 0
	}
}

// watermark is the offset before which everything is done.
func (p *progress) watermark() int64 {
	if len(p.open) > 0 {
		return p.open[0].offset
	}
	return p.next
}

// openCount is the number of records that are not done.
func (p *progress) openCount() int { return len(p.open) - p.done }

// maxMetadata is what Kafka takes as a commit's metadata (offset.metadata.max.bytes).
const maxMetadata = 4096

// commit is the progress as a commit. Where the open records don't fit, the last of them are
// left out and next stands before them: after a crash they and what follows are looked at again,
// which may repeat, but never lose.
func (p *progress) commit() stream.Commit {
	open := make([]openRecord, 0, p.openCount())
	for _, r := range p.open {
		if !r.done {
			open = append(open, r)
		}
	}
	next := p.next
	for {
		metadata := encodeProgress(p.started, next, open)
		if len(metadata) <= maxMetadata {
			return stream.Commit{Offset: p.watermark(), Metadata: metadata}
		}
		keep := len(open) * 9 / 10
		next = open[keep].offset
		open = open[:keep]
	}
}

// encodeProgress writes "h1;START;RUNS;ATTEMPTS": the start in Unix milliseconds; runs as
// base64url varints, alternately how many records in a row are open and how many are done, from
// the watermark up to next; attempts of those open records that have any as "place:count", place
// among the open ones. Text, so that kafka-consumer-groups shows something.
func encodeProgress(started time.Time, next int64, open []openRecord) string {
	var runs []byte
	for i := 0; i < len(open); {
		j := i + 1
		for j < len(open) && open[j].offset == open[j-1].offset+1 {
			j++
		}
		runs = binary.AppendUvarint(runs, uint64(j-i))
		until := next
		if j < len(open) {
			until = open[j].offset
		}
		runs = binary.AppendUvarint(runs, uint64(until-open[j-1].offset-1))
		i = j
	}
	b := []byte("h1;")
	b = strconv.AppendInt(b, started.UnixMilli(), 10)
	b = append(b, ';')
	b = base64.RawURLEncoding.AppendEncode(b, runs)
	b = append(b, ';')
	for i, r := range open {
		if r.attempts > 0 {
			b = strconv.AppendInt(b, int64(i), 10)
			b = append(b, ':')
			b = strconv.AppendInt(b, int64(r.attempts), 10)
			b = append(b, ',')
		}
	}
	return string(b)
}

// decodeProgress reads a commit. Metadata that are not ours leave an offset with nothing known
// beyond it.
func decodeProgress(c stream.Commit) (progress, error) {
	plain := progress{next: c.Offset}
	parts := strings.Split(c.Metadata, ";")
	if len(parts) != 4 || parts[0] != "h1" {
		if c.Metadata == "" {
			return plain, nil
		}
		return plain, fmt.Errorf("the commit's metadata are not a lane's")
	}
	ms, err := strconv.ParseInt(parts[1], 10, 64)
	runs, err2 := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || err2 != nil {
		return plain, fmt.Errorf("the commit's metadata are damaged")
	}
	p := progress{next: c.Offset, started: time.UnixMilli(ms)}
	for isOpen := true; len(runs) > 0; isOpen = !isOpen {
		n, size := binary.Uvarint(runs)
		if size <= 0 || isOpen && n > maxMetadata*8 || n > 1<<62 {
			return plain, fmt.Errorf("the commit's metadata are damaged")
		}
		runs = runs[size:]
		if isOpen {
			for range n {
				p.open = append(p.open, openRecord{offset: p.next})
				p.next++
			}
		} else {
			p.next += int64(n)
		}
	}
	for pair := range strings.SplitSeq(strings.TrimSuffix(parts[3], ","), ",") {
		if pair == "" {
			continue
		}
		place, count, _ := strings.Cut(pair, ":")
		i, err := strconv.Atoi(place)
		attempts, err2 := strconv.Atoi(count)
		if err != nil || err2 != nil || i < 0 || i >= len(p.open) || attempts < 0 {
			return plain, fmt.Errorf("the commit's metadata are damaged")
		}
		p.open[i].attempts = attempts
	}
	return p, nil
}
