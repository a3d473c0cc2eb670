package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// mappedNames are our names of the members that a mapping's fields may point to, for providers
// whose customers choose the keys of the body. The value of each is the customer's key: a name,
// or names and array indexes with points between ("data.items.0.id").
var mappedNames = []string{
	"user", "business", "message_id", "event_id", "time", "channel",
	"type", "text", "subject", "postback", "reply_to",
	"media_url", "mime_type", "media_name", "latitude", "longitude",
	"status", "status_code", "status_description", "action", "keyword",
	"intent", "scope", "scope_value",
}

// CheckMapping says what is wrong with a mapping, in the user's words: nothing, or an error.
// presets are the provider's.
func CheckMapping(m schemas.Mapping, presets []string) error {
	switch {
	case m.Preset == "" && len(m.Fields) == 0:
		return fmt.Errorf("mapping needs a preset (%s) or fields", strings.Join(presets, ", "))
	case m.Preset != "" && !slices.Contains(presets, m.Preset):
		return fmt.Errorf("mapping has no preset %q; there are: %s", m.Preset, strings.Join(presets, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		if !slices.Contains(mappedNames, name) {
			return fmt.Errorf("mapping.fields has the name %q, which is none of ours: %s", name, strings.Join(mappedNames, ", "))
		}
		if strings.TrimSpace(m.Fields[name]) == "" {
			return fmt.Errorf("mapping.fields.%s has no key", name)
		}
	}
	return nil
}

// Mapped reads a callback by the names of a mapping. A key that the body lacks is looked up in
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
