package spool

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func open(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// soon is later than any disk of a test takes.
func soon() time.Time { return time.Now().Add(time.Minute) }

func add(t testing.TB, s *Spool, words ...string) {
	t.Helper()
	for i, w := range words {
		if err := s.Append(time.Unix(1000+int64(i), 0), []byte(w), soon()); err != nil {
			t.Fatalf("%s: %v", w, err)
		}
	}
}

// drain takes everything off.
func drain(t testing.TB, s *Spool, limit int) []string {
	t.Helper()
	var all []string
	for {
		records, err := s.Next(limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			return all
		}
		for _, r := range records {
			all = append(all, string(r.Data))
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
	}
}

func numbers(from, to int) []string {
	var words []string
	for i := from; i < to; i++ {
		words = append(words, "record-"+strconv.Itoa(i))
	}
	return words
}

func TestOrder(t *testing.T) {
	for _, o := range []Options{{}, {Segment: 100}} {
		for _, limit := range []int{1, 64, 1 << 20} {
			dir := t.TempDir()
			s := open(t, dir, o)
			if s.Pending() {
				t.Error("an empty spool has something pending")
			}
			add(t, s, numbers(0, 50)...)
			if st := s.State(); !s.Pending() || st.Records != 50 || !st.Oldest.Equal(time.Unix(1000, 0)) {
				t.Errorf("state %+v", st)
			}
			got := drain(t, s, limit)
			add(t, s, numbers(50, 60)...)
			got = append(got, drain(t, s, limit)...)
			if diff := cmp.Diff(numbers(0, 60), got); diff != "" {
				t.Errorf("segment %d, limit %d:\n%s", o.Segment, limit, diff)
			}
			if st := s.State(); s.Pending() || st.Records != 0 || st.Bytes != 0 || !st.Oldest.IsZero() {
				t.Errorf("after draining: %+v", st)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix)); len(left) > 0 {
				t.Errorf("segments left: %v", left)
			}
		}
	}
}

func TestNextWithoutDone(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	add(t, s, "a", "b")
	for range 3 {
		records, err := s.Next(1 << 20)
		if err != nil || len(records) != 2 {
			t.Fatalf("%v, %v", records, err)
		}
	}
	if diff := cmp.Diff([]string{"a", "b"}, drain(t, s, 1<<20)); diff != "" {
		t.Error(diff)
	}
}

// TestAgainstModel: any sequence of appends, drains and restarts gives every record once and in
// order (a clean restart loses no Done).
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "model")
		if err != nil {
			rt.Fatal(err)
		}
		o := Options{Segment: int64(rapid.IntRange(50, 400).Draw(rt, "segment"))}
		s, err := Open(dir, o)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		var model []string
		next := 0
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				word := strings.Repeat("x", rapid.IntRange(0, 120).Draw(rt, "size")) + strconv.Itoa(next)
				next++
				if err := s.Append(time.Unix(int64(next), 0), []byte(word), soon()); err != nil {
					rt.Fatal(err)
				}
				model = append(model, word)
			case 2:
				records, err := s.Next(rapid.IntRange(1, 300).Draw(rt, "limit"))
				if err != nil {
					rt.Fatal(err)
				}
				if len(records) == 0 && len(model) > 0 {
					rt.Fatalf("nothing came, %d wait", len(model))
				}
				for i, r := range records {
					if string(r.Data) != model[i] {
						rt.Fatalf("record %d is %q, want %q", i, r.Data, model[i])
					}
				}
				if rapid.Bool().Draw(rt, "done") {
					if err := s.Done(); err != nil {
						rt.Fatal(err)
					}
					model = model[len(records):]
				}
			case 3:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = Open(dir, o); err != nil {
					rt.Fatal(err)
				}
			}
			if st := s.State(); st.Records != int64(len(model)) || s.Pending() != (len(model) > 0) {
				rt.Fatalf("state %+v, model %d", st, len(model))
			}
		}
	})
}

