package normalizer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/providers/kaleyra"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

// A batch with one bad item: the others become events, in order, and the bad one a dead letter
// with the callback as it came.
func TestOneBadItemDoesNotSinkTheOthers(t *testing.T) {
	r := newRig(t)
	rec := callback(7, "toy", `{"items":[{"id":"a","user":"+911"},{"user":"+912"},{"id":"c","user":"+913"},{}]}`)
	in, err := r.run(t, []stream.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "c"}, r.out.ids()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	event := r.out.on(schemas.TopicInbound)[0]
	if got, want := string(event.Key), r.pseudonyms.Of(schemas.UserPhone, "+911"); got != want || header(event, "ce_subject") != want || header(event, "ce_partitionkey") != want {
		t.Errorf("key %q, subject %q, want the pseudonym %q", got, header(event, "ce_subject"), want)
	}
	if header(event, "ce_causationid") != "req-7" {
		t.Errorf("causationid %q", header(event, "ce_causationid"))
	}

	dead := r.out.on(schemas.TopicCallbacksDead)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want one for the class", len(dead))
	}
	if !bytes.Equal(dead[0].Value, rec.Value) || !bytes.Equal(dead[0].Key, rec.Key) {
		t.Error("the dead letter's key or bytes are not the callback's")
	}
	if diff := cmp.Diff(rec.Headers, dead[0].Headers[:len(rec.Headers)]); diff != "" {
		t.Errorf("the dead letter's own headers (-want +got):\n%s", diff)
	}
	got := map[string]string{}
	for _, h := range dead[0].Headers[len(rec.Headers):] {
		got[h.Key] = string(h.Value)
	}
	if _, err := time.Parse(time.RFC3339Nano, got[schemas.HeaderDeadFirstFailedAt]); err != nil {
		t.Error(err)
	}
	delete(got, schemas.HeaderDeadFirstFailedAt)
	want := map[string]string{
		"dlq-stage": "normalizer", "dlq-error-class": "missing_field", "dlq-error-message": "no id", "dlq-index": "1,3",
		"dlq-topic": "heed.callbacks", "dlq-partition": "3", "dlq-offset": "7", "dlq-service-version": "v9",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the dead letter's headers (-want +got):\n%s", diff)
	}
	if !slices.Equal(in.doneSorted(), []int64{7}) {
		t.Errorf("done: %v", in.doneSorted())
	}
	if n := strings.Count(r.logs.String(), "dead-lettered"); n != 1 {
		t.Errorf("%d log lines: %s", n, r.logs)
	}
}

func TestWhatCannotBeUnderstoodIsDeadLettered(t *testing.T) {
	for name, c := range map[string]struct {
		rec   stream.Record
		class string
	}{
		"no adapter":       {callback(1, "nobody", `{}`), "unknown_provider"},
		"malformed":        {callback(1, "toy", `{`), "malformed"},
		"not a request":    {stream.Record{Topic: schemas.TopicCallbacks, Offset: 1, Value: []byte("x")}, "not_raw"},
		"tombstone":        {stream.Record{Topic: schemas.TopicCallbacks, Offset: 1}, "not_raw"},
		"adapter panics":   {callback(1, "toy", `{"panic":true}`), "panic"},
		"index over range": {callback(1, "toy", `{"index":5}`), "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			in, err := r.run(t, []stream.Record{c.rec, text(2, "next")})
			if err != nil {
				t.Fatal(err)
			}
			dead := r.out.on(schemas.TopicCallbacksDead)
			if len(dead) != 1 || header(dead[0], schemas.HeaderDeadClass) != c.class || header(dead[0], schemas.HeaderDeadIndex) != "" {
				t.Fatalf("dead letters: %v", dead)
			}
			if !slices.Equal(r.out.ids(), []string{"next"}) || !slices.Equal(in.doneSorted(), []int64{1, 2}) {
				t.Errorf("the next callback: events %v, done %v", r.out.ids(), in.doneSorted())
			}
			for _, personal := range []string{"secret", "99999"} {
				if strings.Contains(header(dead[0], schemas.HeaderDeadMessage)+r.logs.String(), personal) {
					t.Errorf("%q is told: %s %s", personal, header(dead[0], schemas.HeaderDeadMessage), r.logs)
				}
			}
		})
	}
}

func TestIgnoredCallbackIsDone(t *testing.T) {
	r := newRig(t)
	in, err := r.run(t, []stream.Record{callback(1, "toy", `{"ignore":"a ping"}`)})
	if err != nil || len(r.out.messages) != 0 || !slices.Equal(in.doneSorted(), []int64{1}) {
		t.Errorf("error %v, messages %v, done %v", err, r.out.messages, in.doneSorted())
	}
}

