package adapter

import (
	"strconv"
	"strings"
)

// Mapped reads a callback by the fields of an endpoint's mapping: our name to the customer's key,
// a name, or names and array indexes with points between ("data.items.0.id"). A key that the body lacks is looked up in
// the query, where customers put variables too.
type Mapped struct {
	fields map[string]string
	body   Node
	query  Node
}

// Map reads n, and the query if there is one, by fields.
func Map(fields map[string]string, n Node, query *View) Mapped {
	m := Mapped{fields: fields, body: n}
	if query != nil && query != n.v {
		m.query = query.Root()
	}
	return m
}

// Get is the value that the mapping gives our name to.
func (m Mapped) Get(name string) Node {
	key, ok := m.fields[name]
	if !ok {
		return Node{}
	}
	if n := m.body.Path(key); n.Says() {
		return n
	}
	return m.query.Path(key)
}

// Take is the text of the value that the mapping gives our name to, and marks it as taken.
func (m Mapped) Take(name string) string {
	n := m.Get(name)
	s := n.Text()
	if s != "" {
		n.Taken()
	}
	return s
}

// Path is the value at names and indexes with points between. A member whose own name has the
// points wins.
func (n Node) Path(path string) Node {
	if m := n.member(path); m.Present() {
		return m
	}
	for step := range strings.SplitSeq(path, ".") {
		if i, err := strconv.Atoi(step); err == nil && n.IsArray() {
			n = n.element(i)
			continue
		}
		n = n.member(step)
	}
	return n
}

func (n Node) element(i int) Node {
	for e := range n.Elements() {
		if i == 0 {
			return e
		}
		i--
	}
	return Node{}
}
