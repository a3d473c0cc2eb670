package adapter

import (
	"encoding/json"
	"slices"
	"strconv"
)

// What an envelope adds to each of its items is bounded: where it is longer than maxShared bytes, or
// takes a look at more than maxVisits values, only the first item carries it, so that time and
// output stay linear in the callback (1,024 items by 4 KiB are 4 MiB, at most).
const (
	maxShared = 4 << 10
	maxVisits = 4 << 10
)

// usualRest is more bytes than most items leave.
const usualRest = 160

// Rest is what nobody took, as provider_data: the callback's members in their order, with their
// digits and escapes as written, without the other items of a batch. An array around the item
// is left with the item alone. Of a name that stands more than once the last keeps it and the
// earlier ones become "name#1", "name#2". with are other items that belong to this one (the contact
// of a message) and are kept all the same. nil when nothing is left.
func (v *View) Rest(n Node, with ...Node) json.RawMessage {
	if n.v != v || v == nil {
		return nil
	}
	r := rest{View: v, visits: maxVisits, bytes: maxShared}
	heavy := false
	for _, w := range with {
		if w.v == v {
			r.with = append(r.with, w.i)
		}
	}
	var path []uint32 // from n up to the root's child; empty: n is the root
	for i := n.i; i != 0; i = v.nodes[i].parent {
		path = append(path, i)
		heavy = heavy || v.nodes[v.nodes[i].parent].flags&overfull != 0
	}
	from := uint32(0)
	if len(path) > 0 && v.nodes[0].kind == kindArray { // a list of callbacks: the item stands alone
		from, path = path[len(path)-1], path[:len(path)-1]
	}
	if len(path) == 0 || heavy { // nothing is around it, or nothing that it has to carry
		return r.whole(n.i, nil, usualRest)
	}
	b, left := r.appendRest(v.scratch[:0], from, path)
	v.scratch = b[:0]
	switch {
	case r.over && v.sharedGiven:
		return r.whole(n.i, nil, usualRest)
	case r.over:
		v.sharedGiven = true
		return r.whole(from, path, maxShared)
	case !left:
		return nil
	}
	return slices.Clone(b)
}

// whole is what is left of node i, however much it is.
func (v *rest) whole(i uint32, path []uint32, usual int) json.RawMessage {
	v.over, v.unbounded = false, true
	if v.nodes[i].flags&wide != 0 {
		usual = len(v.src) // not grown into, time and again
	}
	usual = min(len(v.src), usual)
	if cap(v.rests)-len(v.rests) < usual {
		v.rests = make([]byte, 0, usual) // those before keep theirs
	}
	from := len(v.rests)
	b, left := v.appendRest(v.rests[from:], i, path)
	if !left {
		return nil
	}
	if len(b) <= cap(v.rests)-from { // it fits: the next stands after it
		v.rests = v.rests[:from+len(b)]
	} else {
		v.rests = b
	}
	return b[:len(b):len(b)]
}

// rest writes what is left for one item.
type rest struct {
	*View
	with []uint32

	inside        bool   // within the item, whose own values cost nothing
	at            uint32 // the innermost container of the way to the item that was entered
	visits, bytes int    // what the envelope may still take
	over          bool   // it took more: what was written is worth nothing
	unbounded     bool
}

// visit counts a look at a value of the envelope, and what was written for it; false when it is
// more than an envelope may take.
func (v *rest) visit(written int) bool {
	if v.inside || v.unbounded {
		return true
	}
	v.visits--
	v.bytes -= written
	if !v.over && (v.visits < 0 || v.bytes < 0) {
		v.over = true
		v.nodes[v.at].flags |= overfull // so is what is around the other items in it
	}
	return !v.over
}

// another says that c is an item of its own, which is none of this one's business.
func (v *rest) another(c uint32) bool {
	return v.nodes[c].flags&item != 0 && !slices.Contains(v.with, c)
}

// appendRest appends what is left of node i; path leads, last first, from the item up to a child
// of i. It reports false, and appends nothing, when all of it was taken.
func (v *rest) appendRest(b []byte, i uint32, path []uint32) ([]byte, bool) {
	d := &v.nodes[i]
	switch {
	case d.flags&taken != 0 && len(path) == 0:
		return b, false
	case d.kind == kindObject:
		return v.appendMembers(b, i, path)
	case d.kind == kindArray:
		return v.appendElements(b, i, path)
	case !v.visit(int(d.textLen)):
		return b, false
	case d.flags&unquoted != 0:
		return appendQuoted(b, v.src[d.textAt:d.textAt+d.textLen]), true
	case d.kind == kindString:
		return append(b, v.src[d.textAt-1:d.textAt+d.textLen+1]...), true
	}
	return append(b, v.src[d.textAt:d.textAt+d.textLen]...), true
}

// appendWay is appendRest for c, which is on the way to the item, within the container at.
func (v *rest) appendWay(b []byte, c uint32, path []uint32, at uint32) ([]byte, bool) {
	v.inside = len(path) == 0
	b, left := v.appendRest(b, c, path)
	v.inside, v.at = false, at
	return b, left
}

