package consent

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/internal/redisconn"
	"github.com/heedhq/heed/schemas"
)

func openView(t *testing.T, buckets int) (*view, *miniredis.Miniredis) {
	t.Helper()
	m := miniredis.RunT(t)
	conn, err := redisconn.Open(redisconn.Config{URL: "redis://" + m.Addr()}, redisconn.Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return newView(conn, buckets, func(context.Context) (int32, error) { return 4, nil }), m
}

func drawFacts(t *rapid.T) []placed {
	scopes := []schemas.ConsentScope{{}, {Brand: "B"}, {Brand: "B", Agent: "A"}, {Brand: "B", Agent: "A2"}, {Channel: schemas.RCS}, {Brand: "B", Agent: "A", Category: "marketing"}}
	n := rapid.IntRange(0, 12).Draw(t, "facts")
	list := make([]placed, n)
	for i := range list {
		f := schemas.Fact{
			Person: rapid.SampledFrom([]string{"00000000000000000000000001", "00000000000000000000000002", "7zzzzzzzzzzzzzzzzzzzzzzzzw"}).Draw(t, "person"),
			Act:    rapid.SampledFrom([]schemas.Act{schemas.ActStop, schemas.ActStart}).Draw(t, "act"),
			At:     time.UnixMilli(1_700_000_000_000 + rapid.Int64Range(0, 3).Draw(t, "at")).UTC(),
			Scopes: rapid.SliceOfNDistinct(rapid.SampledFrom(scopes), 1, 3, func(s schemas.ConsentScope) schemas.ConsentScope { return s }).Draw(t, "scopes"),
		}
		_, _, body, err := messages(&f, 1)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = placed{offset: int64(i), fact: f, body: body}
	}
	return list
}

// The script and package state are the same fold, and the outbox holds exactly the registers
// that went another way, from the published offset on.
func TestScriptFoldsLikeState(t *testing.T) {
	ctx := t.Context()
	v, m := openView(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		m.FlushAll()
		list := drawFacts(t)
		published := rapid.Int64Range(0, int64(len(list))).Draw(t, "published")
		if _, fresh, err := v.adopt(ctx, 1, 0, int64(len(list)), published); err != nil || !fresh {
			t.Fatalf("adopt: fresh %v, %v", fresh, err)
		}
		cut := rapid.IntRange(0, len(list)).Draw(t, "cut")
		for _, part := range [][]placed{list[:cut], list[cut:]} {
			if len(part) == 0 {
				continue
			}
			from, to := part[0].offset, part[len(part)-1].offset+1
			if _, err := v.apply(ctx, 1, from, to, part, time.Time{}); err != nil && !errors.Is(err, errOtherRun) {
				t.Fatal(err)
			}
			if _, err := v.apply(ctx, 1, from, to, part, time.Time{}); !errors.Is(err, errElsewhere) {
				t.Fatalf("the same facts applied again: %v", err)
			}
		}
		if err := v.stamp(ctx, 1, int64(len(list))); err != nil {
			t.Fatal(err)
		}
		people := map[string]state.Person{}
		want := map[int64][]schemas.ScopeChange{}
		for _, p := range list {
			person := people[p.fact.Person]
			if person == nil {
				person = state.Person{}
				people[p.fact.Person] = person
			}
			for _, s := range p.fact.Scopes {
				before := person[state.KeyOf(s)].State()
				person.Apply(state.KeyOf(s), p.fact.Act, p.fact.At.UnixMilli())
				if after := person[state.KeyOf(s)].State(); before != after && p.offset >= published {
					want[p.offset] = append(want[p.offset], schemas.ScopeChange{Scope: s, From: before, To: after})
				}
			}
		}
		var names []string
		for name := range people {
			names = append(names, name)
		}
		slices.Sort(names)
		got, err := v.read(ctx, 1, names)
		if err != nil || got.why != "" {
			t.Fatalf("read: %q, %v", got.why, err)
		}
		if len(names) > 0 {
			if diff := cmp.Diff(people, got.people); diff != "" {
				t.Fatalf("the script's fold differs:\n%s", diff)
			}
		}
		outbox, err := v.outbox(ctx, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		flips := map[int64][]schemas.ScopeChange{}
		for _, p := range outbox {
			flips[p.offset] = p.flips
		}
		if diff := cmp.Diff(want, flips); diff != "" {
			t.Fatalf("the outbox differs:\n%s", diff)
		}
	})
}

// Every way in which the view can be less than whole denies.
func TestReadBelievesOnlyAWholeView(t *testing.T) {
	ctx := t.Context()
	v, m := openView(t, 8)
	why := func() schemas.CheckReason {
		t.Helper()
		s, err := v.read(ctx, 1, []string{"00000000000000000000000001"})
		if err != nil {
			t.Fatal(err)
		}
		return s.why
	}
	whole := func() {
		t.Helper()
		m.FlushAll()
		if _, _, err := v.adopt(ctx, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := v.stamp(ctx, 1, 0); err != nil {
			t.Fatal(err)
		}
		if got := why(); got != "" {
			t.Fatalf("a whole view: %s", got)
		}
	}
	if got := why(); got != schemas.ReasonRebuilding {
		t.Errorf("nothing there: %q", got)
	}
	for name, spoil := range map[string]func(){
		"flushed":                 func() { m.FlushAll() },
		"only at is gone":         func() { m.Del(atKey(1)) },
		"another process":         func() { m.HSet(atKey(1), "r", "other") },
		"not yet declared":        func() { m.HDel(atKey(1), "r") },
		"other partitions":        func() { m.HSet(atKey(1), "n", "5") },
		"other buckets":           func() { m.HSet(atKey(1), "b", "9") },
		"adopted anew, not whole": func() { m.FlushAll(); _, _, _ = v.adopt(ctx, 1, 0, 10, 0) },
	} {
		whole()
		spoil()
		if got := why(); got != schemas.ReasonRebuilding {
			t.Errorf("%s: %q", name, got)
		}
	}
	whole()
	if err := v.stamp(ctx, 1, 1); !errors.Is(err, errMissing) {
		t.Errorf("a view that is behind was declared whole: %v", err)
	}
	// A view that claims more facts than there are begins anew, and forgets everything.
	whole()
	m.HSet(atKey(1), "o", "100")
	m.HSet(bucketKey(1, 1), "x", "y")
	if from, fresh, err := v.adopt(ctx, 1, 3, 50, 50); err != nil || !fresh || from != 3 || m.Exists(bucketKey(1, 1)) {
		t.Errorf("a view from elsewhere: from %d, fresh %v, %v", from, fresh, err)
	}
}

// A script that the server has forgotten is loaded again inside the same call.
func TestScriptsAreLoadedAgain(t *testing.T) {
	v, _ := openView(t, 8)
	for range 2 {
		if _, _, err := v.adopt(t.Context(), 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := v.redis.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