// A dead letter that fails again keeps the first failure's time and has each header once.
func TestDeadLetterThatFailsAgain(t *testing.T) {
	r := newRig(t)
	first := "2026-01-01T00:00:00Z"
	rec := callback(1, "toy", `{`, stream.Header{Key: schemas.HeaderDeadFirstFailedAt, Value: []byte(first)}, stream.Header{Key: schemas.HeaderDeadClass, Value: []byte("old")})
	if _, err := r.run(t, []stream.Record{rec}); err != nil {
		t.Fatal(err)
	}
	dead := r.out.on(schemas.TopicCallbacksDead)[0]
	if header(dead, schemas.HeaderDeadFirstFailedAt) != first || header(dead, schemas.HeaderDeadClass) != "malformed" {
		t.Errorf("headers %s", dead.Headers)
	}
	seen := map[string]bool{}
	for _, h := range dead.Headers {
		if seen[h.Key] {
			t.Errorf("%s stands twice", h.Key)
		}
		seen[h.Key] = true
	}
}

func TestDeadLetterTooLargeForItsTopicIsShortened(t *testing.T) {
	r := newRig(t)
	r.now = func() time.Time { return start }
	rec := callback(1, "toy", `{`)
	letter := deadLetters(&rec, r.understandFailures(rec), "v9", start)[0]
	r.out.limit = sizeOf(letter.short())
	in, err := r.run(t, []stream.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	dead := r.out.on(schemas.TopicCallbacksDead)
	if len(dead) != 1 || header(dead[0], schemas.HeaderDeadClass) != "malformed" || header(dead[0], schemas.HeaderDeadMessage) != "" || !slices.Equal(in.doneSorted(), []int64{1}) {
		t.Errorf("dead letters %v, done %v", dead, in.doneSorted())
	}
}

func TestReplayGivesTheSameIDs(t *testing.T) {
	batch := []stream.Record{text(1, "a"), callback(2, "toy", `{"items":[{"id":"b"},{"id":"c","user":"+911"}]}`)}
	ids := func() []string {
		r := newRig(t)
		if _, err := r.run(t, batch); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range r.out.on(schemas.TopicInbound) {
			ids = append(ids, header(m, "ce_source")+" "+header(m, "ce_id"))
		}
		return ids
	}
	first := ids()
	if len(first) != 3 {
		t.Fatalf("ids %v", first)
	}
	if diff := cmp.Diff(first, ids()); diff != "" {
		t.Errorf("ids of the second run (-first +second):\n%s", diff)
	}
}

// A record is done when all its events are acknowledged, in whatever order that happens.
func TestDoneOnlyWhenAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{callback(1, "toy", `{"items":[{"id":"a"},{"id":"b"}]}`), text(2, "c")})
		close(in.batches)
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		for _, step := range []struct {
			release int
			done    []int64
		}{{1, nil}, {2, []int64{2}}, {0, []int64{1, 2}}} {
			synctest.Wait()
			r.out.release(nil, step.release)
			synctest.Wait()
			if !slices.Equal(in.doneSorted(), step.done) {
				t.Errorf("after acknowledgement %d done: %v, want %v", step.release, in.doneSorted(), step.done)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// An append that fails ends the worker: the partition is read again from its commit. Nothing is
// dead-lettered and nothing after it is lost.
func TestFailedAppendIsNoDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a"), text(2, "b")})
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		r.out.release(stream.ErrUnknown, 0)
		r.out.release(nil, 1)
		if err := <-ended; !errors.Is(err, stream.ErrUnknown) {
			t.Errorf("the worker ended with %v", err)
		}
		if !slices.Equal(in.doneSorted(), []int64{2}) || len(r.out.on(schemas.TopicCallbacksDead)) != 0 {
			t.Errorf("done %v, dead %v", in.doneSorted(), r.out.on(schemas.TopicCallbacksDead))
		}
		if len(r.partitions()) != 0 {
			t.Error("the partition is still counted as owned")
		}
	})
}

func TestFullWriterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.full = 5
		in, err := r.run(t, []stream.Record{text(1, "a"), text(2, "b"), text(3, "c")})
		if err != nil || !slices.Equal(r.out.ids(), []string{"a", "b", "c"}) || !slices.Equal(in.doneSorted(), []int64{1, 2, 3}) {
			t.Errorf("error %v, events %v, done %v", err, r.out.ids(), in.doneSorted())
		}
	})
}

func TestDrainEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a")})
		close(in.batches)
		ctx, cancel := contextWithCause(t)
		ended := make(chan error, 1)
		go func() { ended <- r.work(ctx, schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		cancel(io.ErrUnexpectedEOF)
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the worker ended with %v", err)
		}
		if len(in.doneSorted()) != 0 {
			t.Errorf("done %v without an acknowledgement", in.doneSorted())
		}
	})
}

// What a provider sends again is dropped once the first is acknowledged; before that it passes,
// since the first may still be lost.
func TestWindowDropsOnlyWhatIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a"), text(2, "a")})
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		if got := r.out.ids(); !slices.Equal(got, []string{"a", "a"}) {
			t.Fatalf("events before any acknowledgement: %v", got)
		}
		r.out.release(nil, 0, 1)

		again := text(5, "a")
		again.Headers = append(again.Headers, stream.Header{Key: schemas.HeaderReplayedFrom, Value: []byte("heed.callbacks/3@1")})
		other := callback(4, "toy", `{"items":[{"id":"a","user":"+911","text":"hi"}]}`)
		in.batches <- []stream.Record{text(3, "a"), other, again}
		synctest.Wait()
		if got := r.out.ids(); !slices.Equal(got, []string{"a", "a", "a", "a"}) {
			t.Errorf("events: %v, want two more: another user's with the same id, and the replayed one", got)
		}
		r.out.release(nil, 2, 3)
		close(in.batches)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if !slices.Equal(in.doneSorted(), []int64{1, 2, 3, 4, 5}) {
			t.Errorf("done %v", in.doneSorted())
		}
	})
}

func TestWindowForgetsTheOldest(t *testing.T) {
	w := newWindow(row) // one row
	keys := make([]seenKey, 6)
	for i := range keys {
		keys[i] = w.key(&stream.Event{ID: string(rune('a' + i))})
		w.add(keys[i])
		w.add(keys[i])
	}
	for i, k := range keys {
		if w.has(k) != (i >= 2) {
			t.Errorf("event %d: known %v", i, w.has(k))
		}
	}
	if none := newWindow(0); none.has(keys[0]) {
		t.Error("a window of 0 knows something")
	} else if none.add(keys[0]); none.has(keys[0]) {
		t.Error("a window of 0 remembers")
	}
}

// The records of a batch are views on a buffer that the next fetch is read into, and callbacks are
// read in the memory of the one before: nothing of either may stand in a message that is on its way.
func TestMessagesAreTheirOwn(t *testing.T) {
	r := newRig(t)
	out := &keeping{}
	r.adapters["kaleyra"], r.fast, r.windowSize = kaleyra.New(), out, 0
	p := newPartition(r.normalizer, schemas.TopicCallbacks, 0, idle{}, func(err error) { t.Error(err) })
	var wants []stream.Message
	pass := func(bodies ...string) {
		for _, body := range bodies {
			records := benchRecords(body)[:3]
			for i := range records {
				raw, env, err := new(translate.Reader).Read(&records[i])
				if err != nil {
					t.Fatal(err)
				}
				env.Recorded, env.Pseudonyms = start, r.pseudonyms
				outs, failures := translate.Events(raw, kaleyra.New().Adapt(raw), env)
				if len(outs) != 1 || len(failures) > 0 {
					t.Fatal(outs, failures)
				}
				m := outs[0].Event.Message(outs[0].Topic, outs[0].Key)
				wants = append(wants, m)
			}
			if err := p.batch(t.Context(), records); err != nil {
				t.Fatal(err)
			}
			for i := range records {
				for _, b := range [][]byte{records[i].Key, records[i].Value} {
					clear(b)
				}
				for _, h := range records[i].Headers {
					clear(h.Value)
				}
			}
		}
	}
	look := func() {
		t.Helper()
		if len(out.messages) != len(wants) {
			t.Fatalf("%d messages, want %d", len(out.messages), len(wants))
		}
		for i := range wants {
			got := out.messages[i].Plain()
			if string(got.Key) != string(wants[i].Key) || string(got.Value) != string(wants[i].Value) || header(got, "ce_id") != header(wants[i], "ce_id") || header(got, "ce_correlationid") != header(wants[i], "ce_correlationid") {
				t.Errorf("message %d changed:\n%s\nwas\n%s", i, got.Value, wants[i].Value)
			}
		}
	}
	r.now = func() time.Time { return start }
	pass(benchCallbacks[0].body, benchCallbacks[1].body)
	look()
	out.acknowledge() // now their memory may be used
	wants = nil
	pass(benchCallbacks[1].body, strings.Replace(benchCallbacks[0].body, "in the harbour", "in the harbour "+strings.Repeat("and elsewhere ", 500), 1), benchCallbacks[0].body)
	look()
	out.acknowledge()
}

