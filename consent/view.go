package consent

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/internal/redisconn"
	"github.com/heedhq/heed/schemas"
)

// The view: what Redis holds, one hash tag {p} per Kafka partition p. No other file of this
// package knows these keys.
//
//	heed:{p}:at          o offset of the next fact, m time mark in ms, r run id of the server
//	                     process on which it was declared whole, n partitions, b buckets,
//	                     p offset up to which changes are published
//	heed:{p}:b:<bucket>  person (16 bytes) → registers of 24 bytes (package state)
//	heed:{p}:out         offset → changes that are not yet published
//	heed:{p}:scopes      key of a scope → its name
//
// A bucket stays a listpack (28-60 bytes a person instead of over 100) while it has at most
// hash-max-listpack-entries fields (set 512; 128 by default) of hash-max-listpack-value bytes
// (set 512; 64 by default holds two registers).
type view struct {
	redis       *redisconn.Conn
	buckets     int
	applyScript *redis.Script
	adoptScript *redis.Script
	stampScript *redis.Script
	trimScript  *redis.Script
	partitions  func(context.Context) (int32, error)
}

//go:embed lua/*.lua
var luaFiles embed.FS

func newView(conn *redisconn.Conn, buckets int, partitions func(context.Context) (int32, error)) *view {
	script := func(name string) *redis.Script {
		text, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // embedded: a build without it can't run
		}
		return redis.NewScript(string(text))
	}
	return &view{
		redis: conn, buckets: buckets, partitions: partitions,
		applyScript: script("apply"), adoptScript: script("adopt"), stampScript: script("stamp"), trimScript: script("trim"),
	}
}

func atKey(p int32) string               { return fmt.Sprintf("heed:{%d}:at", p) }
func outKey(p int32) string              { return fmt.Sprintf("heed:{%d}:out", p) }
func scopesKey(p int32) string           { return fmt.Sprintf("heed:{%d}:scopes", p) }
func bucketPrefix(p int32) string        { return fmt.Sprintf("heed:{%d}:b:", p) }
func bucketKey(p int32, n uint32) string { return bucketPrefix(p) + strconv.FormatUint(uint64(n), 10) }

var pseudonymAlphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// place is where a person stands in a partition's view.
func (v *view) place(person string) (bucket uint32, field string) {
	raw, err := pseudonymAlphabet.DecodeString(person)
	if err != nil || len(raw) != 16 || pseudonymAlphabet.EncodeToString(raw) != person {
		sum := sha256.Sum256([]byte(person))
		raw = sum[:16]
	}
	return binary.BigEndian.Uint32(raw) % uint32(v.buckets), string(raw)
}

// placed is a fact with its offset; body is what stands on the topic.
type placed struct {
	offset int64
	fact   schemas.Fact
	body   []byte
}

// The ways in which the view may refuse an apply. Each is healed by adopt.
var (
	errMissing   = errors.New("the view has no position: it was flushed or is new")
	errLayout    = errors.New("the view was made for other numbers of partitions or buckets")
	errElsewhere = errors.New("the view stands at another offset")
	errOtherRun  = errors.New("the view was declared whole on another Redis process")
)

// applied is what an apply tells.
type applied struct {
	outbox int // changes that wait to be published
}

// apply merges facts into the view if it stands at from, and moves it to to. errOtherRun comes
// after the merge: the data are right, but nobody has yet declared them whole on this process.
func (v *view) apply(ctx context.Context, p int32, from, to int64, facts []placed, mark time.Time) (applied, error) {
	n, err := v.partitions(ctx)
	if err != nil {
		return applied{}, err
	}
	keys := []string{atKey(p), outKey(p), scopesKey(p)}
	ms := int64(0)
	if !mark.IsZero() {
		ms = mark.UnixMilli()
	}
	args := []any{from, to, ms, n, v.buckets}
	index := map[uint32]int{}
	for i := range facts {
		f := &facts[i]
		bucket, field := v.place(f.fact.Person)
		if index[bucket] == 0 {
			keys = append(keys, bucketKey(p, bucket))
			index[bucket] = len(keys)
		}
		args = append(args, f.offset, index[bucket], field, string(f.fact.Act), f.fact.At.UnixMilli(), len(f.fact.Scopes))
		for _, s := range f.fact.Scopes {
			k := state.KeyOf(s)
			args = append(args, string(k[:]))
		}
		for _, s := range f.fact.Scopes {
			name, err := json.Marshal(s)
			if err != nil {
				return applied{}, err
			}
			args = append(args, name)
		}
		args = append(args, f.body)
	}
	reply, run, err := v.eval(ctx, p, v.applyScript, keys, args)
	if err != nil {
		return applied{}, err
	}
	words, _ := reply.([]any)
	if len(words) == 0 {
		return applied{}, errors.New("apply.lua: no answer")
	}
	switch words[0] {
	case "missing":
		return applied{}, errMissing
	case "layout":
		return applied{}, errLayout
	case "elsewhere":
		return applied{}, errElsewhere
	}
	length, _ := words[2].(int64)
	if words[1] != run {
		return applied{int(length)}, errOtherRun
	}
	return applied{int(length)}, nil
}

