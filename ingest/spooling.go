package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/heedhq/heed/ingest/spool"
	"github.com/heedhq/heed/internal/stream"
)

// overflow is the spool as ingest uses it: it holds messages, opens the directory again when
// that failed, and brings to Kafka what waits, in order.
type overflow struct {
	dir     string // empty: there is no spool
	options spool.Options
	kafka   appender
	log     *slog.Logger

	open    atomic.Pointer[spool.Spool] // nil while the directory can't be opened
	why     atomic.Pointer[string]      // why not
	drained atomic.Int64
	aside   atomic.Int64 // records that Kafka will never take, put aside for people
	spell   spell        // the drain's
}

const (
	drainBytes   = 1 << 20          // of one round
	drainWait    = 10 * time.Second // for the acknowledgements of a round
	drainFirst   = 50 * time.Millisecond
	drainLongest = time.Second // between tries: how long the drain may notice Kafka's return too late
	lookEvery    = time.Second // at a directory or disk that failed
)

var (
	errNoSpool     = errors.New("the spool's directory can't be opened")
	errNoDirectory = errors.New("there is no spool (HEED_INGEST_SPOOL_DIR)")
)

// Put keeps a message on the disk.
func (o *overflow) Put(m stream.Message, until time.Time) error {
	s := o.open.Load()
	if s == nil {
		return errNoSpool
	}
	return s.Append(m.Time, encodeMessage(m), until)
}

// Pending says whether anything waits to be drained.
func (o *overflow) Pending() bool {
	s := o.open.Load()
	return s != nil && s.Pending()
}

// before lowers t to the oldest receipt of what waits.
func (o *overflow) before(t time.Time) time.Time {
	s := o.open.Load()
	if s == nil {
		return t
	}
	if oldest := s.State().Oldest; !oldest.IsZero() && oldest.Before(t) {
		return oldest
	}
	return t
}

// failure says why the spool wouldn't keep a callback now.
func (o *overflow) failure() error {
	if o.dir == "" {
		return errNoDirectory
	}
	s := o.open.Load()
	if s == nil {
		if why := o.why.Load(); why != nil {
			return errors.New(*why)
		}
		return errNoSpool
	}
	st := s.State()
	switch {
	case st.Failure != nil:
		return st.Failure
	case st.Full:
		return fmt.Errorf("%w: %d callbacks wait", spool.ErrFull, st.Records)
	}
	return nil
}

// excuses says whether ingest is unready because of Kafka: with a working spool it is not.
func (o *overflow) excuses(kafka error) error {
	if kafka == nil {
		return nil
	}
	if failure := o.failure(); failure != nil {
		return fmt.Errorf("%w; and %w", kafka, failure)
	}
	return nil
}

// note is what /readyz says of a spool that isn't empty and well.
func (o *overflow) note() string {
	if o.dir == "" {
		return ""
	}
	if err := o.failure(); err != nil {
		return "callbacks can't be spooled: " + err.Error()
	}
	if st := o.open.Load().State(); st.Records > 0 {
		return fmt.Sprintf("%d callbacks (%d bytes) wait for Kafka, the oldest since %s", st.Records, st.Bytes, stream.FormatTime(st.Oldest))
	}
	return ""
}

// tryOpen opens the directory if it isn't open.
func (o *overflow) tryOpen() {
	if o.dir == "" || o.open.Load() != nil {
		return
	}
	s, err := spool.Open(o.dir, o.options)
	if err != nil {
		if why := err.Error(); o.why.Load() == nil || *o.why.Load() != why {
			o.why.Store(&why)
			o.log.Error("the spool can't be opened", "dir", o.dir, "error", err)
		}
		return
	}
	for _, what := range s.Damaged() {
		o.log.Warn("the spool was damaged", "dir", o.dir, "what", what)
	}
	if st := s.State(); st.Records > 0 {
		o.log.Info("the spool holds callbacks of an earlier run", "dir", o.dir, "callbacks", st.Records, "bytes", st.Bytes)
	}
	o.open.Store(s)
}