// A mark goes to every partition of heed.inbound, but not before everything in front of it is
// acknowledged; callbacks behind it do not hold it back.
func TestMarkWaitsForWhatStandsBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a"), text(2, "b"), timeMark(3, "ingest-1", 1), text(4, "c")})
		close(in.batches)
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		r.out.release(nil, 1, 2) // b and c
		synctest.Wait()
		if got := marksOn(r.out); len(got) != 0 {
			t.Fatalf("the mark went ahead of a callback before it: %v", got)
		}
		r.out.release(nil, 0) // a
		synctest.Wait()
		want := []string{"mark-3@1", "mark-3@2", "mark-3@3", "mark-3@4"}
		if diff := cmp.Diff(want, marksOn(r.out)); diff != "" {
			t.Fatalf("marks (-want +got):\n%s", diff)
		}
		if got := in.doneSorted(); !slices.Equal(got, []int64{1, 2, 4}) {
			t.Errorf("done %v, want the mark open until it stands everywhere", got)
		}
		r.out.release(nil, 3, 4, 5, 6)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := in.doneSorted(); !slices.Equal(got, []int64{1, 2, 3, 4}) {
			t.Errorf("done %v", got)
		}
	})
}

// Marks that come ready together are forwarded as one per replica, the newest.
func TestMarksThatPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a"), timeMark(2, "x", 1), timeMark(3, "y", 1), timeMark(4, "x", 2), text(5, "b"), timeMark(6, "x", 3), {Offset: 7, Headers: timeMark(7, "x", 4).Headers, Value: []byte("?")}})
		close(in.batches)
		ended := make(chan error, 1)
		go func() { ended <- r.work(t.Context(), schemas.TopicCallbacks, 3, in) }()
		synctest.Wait()
		r.out.release(nil, 0)
		synctest.Wait()
		want := []string{"mark-3@1", "mark-3@2", "mark-3@3", "mark-3@4", "mark-4@1", "mark-4@2", "mark-4@3", "mark-4@4"}
		if diff := cmp.Diff(want, marksOn(r.out)); diff != "" {
			t.Fatalf("marks (-want +got):\n%s", diff)
		}
		r.out.release(nil, 1)
		synctest.Wait()
		if got := marksOn(r.out)[8:]; !slices.Equal(got, []string{"mark-6@1", "mark-6@2", "mark-6@3", "mark-6@4"}) {
			t.Errorf("then %v", got)
		}
		for i := 2; i < 14; i++ {
			r.out.release(nil, i)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := in.doneSorted(); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("done %v", got)
		}
	})
}

func TestStallIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.out.hold = true
		in := newFeed([]stream.Record{text(1, "a")})
		close(in.batches)
		ctx, cancel := contextWithCause(t)
		watching := make(chan error, 1)
		go func() { watching <- r.watch(ctx) }()
		ended := make(chan error, 1)
		go func() { ended <- r.work(ctx, schemas.TopicCallbacks, 3, in) }()
		<-time.After(10 * stallAfter)
		r.out.release(nil, 0)
		<-time.After(stallAfter)
		cancel(nil)
		if err := errors.Join(<-ended, <-watching); err != nil {
			t.Error(err)
		}
		if logs := r.logs.String(); strings.Count(logs, "stalled") != 1 || strings.Count(logs, "flowing again") != 1 {
			t.Errorf("logs: %s", logs)
		}
	})
}

// Marks go on by what was known when Kafka cannot say how many partitions there are.
func TestMarksWhileKafkaIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		failures := 3
		r.inbound = func(context.Context) (int32, error) {
			if failures--; failures >= 0 {
				return 0, io.ErrUnexpectedEOF
			}
			return 2, nil
		}
		if _, err := r.run(t, []stream.Record{timeMark(1, "x", 1)}); err != nil {
			t.Fatal(err)
		}
		failures = 1
		in, err := r.run(t, []stream.Record{timeMark(2, "x", 2)})
		if err != nil || !slices.Equal(in.doneSorted(), []int64{2}) {
			t.Errorf("error %v, done %v", err, in.doneSorted())
		}
		if diff := cmp.Diff([]string{"mark-1@1", "mark-1@2", "mark-2@1", "mark-2@2"}, marksOn(r.out)); diff != "" {
			t.Errorf("marks (-want +got):\n%s", diff)
		}
	})
}
