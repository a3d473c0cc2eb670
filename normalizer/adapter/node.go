package adapter

import (
	"encoding/json"
	"iter"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/heedhq/heed/schemas"
)

// Node is a value of a View. The zero Node is "not there": every method of it answers with
// nothing, so a chain of Gets needs no checks.
type Node struct {
	v *View
	i uint32
}

func (n Node) node() *node { return &n.v.nodes[n.i] }

// Present says that the value is there (null is).
func (n Node) Present() bool { return n.v != nil }

// IsObject says that the value is an object.
func (n Node) IsObject() bool { return n.v != nil && n.node().kind == kindObject }

// IsArray says that the value is an array.
func (n Node) IsArray() bool { return n.v != nil && n.node().kind == kindArray }

// IsString says that the value is a string.
func (n Node) IsString() bool { return n.v != nil && n.node().kind == kindString }

// Get is the value at the end of the path of member names. Of a name that stands twice the last
// counts, as in most JSON readers; the earlier ones stay in provider_data (see Rest).
func (n Node) Get(path ...string) Node {
	for _, name := range path {
		n = n.member(name)
	}
	return n
}

func (n Node) member(name string) Node {
	if !n.IsObject() || !n.node().mayHave(nameBit(name)) {
		return Node{}
	}
	if n.node().flags&wide != 0 {
		if i, ok := n.v.byName(n.i)[name]; ok {
			return Node{n.v, i}
		}
		return Node{}
	}
	found := Node{}
	nodes, src := n.v.nodes, n.v.src // a look at every member for every name that is asked for: a quarter of an adapter's time
	for i, end := n.i+1, nodes[n.i].next; i < end; {
		d := &nodes[i]
		if d.flags&escapedName == 0 {
			if int(d.nameLen) == len(name) && src[d.nameAt:d.nameAt+d.nameLen] == name {
				found = Node{n.v, i}
			}
		} else if n.v.name(i) == name {
			found = Node{n.v, i}
		}
		i = d.next
	}
	return found
}

// First is the first of the named members that is there and says something.
func (n Node) First(names ...string) Node {
	for _, name := range names {
		if m := n.member(name); m.Says() {
			return m
		}
	}
	return Node{}
}

// Says reports whether the value is there and neither null, nor empty, nor a variable that the
// provider left unreplaced.
func (n Node) Says() bool {
	if !n.Present() {
		return false
	}
	d := n.node()
	if d.kind == kindObject || d.kind == kindArray {
		return d.next > n.i+1
	}
	return n.Text() != ""
}

// Members ranges over an object's members in their order, with their names.
func (n Node) Members() iter.Seq2[string, Node] {
	return func(yield func(string, Node) bool) {
		if !n.IsObject() {
			return
		}
		for i, end := n.i+1, n.node().next; i < end; i = n.v.nodes[i].next {
			if !yield(n.v.name(i), Node{n.v, i}) {
				return
			}
		}
	}
}

// Elements ranges over an array's values.
func (n Node) Elements() iter.Seq[Node] {
	return func(yield func(Node) bool) {
		if !n.IsArray() {
			return
		}
		for i, end := n.i+1, n.node().next; i < end; i = n.v.nodes[i].next {
			if !yield(Node{n.v, i}) {
				return
			}
		}
	}
}

// Text is a scalar as text: a string's value without outer blanks, a number's digits as written,
// "true" or "false". It is "" for everything else, and for a variable that the provider left
// unreplaced: "<name>" (Kaleyra), "@{{payload.x}}" (Mobtexting).
func (n Node) Text() string {
	s := strings.TrimSpace(n.Verbatim())
	if unreplaced(s) {
		return ""
	}
	return s
}

// Verbatim is Text with nothing taken away: for what a person wrote.
func (n Node) Verbatim() string {
	if n.v == nil {
		return ""
	}
	switch d := n.node(); d.kind {
	case kindString:
		s := n.v.src[d.textAt : d.textAt+d.textLen]
		if d.flags&escapedText != 0 {
			return unescape(s)
		}
		return s
	case kindNumber, kindBool:
		return n.v.src[d.textAt : d.textAt+d.textLen]
	}
	return ""
}

