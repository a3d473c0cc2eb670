package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// problems collects what is wrong with a file.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

// of adds a problem of an entry: what it is ("endpoint"), and its id if it has one.
func (p *problems) of(line int, what, id, format string, args ...any) {
	if id != "" {
		what += " (" + id + ")"
	}
	p.add("line %d: %s: %s", line, what, fmt.Sprintf(format, args...))
}

// read reads a YAML file (or a JSON one, which is YAML too) into file, strictly: a name that file
// doesn't have, an empty entry of its list and a second document are problems. It gives the line
// of each entry that came into file; false says that the data is not YAML, and nothing more can be said.
func (p *problems) read(data []byte, list string, file any) (lines []int, ok bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(file); err != nil && !errors.Is(err, io.EOF) {
		var typed *yaml.TypeError
		if !errors.As(err, &typed) {
			p.add("the %s file is not YAML: %s", list, strings.TrimPrefix(err.Error(), "yaml: "))
			return nil, false
		}
		for _, e := range typed.Errors {
			p.add("%s", plainTypeError(e))
		}
	} else if err := decoder.Decode(new(yaml.Node)); err == nil {
		p.add("the file has more than one YAML document; everything after \"---\" would be ignored")
	}
	for _, entry := range entriesOf(data, list) {
		line := entry.Line
		if entry.Kind == yaml.AliasNode {
			entry = entry.Alias
		}
		switch {
		case entry.Kind == yaml.MappingNode:
			lines = append(lines, line)
		case entry.ShortTag() == "!!null": // the decoder passes it by; of other kinds it complains
			p.add("line %d: the entry is empty", line)
		}
	}
	return lines, true
}

// entriesOf finds the entries of a file's list.
func entriesOf(data []byte, list string) []*yaml.Node {
	var root yaml.Node
	if yaml.Unmarshal(data, &root) != nil || len(root.Content) == 0 {
		return nil
	}
	var entries []*yaml.Node
	for i, top := 0, root.Content[0]; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value == list {
			entries = append(entries, top.Content[i+1].Content...)
		}
	}
	return entries
}

// plainTypeError puts the decoder's complaint into the words of the file's owner.
func plainTypeError(s string) string {
	if at := strings.Index(s, " not found in type "); at >= 0 {
		return strings.Replace(s[:at], "field ", "there is no ", 1) + "; see the file's documentation for the names"
	}
	return s
}
