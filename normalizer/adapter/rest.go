package adapter

import (
	"encoding/json"
	"slices"
	"strconv"
)

// maxShared bounds what an envelope adds to each of its items: beyond it only the first item
// carries the envelope's members, so that output stays linear in the callback.
const maxShared = 4 << 10

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
	r := rest{View: v}
	for _, w := range with {
		if w.v == v {
			r.with = append(r.with, w.i)
		}
	}
	var path []uint32 // from n up to the root's child; empty: n is the root
	for i := n.i; i != 0; i = v.nodes[i].parent {
		path = append(path, i)
	}
	from := uint32(0)
	if len(path) > 0 && v.nodes[0].kind == kindArray { // a list of callbacks: the item stands alone
		from, path = path[len(path)-1], path[:len(path)-1]
	}
	b, left := r.appendRest(make([]byte, 0, min(len(v.src), usualRest)), from, path)
	if !left {
		return nil
	}
	if len(path) > 0 && len(b) > maxShared {
		own, _ := r.appendRest(nil, n.i, nil)
		if len(b)-len(own) > maxShared {
			if v.sharedGiven {
				return own
			}
			v.sharedGiven = true
		}
	}
	return b
}

type rest struct {
	*View
	with []uint32
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
	case d.flags&unquoted != 0:
		return appendQuoted(b, v.src[d.textAt:d.textAt+d.textLen]), true
	case d.kind == kindString:
		return append(b, v.src[d.textAt-1:d.textAt+d.textLen+1]...), true
	}
	return append(b, v.src[d.textAt:d.textAt+d.textLen]...), true
}

func (v *rest) appendMembers(b []byte, i uint32, path []uint32) ([]byte, bool) {
	start := len(b)
	b = append(b, '{')
	doubles := v.doubles(i)
	left := v.nodes[i].next == i+1
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
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
		if name, ok := doubles[c]; ok {
			b = appendQuoted(b, name)
		} else {
			b = appendQuoted(b, v.name(c))
		}
		b = append(b, ':')
		var kept bool
		if b, kept = v.appendRest(b, c, down); !kept {
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
		if b, left = v.appendRest(b, path[len(path)-1], path[:len(path)-1]); !left {
			return b[:start], false
		}
		return append(b, ']'), true
	}
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
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

// doubles names the earlier ones of members that stand more than once.
func (v *View) doubles(i uint32) map[uint32]string {
	members := 0
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		members++
	}
	if members < 2 || members < 64 && v.nodes[i].names() == members {
		return nil
	}
	if members <= 16 && !v.hasDoubles(i) { // by far the most: no map
		return nil
	}
	last := make(map[string]uint32, members)
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		last[v.name(c)] = c
	}
	if len(last) == members {
		return nil
	}
	renamed := map[uint32]string{}
	count := map[string]int{}
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		name := v.name(c)
		if last[name] == c {
			continue
		}
		for {
			count[name]++
			other := name + "#" + strconv.Itoa(count[name])
			if _, used := last[other]; !used {
				renamed[c] = other
				break
			}
		}
	}
	return renamed
}

func (v *View) hasDoubles(i uint32) bool {
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		for o := v.nodes[c].next; o < end; o = v.nodes[o].next {
			if v.nodes[c].nameLen == v.nodes[o].nameLen || (v.nodes[c].flags|v.nodes[o].flags)&escapedName != 0 {
				if v.name(c) == v.name(o) {
					return true
				}
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
	return n.v.appendRaw(nil, n.i)
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
func appendQuoted(b []byte, s string) []byte {
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