// Number is the value as a number with the digits that were written, "" if it is none; a string
// that holds a number counts.
func (n Node) Number() json.Number { return Number(n.Text()) }

// Number is s as a JSON number with its digits, "" if it is none.
func Number(s string) json.Number {
	s = strings.TrimSpace(s)
	p := parser{src: s, nodes: make([]node, 1)}
	if c := p.peek(); len(s) > 64 || c != '-' && (c < '0' || c > '9') {
		return ""
	}
	if f := p.number(0); f != nil || p.at != len(s) || p.nodes[0].kind != kindNumber {
		return ""
	}
	return json.Number(s)
}

// Take is the text of the first of the named members that says something, and marks it as
// taken: it stands in the event by a name of ours and is left out of provider_data. Take only
// what reaches the event as it is. An object or an array where text was expected is not taken:
// it has no text, and would be lost.
func (n Node) Take(names ...string) string {
	m := n.First(names...)
	s := m.Text()
	if s != "" {
		m.Taken()
	}
	return s
}

// TakeText is Take for what a person wrote: blanks stay, and "<stop>" is no variable.
func (n Node) TakeText(names ...string) schemas.Text {
	for _, name := range names {
		if m := n.member(name); m.Verbatim() != "" {
			return schemas.Text(m.Taken().Verbatim())
		}
	}
	return ""
}

// Taken marks the value, with all in it, as taken, and returns it.
func (n Node) Taken() Node {
	if n.v != nil {
		n.node().flags |= taken
	}
	return n
}

// Items lists the elements of an array that become events of their own, and marks them so that
// Rest of one leaves out the others. A value that is no array is its own only item.
func (n Node) Items() []Node {
	if !n.Present() {
		return nil
	}
	if !n.IsArray() {
		if n.i == 0 { // nearly every callback
			n.v.root[0] = n
			return n.v.root[:]
		}
		return []Node{n}
	}
	var items []Node
	for e := range n.Elements() {
		items = append(items, e.Item())
	}
	return items
}

// Untaken undoes Taken for the value itself.
func (n Node) Untaken() {
	if n.v != nil {
		n.node().flags &^= taken
	}
}

// View is the view that the value belongs to: that of JSON within a string is another.
func (n Node) View() *View { return n.v }

// Item marks a value that becomes an event of its own, as Items does for the elements of a list.
func (n Node) Item() Node {
	if n.v != nil {
		n.node().flags |= item
	}
	return n
}

// JSON reads a string member that holds JSON of its own (a form field, a double-encoded body)
// and gives its root, or the value itself when it is not such a string. What is taken from it
// is not left out of the outer provider_data.
func (n Node) JSON() Node {
	s := strings.TrimSpace(n.Verbatim())
	if !n.IsString() || s == "" || s[0] != '{' && s[0] != '[' {
		return n
	}
	v, f := parseView(s)
	if f != nil {
		return n
	}
	return v.Root()
}

// unreplaced says whether s is nothing but a template variable.
func unreplaced(s string) bool {
	return s != "" && (s[0] == '<' || s[0] == '@') && isVariable(s)
}

func isVariable(s string) bool {
	if inner, ok := cut(s, "<", ">"); ok {
		return inner != "" && strings.Trim(inner, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_[].") == ""
	}
	if inner, ok := cut(s, "@{{", "}}"); ok {
		inner = strings.TrimSpace(inner)
		return inner != "" && strings.Trim(inner, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_[].") == ""
	}
	return false
}

func cut(s, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

// unescape is the value of a JSON string that holds escapes; half a surrogate pair becomes U+FFFD.
func unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b = append(b, s[i])
			i++
			continue
		}
		c := s[i+1]
		i += 2
		switch c {
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, _ := hex4(s[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if strings.HasPrefix(s[i:], `\u`) {
					low, ok = hex4(s[i+2:])
				}
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					r = pair
					i += 6
				} else {
					r = utf8.RuneError
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
