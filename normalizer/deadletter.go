package normalizer

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/schemas"
)

// deadLetter is a callback that could not be understood, wholly or in part, for one reason.
type deadLetter struct {
	class   adapter.Class
	message stream.Message
}

// maxMessage bounds the words of a dead letter, in bytes.
const maxMessage = 1 << 10

// deadLetters makes the dead letters of a callback: its key, bytes and headers as they are, and
// beside them what was wrong. One letter a class, naming the items that failed so: a batch of
// 1,000 bad items must not become 1,000 copies of the batch. They are copies, since they outlive
// the record's buffer.
func deadLetters(rec *stream.Record, failures []adapter.Failure, version string, now time.Time) []deadLetter {
	if len(failures) == 0 {
		return nil
	}
	failedFirst := stream.FormatTime(now)
	if before := rec.Header(schemas.HeaderDeadFirstFailedAt); before != nil {
		failedFirst = string(before) // replayed with its headers, and failed again
	}
	original := slices.DeleteFunc(copyHeaders(rec.Headers), func(h stream.Header) bool {
		return strings.HasPrefix(h.Key, schemas.HeaderDeadPrefix)
	})
	key, value := bytes.Clone(rec.Key), bytes.Clone(rec.Value)

	var letters []deadLetter
	for i, f := range failures {
		if slices.ContainsFunc(failures[:i], func(g adapter.Failure) bool { return g.Class == f.Class }) {
			continue // stands in its class's letter
		}
		headers := slices.Clone(original)
		add := func(name, text string) { headers = append(headers, stream.Header{Key: name, Value: []byte(text)}) }
		add(schemas.HeaderDeadStage, string(schemas.StageNormalizer))
		add(schemas.HeaderDeadClass, string(f.Class))
		add(schemas.HeaderDeadTopic, rec.Topic)
		add(schemas.HeaderDeadPartition, strconv.Itoa(int(rec.Partition)))
		add(schemas.HeaderDeadOffset, strconv.FormatInt(rec.Offset, 10))
		if items := itemsOf(failures, f.Class); items != "" {
			add(schemas.HeaderDeadIndex, items)
		}
		add(schemas.HeaderDeadFirstFailedAt, failedFirst)
		add(schemas.HeaderDeadVersion, version)
		add(schemas.HeaderDeadMessage, strings.ToValidUTF8(f.Message[:min(len(f.Message), maxMessage)], ""))
		letters = append(letters, deadLetter{f.Class, stream.Message{Topic: schemas.TopicCallbacksDead, Key: key, Value: value, Headers: headers}})
	}
	return letters
}

// itemsOf lists the items that failed with class; "" when one of them is the whole callback.
func itemsOf(failures []adapter.Failure, class adapter.Class) string {
	var b []byte
	for _, f := range failures {
		switch {
		case f.Class != class:
		case f.Index == adapter.WholeCallback:
			return ""
		default:
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(f.Index), 10)
		}
	}
	return string(b)
}

// short is the letter without its words and its list of items: for a callback so large that
// its letter would not fit onto the topic. Bytes and place matter more.
func (l deadLetter) short() stream.Message {
	m := l.message
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h stream.Header) bool {
		return h.Key == schemas.HeaderDeadMessage || h.Key == schemas.HeaderDeadIndex || h.Key == schemas.HeaderDeadVersion
	})
	return m
}

// copyHeaders copies headers off the record's buffer.
func copyHeaders(headers []stream.Header) []stream.Header {
	copies := make([]stream.Header, len(headers))
	for i, h := range headers {
		copies[i] = stream.Header{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
	}
	return copies
}