// run drains the spool whenever something waits, until ctx ends.
func (o *overflow) run(ctx context.Context) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		o.tryOpen()
		var more <-chan struct{}
		if s := o.open.Load(); s != nil {
			s.Probe()
			more = s.More()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		case <-more:
		}
		o.drain(ctx)
	}
}

// drain brings everything that waits to Kafka, or goes on trying until ctx ends.
func (o *overflow) drain(ctx context.Context) {
	s := o.open.Load()
	for s != nil && ctx.Err() == nil {
		records, err := s.Next(drainBytes)
		if err != nil {
			what, err2 := s.Skip()
			o.log.Error("the spool is damaged", "dir", o.dir, "error", errors.Join(err, err2), "what", what)
			if err2 != nil {
				return
			}
			continue
		}
		if len(records) == 0 {
			if was, over := o.spell.over(time.Now()); over {
				o.log.Info("the spool is empty again", "callbacks", was.callbacks, "took", was.last.Sub(was.began).Round(time.Millisecond).String())
			}
			return
		}
		if o.spell.more(len(records), time.Now()) {
			o.log.Warn("Kafka doesn't acknowledge in time: callbacks are answered from the spool until it does", "dir", o.dir)
		}
		if !o.send(ctx, records) {
			return
		}
		o.spell.last = time.Now()
		if err := s.Done(); err != nil {
			o.log.Warn("how far the spool is drained was not written; after a crash callbacks come twice", "error", err)
		}
		o.drained.Add(int64(len(records)))
	}
}

// spell is a time in which callbacks go to the spool. Before a Kafka at its limit the spool fills
// and empties many times a second; that is one spell, of which the log says once that it began,
// and once that it is over.
type spell struct {
	began, last time.Time
	callbacks   int
}

// calm is how long nothing has waited when a spell is over.
const calm = 10 * time.Second

// more counts callbacks that waited, and says whether a spell begins with them.
func (s *spell) more(callbacks int, now time.Time) (begins bool) {
	if begins = s.callbacks == 0; begins {
		s.began = now
	}
	s.callbacks += callbacks
	s.last = now
	return begins
}

// over ends the spell if it is time.
func (s *spell) over(now time.Time) (was spell, over bool) {
	if s.callbacks == 0 || now.Sub(s.last) < calm {
		return spell{}, false
	}
	was, *s = *s, spell{}
	return was, true
}

