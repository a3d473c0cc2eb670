// Package state is the arithmetic of consent: registers, their merge, the decision about a
// send, and the time at which an act takes effect. Consent's stage, its Lua script (which does
// the same merge inside Redis) and its tests use it.
//
// It refuses to know where facts come from or are kept.
//
// Invariant: Merge is commutative, associative and idempotent, and ties go to STOP, so any
// order, any duplicates and any replay of the same facts give the same state (design I3).
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// The levels of scopes, widest first: a larger one is narrower.
const (
	levelAll byte = iota
	levelBrand
	levelAgent
)

// KeySize is the length of a Key: level 1, who 6, channel 1, category 4. Six bytes of hash name
// a brand or agent: two of them in one person's state collide once in 10^14.
const KeySize = 12

// Key is a scope in the form in which it is compared and stored.
type Key [KeySize]byte

// KeyOf is the key of a scope. The agent alone identifies an agent's scope, whatever its brand.
func KeyOf(s schemas.ConsentScope) Key {
	var k Key
	switch {
	case s.Agent != "":
		k[0] = levelAgent
		copy(k[1:7], digest(Name(s.Agent)))
	case s.Brand != "":
		k[0] = levelBrand
		copy(k[1:7], digest(Name(s.Brand)))
	}
	k[7] = channelCode(s.Channel)
	if s.Category != "" {
		copy(k[8:], digest(strings.ToLower(s.Category)))
	}
	return k
}

// Name is how agents and brands are compared: without regard to case, outer blanks and the plus
// of a number, since providers write the same sender in several ways.
func Name(s string) string { return strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "+") }

// digest never gives a zero, which means "any".
func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	if binary.BigEndian.Uint32(sum[:4]) == 0 {
		sum[3] = 1
	}
	return sum[:]
}

// channelCode numbers the channels; new ones go to the end. An unknown channel is "any": an act
// that can't be narrowed stays wide.
func channelCode(c schemas.Channel) byte {
	return byte(slices.Index(schemas.Channels(), c) + 1)
}

// Register holds the latest stop and the latest start of a scope, in milliseconds since 1970;
// zero is never.
type Register struct{ Stop, Start int64 }

// Denied says whether the register alone stops a send. Ties go to STOP.
func (r Register) Denied() bool { return r.Stop > 0 && r.Start <= r.Stop }

// State names what the register says.
func (r Register) State() schemas.ConsentState {
	switch {
	case r.Denied():
		return schemas.StateOptedOut
	case r.Start > 0:
		return schemas.StateOptedIn
	}
	return schemas.StateNone
}

// Person is everything that is known of one person: a register per scope.
type Person map[Key]Register

// Apply merges one act into the person.
func (p Person) Apply(k Key, act schemas.Act, at int64) {
	r := p[k]
	if act == schemas.ActStop {
		r.Stop = max(r.Stop, at)
	} else {
		r.Start = max(r.Start, at)
	}
	p[k] = r
}

// Merge is the join of two states: per register the later stop and the later start.
func Merge(a, b Person) Person {
	out := maps.Clone(a)
	if out == nil {
		out = Person{}
	}
	for k, r := range b {
		o := out[k]
		out[k] = Register{Stop: max(o.Stop, r.Stop), Start: max(o.Start, r.Start)}
	}
	return out
}

// registerSize is a register as it is stored: key, stop and start in 6 bytes each (milliseconds
// fit until the year 10889).
const registerSize = KeySize + 6 + 6

// Decode reads a stored person; the script writes it.
func Decode(b []byte) (Person, error) {
	if len(b)%registerSize != 0 {
		return nil, errors.New("state: a stored person is cut off")
	}
	p := make(Person, len(b)/registerSize)
	for ; len(b) > 0; b = b[registerSize:] {
		p[Key(b[:KeySize])] = Register{Stop: uint48(b[KeySize:]), Start: uint48(b[KeySize+6:])}
	}
	return p, nil
}

// Encode is the stored form, registers in the order of their keys.
func (p Person) Encode() []byte {
	out := make([]byte, 0, len(p)*registerSize)
	for _, k := range slices.SortedFunc(maps.Keys(p), func(a, b Key) int { return bytes.Compare(a[:], b[:]) }) {
		out = append(out, k[:]...)
		for _, n := range []int64{p[k].Stop, p[k].Start} {
			out = append(out, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		}
	}
	return out
}

func uint48(b []byte) int64 {
	return int64(b[0])<<40 | int64(b[1])<<32 | int64(b[2])<<24 | int64(b[3])<<16 | int64(b[4])<<8 | int64(b[5])
}