// adopt makes the partition's view fit to be caught up, and tells from which offset. fresh says
// that it begins anew.
func (v *view) adopt(ctx context.Context, p int32, first, end, published int64) (from int64, fresh bool, err error) {
	n, err := v.partitions(ctx)
	if err != nil {
		return 0, false, err
	}
	reply, _, err := v.eval(ctx, p, v.adoptScript, []string{atKey(p), outKey(p), scopesKey(p)}, []any{first, end, published, n, v.buckets, bucketPrefix(p)})
	if err != nil {
		return 0, false, err
	}
	words, _ := reply.([]any)
	if len(words) != 2 {
		return 0, false, errors.New("adopt.lua: no answer")
	}
	text, _ := words[1].(string)
	from, err = strconv.ParseInt(text, 10, 64)
	return from, words[0] == "fresh", err
}

// position is the offset at which the view stands; errMissing when there is none.
func (v *view) position(ctx context.Context, p int32) (int64, error) {
	node, err := v.redis.Node(ctx, atKey(p))
	if err != nil {
		return 0, err
	}
	o, err := node.HGet(ctx, atKey(p), "o").Int64()
	if errors.Is(err, redis.Nil) {
		return 0, errMissing
	}
	return o, err
}

// stamp declares the view whole on the process that answers, if it has been applied up to end.
func (v *view) stamp(ctx context.Context, p int32, end int64) error {
	for range 3 {
		node, err := v.redis.Node(ctx, atKey(p))
		if err != nil {
			return err
		}
		pipe := node.Pipeline()
		asked := redisconn.AskRunID(ctx, pipe)
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		run, err := redisconn.RunIDOf(asked)
		if err != nil {
			return err
		}
		reply, answered, err := v.eval(ctx, p, v.stampScript, []string{atKey(p)}, []any{run, end})
		if err != nil {
			return err
		}
		if reply != int64(1) {
			return errMissing
		}
		if answered == run {
			return nil
		}
	}
	return errOtherRun
}

// pending is a change that waits to be published.
type pending struct {
	offset int64
	fact   schemas.Fact
	flips  []schemas.ScopeChange
}

// outbox reads what is not yet published of a view that stands at offset at or after it. One that
// doesn't was flushed or put back since it was folded: its outbox, empty perhaps, says nothing.
func (v *view) outbox(ctx context.Context, p int32, at int64) ([]pending, error) {
	node, err := v.redis.Node(ctx, outKey(p))
	if err != nil {
		return nil, err
	}
	pipe := node.TxPipeline()
	stands, waiting := pipe.HGet(ctx, atKey(p), "o"), pipe.HGetAll(ctx, outKey(p))
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	switch o, err := stands.Int64(); {
	case errors.Is(err, redis.Nil):
		return nil, errMissing
	case err != nil:
		return nil, err
	case o < at:
		return nil, errElsewhere
	}
	all, err := waiting.Result()
	if err != nil {
		return nil, err
	}
	list := make([]pending, 0, len(all))
	for offset, text := range all {
		one := pending{}
		if one.offset, err = strconv.ParseInt(offset, 10, 64); err != nil {
			return nil, fmt.Errorf("the outbox of partition %d: %w", p, err)
		}
		flips, body, _ := strings.Cut(text, "|")
		if err := json.Unmarshal([]byte(body), &one.fact); err != nil {
			return nil, fmt.Errorf("the outbox of partition %d, offset %d: %w", p, one.offset, err)
		}
		for flip := range strings.SplitSeq(strings.TrimSuffix(flips, ","), ",") {
			n := len(flip) - 2
			if n < 1 {
				continue
			}
			i, err := strconv.Atoi(flip[:n])
			if err != nil || i < 1 || i > len(one.fact.Scopes) {
				return nil, fmt.Errorf("the outbox of partition %d, offset %d: flip %q", p, one.offset, flip)
			}
			one.flips = append(one.flips, schemas.ScopeChange{Scope: one.fact.Scopes[i-1], From: stateOf(flip[n]), To: stateOf(flip[n+1])})
		}
		list = append(list, one)
	}
	return list, nil
}

func stateOf(letter byte) schemas.ConsentState {
	switch letter {
	case 'd':
		return schemas.StateOptedOut
	case 'a':
		return schemas.StateOptedIn
	}
	return schemas.StateNone
}