// send appends records until each is acknowledged or put aside; false when ctx ended first. A
// record that is acknowledged is not sent again, so that a try costs no duplicates of others.
func (o *overflow) send(ctx context.Context, records []spool.Record) bool {
	type fate struct {
		i   int
		err error
	}
	settled := make(chan fate, len(records))
	left := make([]int, len(records))
	for i := range left {
		left[i] = i
	}
	for wait := drainFirst; ; wait = min(2*wait, drainLongest) {
		due := &deadline{Context: context.Background(), at: time.Now().Add(drainWait)}
		handed := 0
		var again []int
		for at, i := range left {
			m, err := decodeMessage(records[i].Data)
			if err == nil {
				m.Time = records[i].Time
				err = o.kafka.Enqueue(due, m, func(_ stream.Position, err error) { settled <- fate{i, err} })
			}
			if err == nil {
				handed++
				continue
			}
			if !o.final(records[i], err) {
				again = append(again, left[at:]...) // what follows waits, for the order's sake
				break
			}
		}
		for range handed {
			f := <-settled
			if f.err != nil && !o.final(records[f.i], f.err) {
				again = append(again, f.i)
			}
		}
		if len(again) == 0 {
			return true
		}
		left = inOrder(again)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// final puts a record aside that Kafka will never take, so that it doesn't hold up the others:
// it was answered 200, so it is kept for people, as a file, and counted.
func (o *overflow) final(r spool.Record, err error) bool {
	if !errors.Is(err, stream.ErrTooLarge) && !errors.Is(err, stream.ErrRefused) && !errors.Is(err, errBadMessage) {
		return false
	}
	name := filepath.Join(o.dir, "refused-"+strconv.FormatInt(r.Time.UnixNano(), 36)+"-"+strconv.FormatInt(o.aside.Add(1), 36))
	if writeErr := spool.WriteFile(name, r.Data); writeErr != nil {
		o.log.Error("a spooled callback that Kafka refuses can't be put aside", "error", writeErr, "refusal", err)
		return false
	}
	o.log.Error("a spooled callback was put aside: Kafka refuses it", "file", name, "error", err)
	return true
}

func inOrder(indices []int) []int {
	seen := make(map[int]bool, len(indices))
	top := 0
	for _, i := range indices {
		seen[i] = true
		top = max(top, i)
	}
	sorted := make([]int, 0, len(indices))
	for i := range top + 1 {
		if seen[i] {
			sorted = append(sorted, i)
		}
	}
	return sorted
}

// close writes what waits to the disk.
func (o *overflow) close() {
	if s := o.open.Load(); s != nil {
		if err := s.Close(); err != nil {
			o.log.Warn("the spool was not closed well", "error", err)
		}
	}
}

// report registers the spool's metrics.
func (o *overflow) report(meter metric.Meter) error {
	state := func(of func(spool.State) int64) metric.Int64Callback {
		return observe(func() int64 {
			if s := o.open.Load(); s != nil {
				return of(s.State())
			}
			return 0
		})
	}
	for _, g := range []struct {
		name, unit, help string
		value            metric.Int64Callback
	}{
		{"heed_ingest_spool_records", "", "Callbacks that wait in the spool.", state(func(st spool.State) int64 { return st.Records })},
		{"heed_ingest_spool_bytes", "By", "Bytes of the spool on the disk.", state(func(st spool.State) int64 { return st.Bytes })},
		{"heed_ingest_spool_age", "s", "Age of the oldest callback that waits in the spool.", state(func(st spool.State) int64 {
			if st.Records == 0 || st.Oldest.IsZero() {
				return 0
			}
			return int64(time.Since(st.Oldest).Seconds())
		})},
		{"heed_ingest_spool_failing", "", "1 while the spool is full or its disk fails.", observe(func() int64 {
			if o.dir != "" && o.failure() != nil {
				return 1
			}
			return 0
		})},
	} {
		if _, err := meter.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.help), metric.WithInt64Callback(g.value)); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"heed_ingest_spool_drained", "Callbacks that went from the spool to Kafka.", &o.drained},
		{"heed_ingest_spool_refused", "Spooled callbacks that Kafka refuses, put aside as files.", &o.aside},
	} {
		if _, err := meter.Int64ObservableCounter(c.name, metric.WithDescription(c.help), metric.WithInt64Callback(observe(c.value.Load))); err != nil {
			return err
		}
	}
	return nil
}

// A spooled message is a version byte, then topic, key, value and headers, each a length as
// uvarint and its bytes; the headers stand behind their number.
const messageVersion = 1

var errBadMessage = errors.New("the spooled message can't be read")

func encodeMessage(m stream.Message) []byte {
	const number = binary.MaxVarintLen64
	size := 1 + 4*number + len(m.Topic) + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		size += 2*number + len(h.Key) + len(h.Value)
	}
	b := make([]byte, 0, size) // in one piece: a large callback grown into its place would be there several times
	put := func(data []byte) {
		b = binary.AppendUvarint(b, uint64(len(data)))
		b = append(b, data...)
	}
	b = append(b, messageVersion)
	put([]byte(m.Topic))
	put(m.Key)
	put(m.Value)
	b = binary.AppendUvarint(b, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		put([]byte(h.Key))
		put(h.Value)
	}
	return b
}

// decodeMessage reads a message; it points into b.
func decodeMessage(b []byte) (stream.Message, error) {
	if len(b) == 0 || b[0] != messageVersion {
		return stream.Message{}, errBadMessage
	}
	b = b[1:]
	bad := false
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			bad = true
			return 0
		}
		b = b[size:]
		return n
	}
	take := func() []byte {
		n := number()
		if bad {
			return nil
		}
		data := b[:n:n]
		b = b[n:]
		return data
	}
	m := stream.Message{Topic: string(take()), Key: take(), Value: take()}
	for n := number(); n > 0 && !bad; n-- {
		m.Headers = append(m.Headers, stream.Header{Key: string(take()), Value: take()})
	}
	if bad || len(b) > 0 {
		return stream.Message{}, errBadMessage
	}
	return m, nil
}
