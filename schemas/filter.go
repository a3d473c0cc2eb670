package schemas

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Filter is one filter expression of the CloudEvents Subscriptions API. Exactly one of its
// dialects is set.
type Filter struct {
	Exact  map[string]string `json:"exact,omitempty"`  // every attribute equals its value
	Prefix map[string]string `json:"prefix,omitempty"` // every attribute begins with its value
	Suffix map[string]string `json:"suffix,omitempty"` // every attribute ends with its value
	All    []Filter          `json:"all,omitempty"`    // every nested filter holds
	Any    []Filter          `json:"any,omitempty"`    // at least one does
	Not    *Filter           `json:"not,omitempty"`    // the nested one does not
	SQL    string            `json:"sql,omitempty"`    // CloudEvents SQL (CESQL 1.0)
}

const dialects = "exact, prefix, suffix, all, any, not, sql"

// UnmarshalYAML reads a filter: a mapping with one member, the dialect. A dialect that we don't
// know is refused, as the specification demands.
func (f *Filter) UnmarshalYAML(node *yaml.Node) error {
	complain := func(format string, args ...any) error {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", node.Line) + fmt.Sprintf(format, args...)}}
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode || len(node.Content) != 2 {
		return complain("a filter has exactly one dialect, such as {exact: {channel: rcs}}; several conditions are several filters")
	}
	dialect, arg := node.Content[0].Value, node.Content[1]
	var into any
	switch dialect {
	case "exact":
		into = &f.Exact
	case "prefix":
		into = &f.Prefix
	case "suffix":
		into = &f.Suffix
	case "all":
		into = &f.All
	case "any":
		into = &f.Any
	case "not":
		f.Not = new(Filter)
		return f.Not.UnmarshalYAML(arg)
	case "sql":
		into = &f.SQL
	default:
		return complain("filter dialect %q is not known; known are %s", dialect, dialects)
	}
	if m, ok := into.(*map[string]string); ok {
		return f.readAttributes(dialect, arg, m)
	}
	return arg.Decode(into)
}

// readAttributes refuses values that are no strings (1, true, null): YAML would turn them into
// text that need not be what the event carries.
func (f *Filter) readAttributes(dialect string, node *yaml.Node, into *map[string]string) error {
	if node.Kind != yaml.MappingNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s takes attributes and values, such as {%s: {channel: rcs}}", node.Line, dialect, dialect)}}
	}
	*into = map[string]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if value.Kind != yaml.ScalarNode || value.Tag != "!!str" && value.Tag != "!!timestamp" {
			return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s: the value of %s is not a string; write it in quotes", value.Line, dialect, name.Value)}}
		}
		if _, twice := (*into)[name.Value]; twice {
			return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s: %s stands twice", name.Line, dialect, name.Value)}}
		}
		(*into)[name.Value] = value.Value
	}
	return nil
}

var attributeName = regexp.MustCompile(`^[a-z0-9]+$`)

// maxFilterDepth bounds nesting: deeper than this is a mistake, and evaluation recurses.
const maxFilterDepth = 32

// problems names what is wrong with the filter, by the path where it stands.
func (f *Filter) problems(path string) []string {
	if strings.Count(path, ".") > maxFilterDepth {
		return []string{path + ": nested too deeply"}
	}
	var wrong []string
	attributes := func(dialect string, m map[string]string) {
		if m != nil && len(m) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s.%s: no attribute is named", path, dialect))
		}
		for _, name := range slices.Sorted(maps.Keys(m)) {
			switch {
			case name == "data":
				wrong = append(wrong, fmt.Sprintf("%s.%s: filters see the event's attributes, not its data", path, dialect))
			case !attributeName.MatchString(name):
				wrong = append(wrong, fmt.Sprintf("%s.%s: %q is no attribute name (lower-case letters and digits)", path, dialect, name))
			case m[name] == "":
				wrong = append(wrong, fmt.Sprintf("%s.%s: the value of %s is empty", path, dialect, name))
			}
		}
	}
	attributes("exact", f.Exact)
	attributes("prefix", f.Prefix)
	attributes("suffix", f.Suffix)
	nested := func(dialect string, filters []Filter) {
		if filters != nil && len(filters) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s.%s: at least one filter is needed", path, dialect))
		}
		for i := range filters {
			wrong = append(wrong, filters[i].problems(fmt.Sprintf("%s.%s[%d]", path, dialect, i))...)
		}
	}
	nested("all", f.All)
	nested("any", f.Any)
	if f.Not != nil {
		wrong = append(wrong, f.Not.problems(path+".not")...)
	}
	if f.Exact == nil && f.Prefix == nil && f.Suffix == nil && f.All == nil && f.Any == nil && f.Not == nil && strings.TrimSpace(f.SQL) == "" {
		wrong = append(wrong, fmt.Sprintf("%s: the expression is empty", path))
	}
	return wrong
}