// TestConcurrent: many append while one drains.
func TestConcurrent(t *testing.T) {
	s := open(t, t.TempDir(), Options{Segment: 4 << 10})
	const people, each = 16, 200
	var wg sync.WaitGroup
	for p := range people {
		wg.Go(func() {
			for i := range each {
				if err := s.Append(time.Now(), fmt.Appendf(nil, "%d %d", p, i), soon()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last := map[int]int{}
	for got := 0; got < people*each; {
		<-s.More()
		for {
			records, err := s.Next(1 << 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) == 0 {
				break
			}
			for _, r := range records {
				var p, i int
				if _, err := fmt.Sscan(string(r.Data), &p, &i); err != nil {
					t.Fatal(err)
				}
				if i != last[p] {
					t.Fatalf("of %d came %d, want %d", p, i, last[p])
				}
				last[p]++
				got++
			}
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if st := s.State(); st.Records != 0 || s.Pending() {
		t.Errorf("%+v", st)
	}
}

// TestTorn: a file cut at any byte gives all records that are whole, and takes new ones.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	add(t, s, numbers(0, 3)...)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	one := len(whole) / 3
	for cut := range len(whole) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(names[0])), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, Options{})
		if torn := cut%one != 0; torn != (len(s.Damaged()) == 1) {
			t.Errorf("cut at %d: damaged %v", cut, s.Damaged())
		}
		add(t, s, "new")
		if diff := cmp.Diff(append(numbers(0, cut/one), "new"), drain(t, s, 1<<20)); diff != "" {
			t.Errorf("cut at %d:\n%s", cut, diff)
		}
		_ = s.Close()
	}
}

// TestDamage: a flipped bit costs what stands behind it in its segment, not the segments after it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Segment: 100})
	add(t, s, numbers(0, 9)...)
	_ = s.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if len(names) < 3 {
		t.Fatalf("%d segments", len(names))
	}
	data, _ := os.ReadFile(names[0])
	data[len(data)/2] ^= 1
	if err := os.WriteFile(names[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{Segment: 100})
	got := drain(t, s, 1<<20)
	if len(s.Damaged()) != 1 || got[len(got)-1] != "record-8" || len(got) < 6 {
		t.Errorf("damaged %v, got %v", s.Damaged(), got)
	}
	if torn, _ := filepath.Glob(filepath.Join(dir, "*.torn")); len(torn) != 1 {
		t.Errorf("kept beside: %v", torn)
	}
}

// TestDamageWhileOpen: what goes bad under a running program is put aside, and draining goes on.
func TestDamageWhileOpen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{Segment: 100})
	add(t, s, numbers(0, 9)...)
	names, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	data, _ := os.ReadFile(names[0])
	data[10] ^= 1
	if err := os.WriteFile(names[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(1 << 20); !errors.Is(err, errTorn) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Skip(); err != nil {
		t.Fatal(err)
	}
	if got := drain(t, s, 1<<20); len(got) == 0 || got[len(got)-1] != "record-8" {
		t.Errorf("got %v", got)
	}
}

func TestFull(t *testing.T) {
	s := open(t, t.TempDir(), Options{Max: 1000, Segment: 300})
	taken := 0
	for {
		err := s.Append(time.Unix(1, 0), make([]byte, 84), soon())
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
		taken++
	}
	if taken != 10 || !s.State().Full {
		t.Errorf("%d taken, state %+v", taken, s.State())
	}
	if got := len(drain(t, s, 1<<20)); got != 10 {
		t.Errorf("%d drained", got)
	}
	add(t, s, "again")
}

// TestSmall: a spool smaller than a usual segment is not full while it is empty.
func TestSmall(t *testing.T) {
	s := open(t, t.TempDir(), Options{Max: 4 << 20})
	if st := s.State(); st.Full {
		t.Errorf("empty, and %+v", st)
	}
	if err := s.Append(time.Now(), make([]byte, 7<<19), soon()); err != nil {
		t.Fatal(err)
	}
	if st := s.State(); !st.Full {
		t.Errorf("nearly full, and %+v", st)
	}
}

// badFile fails as told: a full disk, or one that is gone.
type badFile struct {
	file
	failWrite, failSync *error
}

func (b badFile) WriteAt(p []byte, at int64) (int, error) {
	if err := *b.failWrite; err != nil {
		n, _ := b.file.WriteAt(p[:len(p)/2], at) // half of it arrives
		return n, err
	}
	return b.file.WriteAt(p, at)
}

func (b badFile) Sync() error {
	if err := *b.failSync; err != nil {
		return err
	}
	return b.file.Sync()
}

func TestFailingDisk(t *testing.T) {
	var failWrite, failSync, failCreate error
	dir := t.TempDir()
	s := open(t, dir, Options{})
	s.create = func(dir string, number uint64) (*segment, error) {
		if failCreate != nil {
			return nil, failCreate
		}
		seg, err := createSegment(dir, number)
		if err == nil {
			seg.file = badFile{seg.file, &failWrite, &failSync}
		}
		return seg, err
	}
	add(t, s, "first")
	for _, fail := range []*error{&failWrite, &failSync, &failCreate} {
		*fail = syscall.ENOSPC
		err := s.Append(time.Now(), []byte("refused"), soon())
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got %v", err)
		}
		if st := s.State(); !errors.Is(st.Failure, syscall.ENOSPC) {
			t.Errorf("state %+v", st)
		}
		if err := s.Append(time.Now(), []byte("refused"), soon()); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("while it fails: %v", err)
		}
		*fail = nil
		s.Probe()
		if st := s.State(); st.Failure != nil {
			t.Errorf("after the disk works again: %+v", st)
		}
	}
	add(t, s, "last")
	if diff := cmp.Diff([]string{"first", "last"}, drain(t, s, 1<<20)); diff != "" {
		t.Error(diff)
	}
}

// slowFile syncs when it is told to.
type slowFile struct {
	file
	sync chan struct{}
}

func (f slowFile) Sync() error {
	<-f.sync
	return f.file.Sync()
}

// TestSlowDisk: who appends waits until its time is over and not longer; what it was not told
// to be kept may come out all the same, once.
func TestSlowDisk(t *testing.T) {
	sync := make(chan struct{})
	s := open(t, t.TempDir(), Options{})
	s.create = func(dir string, number uint64) (*segment, error) {
		seg, err := createSegment(dir, number)
		if err == nil {
			seg.file = slowFile{seg.file, sync}
		}
		return seg, err
	}
	for name, until := range map[string]time.Time{"waited": time.Now().Add(20 * time.Millisecond), "too late before": time.Now()} {
		if err := s.Append(time.Now(), []byte(name), until); !errors.Is(err, ErrSlow) {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(sync)
	add(t, s, "last")
	if diff := cmp.Diff([]string{"waited", "last"}, drain(t, s, 1<<20)); diff != "" {
		t.Error(diff)
	}
}

func TestOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second owner: %v", err)
	}
	_ = s.Close()
	if err := s.Append(time.Now(), nil, soon()); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed spool: %v", err)
	}
	_ = open(t, dir, Options{}).Close()
}

func TestNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "spool"), Options{}); err == nil {
		t.Error("a spool below a file was opened")
	}
}

// TestKill: a process that appends and drains is killed -9; every record whose append was
// acknowledged comes out, in order, and none that was drained long ago.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SPOOL_TEST_DIR"); dir != "" {
		appendForEver(dir)
	}
	dir := t.TempDir()
	acked, drained := -1, -1
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "SPOOL_TEST_DIR="+dir, "SPOOL_TEST_FROM="+strconv.Itoa(acked+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var i int
			switch line := lines.Text(); {
			case strings.HasPrefix(line, "acked "):
				_, err = fmt.Sscanf(line, "acked %d", &i)
				acked = i
			case strings.HasPrefix(line, "drained "):
				_, err = fmt.Sscanf(line, "drained %d", &i)
				drained = i
			}
			if err != nil {
				t.Fatal(err)
			}
			if n == 300+round*37 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		s := open(t, dir, Options{Segment: 2 << 10})
		records, err := s.Next(64 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(records) == 0 {
			t.Fatal("everything is gone")
		}
		first, err := strconv.Atoi(string(records[0].Data))
		if err != nil {
			t.Fatal(err)
		}
		if first > drained+1+8 {
			t.Fatalf("round %d: drained up to %d, but %d comes first", round, drained, first)
		}
		_ = s.Close()
	}
	s := open(t, dir, Options{})
	got := drain(t, s, 1<<20)
	want, err := strconv.Atoi(got[0])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, word := range got {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		seen[n] = true
	}
	for n := want; n <= acked; n++ {
		if !seen[n] {
			t.Errorf("%d was acknowledged and is lost", n)
		}
	}
}

// appendForEver is the process that is killed.
func appendForEver(dir string) {
	s, err := Open(dir, Options{Segment: 2 << 10})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	from, _ := strconv.Atoi(os.Getenv("SPOOL_TEST_FROM"))
	for i := from; ; i++ {
		if err := s.Append(time.Now(), []byte(strconv.Itoa(i)), soon()); err != nil {
			os.Exit(1)
		}
		fmt.Println("acked", i)
		if i%8 == 7 {
			if records, err := s.Next(40); err == nil && len(records) > 0 {
				last := string(bytes.Clone(records[len(records)-1].Data))
				if s.Done() == nil {
					fmt.Println("drained", last)
				}
			}
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	data := make([]byte, 1200)
	b.SetParallelism(128)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := s.Append(time.Time{}, data, soon()); err != nil {
				b.Error(err)
			}
		}
	})
}
