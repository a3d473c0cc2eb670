package adapter

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of one callback. Real ones stay far below: the deepest documented shape nests 9 deep,
// the longest batch (120 receipts of 20 members) has about 2,500 values.
const (
	MaxDepth  = 64
	MaxValues = 1 << 16 // 28 bytes each: 1.8 MB at most, whatever the body
	MaxItems  = 1024    // events that one callback may carry
)

// The repairs, as Data.Repaired names them. Nothing else is ever mended: a body that needs more
// is a dead letter, since guessing at a person's words is worse than keeping them unread.
const (
	RepairTrailingComma = "trailing_comma" // a comma before a closing bracket
	RepairMissingBrace  = "missing_brace"  // closing brackets missing at the very end
	RepairMaskedNumber  = "masked_number"  // a bare 91806828XXXX, read as a string
	RepairInvalidUTF8   = "invalid_utf8"   // bytes that are no UTF-8, read as U+FFFD
	RepairNoBreakSpace  = "no_break_space" // U+00A0 between values, as web pages indent (Exotel's RCS document)
)

// node is one JSON value on the tape: a container is followed by its members, and next is the
// index after its last one. Offsets instead of strings keep it at 28 bytes.
type node struct {
	nameAt, nameLen uint32 // without quotes; of an escaped name in View.names
	textAt, textLen uint32 // scalars: string without quotes, number or literal as written; objects: see mayHave
	next, parent    uint32
	kind            kind
	flags           flags
}

type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindObject
	kindArray
)

type flags uint8

const (
	escapedName flags = 1 << iota
	escapedText
	unquoted // a masked number
	taken
	item
	overfull // around the items in it stands more than each of them may carry
	wide     // an object of many members, which are found by View.byName
)

// nameBit is the bit of 64 that a name sets in its object.
func nameBit(name string) uint64 {
	if name == "" {
		return 1
	}
	return 1 << ((uint(len(name)) + 7*uint(name[0]) + 13*uint(name[len(name)-1])) % 64)
}

// mayHave is false when the object surely has no member of a name with this bit. Most names that
// are asked for are not there, and this spares the look at every member.
func (n *node) mayHave(bit uint64) bool { return (uint64(n.textAt)<<32|uint64(n.textLen))&bit != 0 }

// names is how many bits the names of an object's members have set: as many as there are members,
// and no two of them have one name.
func (n *node) names() int { return bits.OnesCount32(n.textAt) + bits.OnesCount32(n.textLen) }

// has notes a member's name in its object.
func (n *node) has(bit uint64) {
	n.textAt |= uint32(bit >> 32)
	n.textLen |= uint32(bit)
}

// many members are found by an index instead of by a look at each: an object of one name 60,000
// times is asked for dozens of names, and for each of its items.
const many = 64

// parser reads JSON (RFC 8259) onto a tape, strictly but for the repairs. One pass, no look-back:
// linear in the body.
type parser struct {
	src     string
	at      int
	nodes   []node
	names   []byte // those that held escapes
	repairs []string
}

func (p *parser) parse() *Failure {
	values := 16 // of nearly every body up to 512 bytes
	if len(p.src) > 512 {
		// A value but the outermost has a comma or an opening bracket before it.
		values = 1 + strings.Count(p.src, ",") + strings.Count(p.src, "{") + strings.Count(p.src, "[")
	}
	if values = min(values, MaxValues); cap(p.nodes) < values {
		p.nodes = make([]node, 0, values)
	}
	p.space()
	if f := p.value(0, 1); f != nil {
		return f
	}
	p.space()
	if p.at < len(p.src) {
		return p.bad("something follows the value")
	}
	return nil
}

func tooManyValues() *Failure {
	return &Failure{Index: WholeCallback, Class: TooLarge, Message: fmt.Sprintf("the body holds more than %d values", MaxValues)}
}

func (p *parser) bad(what string) *Failure {
	return &Failure{Index: WholeCallback, Class: Malformed, Message: fmt.Sprintf("the body is not JSON: %s (byte %d)", what, p.at)}
}