// trim takes published changes out of the outbox. published is the offset before which all is
// published; -1 when the view has no position any more.
func (v *view) trim(ctx context.Context, p int32, offsets []int64) (published int64, err error) {
	args := make([]any, len(offsets))
	for i, o := range offsets {
		args[i] = o
	}
	reply, _, err := v.eval(ctx, p, v.trimScript, []string{atKey(p), outKey(p)}, args)
	if err != nil {
		return 0, err
	}
	published, ok := reply.(int64)
	if !ok {
		return 0, errors.New("trim.lua: no answer")
	}
	return published, nil
}

// eval runs a script on the node that holds partition p, together with the question which
// process it is. A script that the process does not know (it restarted) is loaded and run again:
// the library does that for single commands only, not inside pipelines.
func (v *view) eval(ctx context.Context, p int32, script *redis.Script, keys []string, args []any) (reply any, run string, err error) {
	for attempt := 0; ; attempt++ {
		node, err := v.redis.Node(ctx, keys[0])
		if err != nil {
			return nil, "", err
		}
		pipe := node.Pipeline()
		asked := redisconn.AskRunID(ctx, pipe)
		answer := pipe.EvalSha(ctx, script.Hash(), keys, args...)
		_, err = pipe.Exec(ctx)
		switch {
		case err == nil:
			run, err = redisconn.RunIDOf(asked)
			return answer.Val(), run, err
		case attempt >= 2:
			return nil, "", err
		case redis.HasErrorPrefix(err, "NOSCRIPT"):
			if err := script.Load(ctx, node).Err(); err != nil {
				return nil, "", err
			}
		case v.redis.Moved(ctx, err):
		default:
			return nil, "", err
		}
	}
}

// seen is what the view says of one partition and of the people asked for, read in one step.
type seen struct {
	why    schemas.CheckReason // not "": nothing of it may be believed
	asOf   time.Time
	people map[string]state.Person // by pseudonym
}

// read reads people of one partition, atomically with the proof that the view is whole.
func (v *view) read(ctx context.Context, p int32, people []string) (seen, error) {
	n, err := v.partitions(ctx)
	if err != nil {
		return seen{}, err
	}
	for attempt := 0; ; attempt++ {
		s, err := v.readOnce(ctx, p, n, people)
		if err == nil || attempt >= 2 || !v.redis.Moved(ctx, err) {
			return s, err
		}
	}
}

func (v *view) readOnce(ctx context.Context, p, n int32, people []string) (seen, error) {
	node, err := v.redis.Node(ctx, atKey(p))
	if err != nil {
		return seen{}, err
	}
	// MULTI: between a bucket and "at" nothing may happen, or a flush and a rebuild in the wrong
	// moment would make an empty bucket look like a whole view.
	pipe := node.TxPipeline()
	asked := redisconn.AskRunID(ctx, pipe)
	at := pipe.HMGet(ctx, atKey(p), "r", "m", "n", "b")
	values := make([]*redis.StringCmd, len(people))
	for i, person := range people {
		bucket, field := v.place(person)
		values[i] = pipe.HGet(ctx, bucketKey(p, bucket), field)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return seen{}, err
	}
	run, err := redisconn.RunIDOf(asked)
	if err != nil {
		return seen{}, err
	}
	fields := make([]string, 4)
	for i, value := range at.Val() {
		fields[i], _ = value.(string)
	}
	if fields[0] == "" || fields[0] != run || fields[2] != strconv.Itoa(int(n)) || fields[3] != strconv.Itoa(v.buckets) {
		return seen{why: schemas.ReasonRebuilding}, nil
	}
	s := seen{people: make(map[string]state.Person, len(people))}
	if ms, err := strconv.ParseInt(fields[1], 10, 64); err == nil && ms > 0 {
		s.asOf = time.UnixMilli(ms).UTC()
	}
	for i, person := range people {
		text, err := values[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return seen{}, err
		}
		if s.people[person], err = state.Decode([]byte(text)); err != nil {
			return seen{}, err
		}
	}
	return s, nil
}

// names reads the names of scopes.
func (v *view) names(ctx context.Context, p int32, keys []state.Key) ([]schemas.ConsentScope, error) {
	scopes := make([]schemas.ConsentScope, len(keys))
	if len(keys) == 0 {
		return scopes, nil
	}
	node, err := v.redis.Node(ctx, scopesKey(p))
	if err != nil {
		return nil, err
	}
	fields := make([]string, len(keys))
	for i, k := range keys {
		fields[i] = string(k[:])
	}
	values, err := node.HMGet(ctx, scopesKey(p), fields...).Result()
	if err != nil {
		return nil, err
	}
	for i, value := range values {
		if text, ok := value.(string); ok {
			if err := json.Unmarshal([]byte(text), &scopes[i]); err != nil {
				return nil, fmt.Errorf("the name of a scope: %w", err)
			}
		}
	}
	return scopes, nil
}