func (v *rest) appendMembers(b []byte, i uint32, path []uint32) ([]byte, bool) {
	start := len(b)
	b = append(b, '{')
	doubles := v.doubles(i)
	if len(path) > 0 {
		v.at = i
	}
	left := v.nodes[i].next == i+1
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		if !v.visit(int(v.nodes[c].nameLen) + len(`"":,`)) {
			return b[:start], false
		}
		var down []uint32
		if len(path) > 0 && path[len(path)-1] == c {
			down = path[:len(path)-1]
		} else if v.another(c) || v.nodes[c].flags&taken != 0 {
			continue
		}
		mark := len(b)
		if left && b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendQuoted(b, v.name(c))
		if doubles != nil && doubles[c-i] > 0 {
			nth := doubles[c-i]
			b = append(strconv.AppendUint(append(b[:len(b)-1], '#'), uint64(nth), 10), '"')
		}
		b = append(b, ':')
		var kept bool
		if down != nil {
			b, kept = v.appendWay(b, c, down, i)
		} else {
			b, kept = v.appendRest(b, c, nil)
		}
		if !kept {
			b = b[:mark]
			continue
		}
		left = true
	}
	if !left {
		return b[:start], false
	}
	return append(b, '}'), true
}

func (v *rest) appendElements(b []byte, i uint32, path []uint32) ([]byte, bool) {
	start := len(b)
	b = append(b, '[')
	left := v.nodes[i].next == i+1
	if len(path) > 0 { // the way to the item: never a look at its siblings
		if b, left = v.appendWay(b, path[len(path)-1], path[:len(path)-1], i); !left {
			return b[:start], false
		}
		return append(b, ']'), true
	}
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		if !v.visit(0) {
			return b[:start], false
		}
		if v.another(c) {
			continue
		}
		mark := len(b)
		if left && b[len(b)-1] != '[' {
			b = append(b, ',')
		}
		var kept bool
		if b, kept = v.appendRest(b, c, nil); !kept {
			b = b[:mark]
			continue
		}
		left = true
	}
	if !left {
		return b[:start], false
	}
	return append(b, ']'), true
}

// few members are compared with each other instead of in a map.
const few = 16

// doubles numbers the earlier ones of members that stand more than once, by their distance from
// the object: 1 is the first "name#1", 0 no double; nil when there is none.
// It is worked out once for every object, for an envelope is asked for with each of its items.
func (v *View) doubles(i uint32) []uint32 {
	members := 0
	for c, end := i+1, v.nodes[i].next; c < end && members <= few; c = v.nodes[c].next {
		members++
	}
	if members < 2 || members <= few && (v.nodes[i].names() == members || !v.hasDoubles(i)) { // by far the most: no map
		return nil
	}
	if known, ok := v.numbered[i]; ok {
		return known
	}
	if v.numbered == nil {
		v.numbered = map[uint32][]uint32{}
	}
	v.numbered[i] = v.numberDoubles(i)
	return v.numbered[i]
}

func (v *View) numberDoubles(i uint32) []uint32 {
	last := v.byName(i)
	members := 0
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		members++
	}
	if len(last) == members {
		return nil
	}
	numbers := make([]uint32, v.nodes[i].next-i)
	count := map[string]*uint32{}
	var other []byte
	before, nth := "", (*uint32)(nil) // of the name before: most often the same again
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		name := v.name(c)
		if nth == nil || name != before {
			if before, nth = name, count[name]; nth == nil {
				nth = new(uint32)
				count[name] = nth
			}
		}
		if last[name] == c {
			continue
		}
		for used := true; used; { // the body may hold a "name#1" of its own
			*nth++
			other = strconv.AppendUint(append(append(other[:0], name...), '#'), uint64(*nth), 10)
			_, used = last[string(other)]
		}
		numbers[c-i] = *nth
	}
	return numbers
}

func (v *View) hasDoubles(i uint32) bool {
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		for o := v.nodes[c].next; o < end; o = v.nodes[o].next {
			if v.nodes[c].nameLen == v.nodes[o].nameLen && v.name(c) == v.name(o) {
				return true
			}
		}
	}
	return false
}

// Raw is the whole value as JSON, whatever was taken of it.
func (n Node) Raw() json.RawMessage {
	if !n.Present() {
		return nil
	}
	var b []byte
	if n.node().flags&wide != 0 {
		b = make([]byte, 0, len(n.v.src))
	}
	return n.v.appendRaw(b, n.i)
}

func (v *View) appendRaw(b []byte, i uint32) []byte {
	d := &v.nodes[i]
	switch d.kind {
	case kindObject:
		b = append(b, '{')
		for c := i + 1; c < d.next; c = v.nodes[c].next {
			if c > i+1 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, v.name(c)), ':')
			b = v.appendRaw(b, c)
		}
		return append(b, '}')
	case kindArray:
		b = append(b, '[')
		for c := i + 1; c < d.next; c = v.nodes[c].next {
			if c > i+1 {
				b = append(b, ',')
			}
			b = v.appendRaw(b, c)
		}
		return append(b, ']')
	case kindString:
		return appendQuoted(b, Node{v, i}.Verbatim())
	}
	return append(b, v.src[d.textAt:d.textAt+d.textLen]...)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string; s is valid UTF-8.
func appendQuoted[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}