func (p *parser) space() {
	if p.at < len(p.src) && ' ' < p.src[p.at] && p.src[p.at] < utf8.RuneSelf {
		return // mostly nothing to step over
	}
	for p.at < len(p.src) {
		switch p.src[p.at] {
		case ' ', '\t', '\n', '\r':
			p.at++
		case 0xc2:
			if p.at+1 == len(p.src) || p.src[p.at+1] != 0xa0 {
				return
			}
			p.at += 2
			p.repaired(RepairNoBreakSpace)
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

// value reads the value at p.at; depth is its own, from 1. The caller has appended nothing yet.
func (p *parser) value(parent uint32, depth int) *Failure {
	if len(p.nodes) >= MaxValues {
		return tooManyValues()
	}
	i := len(p.nodes)
	p.nodes = append(p.nodes, node{parent: parent})
	var f *Failure
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if depth > MaxDepth {
			return &Failure{Index: WholeCallback, Class: TooDeep, Message: fmt.Sprintf("the body nests deeper than %d", MaxDepth)}
		}
		f = p.container(i, depth, c)
	case c == '"':
		var escaped bool
		start := p.at + 1
		if escaped, f = p.str(); f == nil {
			p.scalar(i, kindString, start, p.at-1)
			if escaped {
				p.nodes[i].flags |= escapedText
			}
		}
	case c == '-' || '0' <= c && c <= '9':
		f = p.number(i)
	default:
		f = p.literal(i)
	}
	p.nodes[i].next = uint32(len(p.nodes))
	return f
}

func (p *parser) scalar(i int, k kind, start, end int) {
	n := &p.nodes[i]
	n.kind, n.textAt, n.textLen = k, uint32(start), uint32(end-start)
}

func (p *parser) container(i, depth int, open byte) *Failure {
	k, end := kindObject, byte('}')
	if open == '[' {
		k, end = kindArray, ']'
	}
	p.nodes[i].kind = k
	p.at++
	p.space()
	if p.peek() == end {
		p.at++
		return nil
	}
	for members := 1; ; members++ {
		if f := p.member(uint32(i), depth, k); f != nil {
			return f
		}
		if members == many+1 {
			p.nodes[i].flags |= wide
		}
		valueEnd := p.at
		p.space()
		switch p.peek() {
		case ',':
			p.at++
			p.space()
			if p.peek() != end {
				continue
			}
			p.repaired(RepairTrailingComma)
		case end:
		case 0:
			if p.at < len(p.src) || !p.mayEndHere(valueEnd) {
				return p.bad("it ends in the middle of a value")
			}
			p.repaired(RepairMissingBrace)
			return nil
		default:
			return p.bad("a comma or a closing bracket is missing")
		}
		p.at++
		return nil
	}
}

// mayEndHere says whether the value that ended at valueEnd, with only blanks after it, is surely
// whole: a number right at the end could have had more digits.
func (p *parser) mayEndHere(valueEnd int) bool {
	switch p.src[valueEnd-1] {
	case '"', '}', ']', 'e', 'l': // a string, a container, true, false, null
		return true
	}
	return valueEnd < len(p.src) || len(p.repairs) > 0 && p.repairs[len(p.repairs)-1] == RepairMissingBrace
}

func (p *parser) member(parent uint32, depth int, k kind) *Failure {
	if k == kindArray {
		return p.value(parent, depth+1)
	}
	if p.peek() != '"' {
		return p.bad("a member's name is missing")
	}
	start := p.at + 1
	escaped, f := p.str()
	if f != nil {
		return f
	}
	end := p.at - 1
	p.space()
	if p.peek() != ':' {
		return p.bad("a colon is missing")
	}
	p.at++
	p.space()
	i := len(p.nodes)
	if f := p.value(parent, depth+1); f != nil {
		return f
	}
	n := &p.nodes[i]
	n.nameAt, n.nameLen = uint32(start), uint32(end-start)
	name := p.src[start:end]
	switch {
	case escaped: // unescaped here, once, for a name is looked at many times
		name = strings.TrimSpace(unescape(name))
		n.flags |= escapedName
		n.nameAt, n.nameLen = uint32(len(p.names)), uint32(len(name))
		p.names = append(p.names, name...)
	case name != "" && (blankOrWide(name[0]) || blankOrWide(name[len(name)-1])):
		trimmed := strings.TrimSpace(name) // "sender_id " is documented (Telesign)
		n.nameAt, n.nameLen = uint32(start+strings.Index(name, trimmed)), uint32(len(trimmed))
		name = trimmed
	}
	p.nodes[parent].has(nameBit(name))
	return nil
}

// blankOrWide says that a character with this byte may be a blank.
func blankOrWide(c byte) bool { return c <= ' ' || c >= utf8.RuneSelf }

// str steps over the string at p.at and says whether it holds escapes.
func (p *parser) str() (escaped bool, _ *Failure) {
	p.at++
	for {
		rest := p.src[p.at:]
		i := 0
		for i < len(rest) && !ends[rest[i]] { // by far the most bytes
			i++
		}
		p.at += i
		if i == len(rest) {
			return false, p.bad("a string without end")
		}
		switch rest[i] {
		case '"':
			p.at++
			return escaped, nil
		case '\\':
			escaped = true
			if !p.escape() {
				return false, p.bad("an escape that JSON does not have")
			}
		default:
			return false, p.bad("a control character in a string")
		}
	}
}

// ends are the bytes at which a string is more than its next byte.
var ends = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

func (p *parser) escape() bool {
	if p.at+1 >= len(p.src) {
		return false
	}
	switch p.src[p.at+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.at += 2
		return true
	case 'u':
		if _, ok := hex4(p.src[p.at+2:]); !ok {
			return false
		}
		p.at += 6
		return true
	}
	return false
}

func (p *parser) digits() int {
	n := 0
	for p.at < len(p.src) && '0' <= p.src[p.at] && p.src[p.at] <= '9' {
		p.at++
		n++
	}
	return n
}

func (p *parser) number(i int) *Failure {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	zero := p.peek() == '0'
	whole := p.digits()
	if c := p.peek(); (c == 'X' || c == 'x') && whole > 0 && p.src[start] != '-' {
		return p.masked(i, start)
	}
	if whole == 0 || zero && whole > 1 {
		return p.bad("a number that JSON does not have")
	}
	if p.peek() == '.' {
		p.at++
		if p.digits() == 0 {
			return p.bad("a number without digits after its point")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if p.digits() == 0 {
			return p.bad("a number without digits in its exponent")
		}
	}
	p.scalar(i, kindNumber, start, p.at)
	return nil
}

// masked reads the rest of a bare number whose digits a document has masked (91806828XXXX).
func (p *parser) masked(i, start int) *Failure {
	for p.at < len(p.src) && p.at-start < 32 && strings.IndexByte("0123456789Xx", p.src[p.at]) >= 0 {
		p.at++
	}
	if hex, ok := strings.CutPrefix(p.src[start:p.at], "0x"); ok && !strings.ContainsAny(hex, "Xx") {
		return p.bad("a number that JSON does not have") // 0x10 hides nothing
	}
	p.scalar(i, kindString, start, p.at)
	p.nodes[i].flags |= unquoted
	p.repaired(RepairMaskedNumber)
	return nil
}

func (p *parser) literal(i int) *Failure {
	for _, l := range [...]struct {
		text string
		kind kind
	}{{"true", kindBool}, {"false", kindBool}, {"null", kindNull}} {
		if strings.HasPrefix(p.src[p.at:], l.text) {
			p.scalar(i, l.kind, p.at, p.at+len(l.text))
			p.at += len(l.text)
			return nil
		}
	}
	return p.bad("a value is missing or is not one that JSON has")
}

func (p *parser) repaired(what string) {
	if !slices.Contains(p.repairs, what) {
		p.repairs = append(p.repairs, what)
	}
}

func hex4(s string) (r rune, ok bool) {
	if len(s) < 4 {
		return 0, false
	}
	for i := range 4 {
		if !isHex(s[i]) {
			return 0, false
		}
		r = r<<4 | rune(fromHex(s[i]))
	}
	return r, true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// fromHex is the value of a hexadecimal digit.
func fromHex(c byte) byte {
	if c >= 'A' {
		return c&7 + 9 // 'A' is 0x41, 'a' 0x61
	}
	return c - '0'
}
