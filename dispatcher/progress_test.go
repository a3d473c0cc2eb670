package dispatcher

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/heedhq/heed/internal/stream"
)

// A lane that shows a random part of a log, finishes it in any order and crashes at any moment
// delivers every wanted record, and repeats at most those that were not finished by the last
// commit.
func TestProgressSurvivesCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const end = 400
		wanted := rapid.SliceOfNDistinct(rapid.Int64Range(0, end-1), 0, 120, rapid.ID[int64]).Draw(t, "wanted")
		finished := map[int64]int{}
		saved := stream.Commit{}
		for crashes := rapid.IntRange(0, 4).Draw(t, "crashes"); ; crashes-- {
			p, err := decodeProgress(saved)
			if err != nil {
				t.Fatal(err)
			}
			sinceCommit := map[int64]bool{} // finished since the last commit
			var loaded []int64
			steps := rapid.IntRange(0, 300).Draw(t, "steps")
			read := saved.Offset
			for range steps {
				switch rapid.IntRange(0, 5).Draw(t, "do") {
				case 0, 1, 2: // look at the next record
					if read >= end {
						continue
					}
					if _, ok := p.wants(read); ok && slices.Contains(wanted, read) {
						p.take(read, time.Time{})
						loaded = append(loaded, read)
					}
					read++
					p.pass(read)
				case 3: // finish any one
					if len(loaded) == 0 {
						continue
					}
					i := rapid.IntRange(0, len(loaded)-1).Draw(t, "which")
					offset := loaded[i]
					loaded = slices.Delete(loaded, i, i+1)
					if finished[offset] > 0 && !sinceCommit[offset] {
						// Finished in an earlier run: allowed only when that was after its last commit.
						finished[offset]++
					} else {
						finished[offset] = max(1, finished[offset])
					}
					sinceCommit[offset] = true
					p.finish(offset)
				case 4:
					saved = p.commit()
					sinceCommit = map[int64]bool{}
					again, err := decodeProgress(saved)
					if err != nil || again.openCount() != p.openCount() || again.watermark() != p.watermark() || again.next != p.next {
						t.Fatalf("%+v came back as %+v (%v)", p, again, err)
					}
				}
			}
			if crashes > 0 {
				continue
			}
			for ; read < end; read++ { // the last run goes to the end
				if _, ok := p.wants(read); ok && slices.Contains(wanted, read) {
					p.take(read, time.Time{})
					loaded = append(loaded, read)
				}
				p.pass(read + 1)
			}
			for _, offset := range loaded {
				finished[offset]++
				p.finish(offset)
			}
			if p.watermark() != end || p.openCount() != 0 {
				t.Fatalf("the watermark is %d with %d open", p.watermark(), p.openCount())
			}
			for _, offset := range wanted {
				if finished[offset] == 0 {
					t.Fatalf("record %d was lost", offset)
				}
			}
			return
		}
	})
}

// What a commit says is done is never done again, nor looked for.
func TestProgressRemembersWhatIsDoneBeyond(t *testing.T) {
	var p progress
	p.next = 100
	p.started = time.UnixMilli(12345)
	for o := int64(100); o < 120; o++ {
		p.take(o, time.Time{})
	}
	for _, o := range []int64{101, 102, 105, 119} {
		p.finish(o)
	}
	p.count(100, 3)
	p.count(104, 1)
	again, err := decodeProgress(p.commit())
	if err != nil {
		t.Fatal(err)
	}
	if again.watermark() != 100 || again.next != 120 || !again.started.Equal(p.started) {
		t.Errorf("came back as %+v", again)
	}
	for o := int64(100); o < 125; o++ {
		attempts, ok := again.wants(o)
		if done := slices.Contains([]int64{101, 102, 105, 119}, o); ok == done {
			t.Errorf("wants(%d) = %v", o, ok)
		}
		if want := map[int64]int{100: 3, 104: 1}[o]; attempts != want {
			t.Errorf("record %d has had %d attempts, want %d", o, attempts, want)
		}
	}
}

// However scattered the open records are, the metadata fit; what is left out is only looked at again.
func TestProgressFitsIntoMetadata(t *testing.T) {
	var p progress
	p.started = time.Now()
	r := rand.New(rand.NewPCG(1, 2))
	for range 8000 {
		p.next += 1 + r.Int64N(5000)
		p.take(p.next, time.Time{})
		p.count(p.next-1, r.IntN(9))
	}
	c := p.commit()
	if len(c.Metadata) > maxMetadata || len(c.Metadata) < maxMetadata*8/10 {
		t.Errorf("%d bytes of metadata", len(c.Metadata))
	}
	again, err := decodeProgress(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range p.open {
		if _, ok := again.wants(open.offset); !ok {
			t.Fatalf("record %d would be lost", open.offset)
		}
	}
}

func TestDecodeProgressDamaged(t *testing.T) {
	for _, metadata := range []string{"", "x", "h1;;;", "h1;1;!!;", "h1;1;gA;", "h1;1;AQA;9:1", "h1;1;AQA;x", "h2;1;;", "h1;1;_____________w;"} {
		p, err := decodeProgress(stream.Commit{Offset: 7, Metadata: metadata})
		if (err == nil) != (metadata == "") || p.watermark() != 7 || p.next != 7 {
			t.Errorf("%q: %+v, %v", metadata, p, err)
		}
	}
}

func FuzzDecodeProgress(f *testing.F) {
	f.Add("h1;12345;AQEBAg;0:3,1:1,")
	f.Fuzz(func(t *testing.T, metadata string) {
		p, err := decodeProgress(stream.Commit{Offset: 7, Metadata: metadata})
		if err == nil && (p.watermark() < 7 || p.next < 7) {
			t.Errorf("%q: %+v", metadata, p)
		}
	})
}
