package dispatcher

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cesql "github.com/cloudevents/sdk-go/sql/v2"
	cesqlerrors "github.com/cloudevents/sdk-go/sql/v2/errors"
	cesqlparser "github.com/cloudevents/sdk-go/sql/v2/parser"
	cesqlutils "github.com/cloudevents/sdk-go/sql/v2/utils"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// view is a record as filters see it: its attributes are read from the record's headers where
// they stand, and its data never. The event that CESQL needs is made once for all filters.
type view struct {
	record *stream.Record
	event  *cloudevents.Event
}

// header is the Kafka header that carries an attribute.
func header(attribute string) string {
	if attribute == "datacontenttype" {
		return "content-type"
	}
	return "ce_" + attribute
}

// full makes the event for CESQL; attributes that are not valid are left out.
func (v *view) full() cloudevents.Event {
	if v.event == nil {
		e := cloudevents.New(cloudevents.CloudEventsVersionV1)
		for _, h := range v.record.Headers {
			name, ok := strings.CutPrefix(h.Key, "ce_")
			value := string(h.Value)
			switch {
			case h.Key == "content-type":
				e.SetDataContentType(value)
			case !ok || name == "specversion":
			case name == "id":
				e.SetID(value)
			case name == "source":
				e.SetSource(value)
			case name == "type":
				e.SetType(value)
			case name == "subject":
				e.SetSubject(value)
			case name == "dataschema":
				e.SetDataSchema(value)
			case name == "time":
				if t, err := time.Parse(time.RFC3339Nano, value); err == nil {
					e.SetTime(t)
				}
			default:
				e.SetExtension(name, value)
			}
		}
		v.event = &e
	}
	return *v.event
}

// predicate says whether a record is let through.
type predicate func(*view) bool

// selection is what a subscription wants, compiled.
type selection struct {
	// equal is an equality that every wanted record meets, the most telling one; no header: none
	// is known. The index files the selection under it.
	equal struct {
		header string
		values []string
	}
	matches predicate
}

// compile compiles what a subscription wants. The error names the filter that is not valid.
func compile(s *schemas.Subscription) (*selection, error) {
	var parts []predicate
	var sel selection
	rank := 0
	// Few events have a given endpoint or tenant, more have a source's, most a type's.
	prefer := func(attribute string, values ...string) {
		r := 3
		switch attribute {
		case "type":
			r = 1
		case "source":
			r = 2
		}
		if r > rank {
			rank, sel.equal.header, sel.equal.values = r, header(attribute), values
		}
	}
	if len(s.Types) > 0 {
		types := slices.Compact(slices.Sorted(slices.Values(s.Types)))
		prefer("type", types...)
		parts = append(parts, func(v *view) bool {
			_, found := slices.BinarySearch(types, stream.EventType(v.record))
			return found
		})
	}
	if s.Source != "" {
		prefer("source", s.Source)
		parts = append(parts, compare(map[string]string{"source": s.Source}, bytes.Equal))
	}
	for i := range s.Filters {
		p, err := compileFilter(&s.Filters[i])
		if err != nil {
			return nil, fmt.Errorf("filters[%d]: %w", i, err)
		}
		parts = append(parts, p)
		for _, f := range conjuncts(s.Filters[i]) {
			for _, name := range slices.Sorted(maps.Keys(f.Exact)) {
				prefer(name, f.Exact[name])
			}
		}
	}
	sel.matches = every(parts)
	return &sel, nil
}

// conjuncts lists the filters that must hold for f to hold.
func conjuncts(f schemas.Filter) []schemas.Filter {
	all := []schemas.Filter{f}
	for _, nested := range f.All {
		all = append(all, conjuncts(nested)...)
	}
	return all
}

func compileFilter(f *schemas.Filter) (predicate, error) {
	switch {
	case f.Exact != nil:
		return compare(f.Exact, bytes.Equal), nil
	case f.Prefix != nil:
		return compare(f.Prefix, bytes.HasPrefix), nil
	case f.Suffix != nil:
		return compare(f.Suffix, bytes.HasSuffix), nil
	case f.All != nil:
		parts, err := compileEach(f.All)
		return every(parts), err
	case f.Any != nil:
		parts, err := compileEach(f.Any)
		return func(v *view) bool {
			return slices.ContainsFunc(parts, func(p predicate) bool { return p(v) })
		}, err
	case f.Not != nil:
		inner, err := compileFilter(f.Not)
		return func(v *view) bool { return !inner(v) }, err
	}
	return compileSQL(f.SQL)
}

func compileEach(filters []schemas.Filter) ([]predicate, error) {
	parts := make([]predicate, len(filters))
	for i := range filters {
		var err error
		if parts[i], err = compileFilter(&filters[i]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

func every(parts []predicate) predicate {
	return func(v *view) bool {
		for _, p := range parts {
			if !p(v) {
				return false
			}
		}
		return true
	}
}

// compare holds when every named attribute is there and compares with its value.
func compare(want map[string]string, holds func(got, want []byte) bool) predicate {
	type condition struct {
		header string
		value  []byte
	}
	var conditions []condition
	for _, name := range slices.Sorted(maps.Keys(want)) {
		conditions = append(conditions, condition{header(name), []byte(want[name])})
	}
	return func(v *view) bool {
		for _, c := range conditions {
			// An attribute has no empty value in CloudEvents: empty means absent.
			got := v.record.Header(c.header)
			if len(got) == 0 || !holds(got, c.value) {
				return false
			}
		}
		return true
	}
}

// compileSQL compiles CloudEvents SQL. An error while it is evaluated means false
// (CloudEvents Subscriptions API, sql dialect).
func compileSQL(text string) (p predicate, err error) {
	defer func() { // the parser is generated and has panicked on odd input before
		if x := recover(); x != nil {
			err = fmt.Errorf("sql: not a CloudEvents SQL expression: %q", text)
		}
	}()
	expression, err := cesqlparser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("sql: not a CloudEvents SQL expression: %w", err)
	}
	// The parser takes any function's name. A trial finds one that there is not, unless the
	// expression hides it behind a condition.
	if _, err := expression.Evaluate(trial()); err != nil && cesqlerrors.IsMissingFunctionError(err) {
		return nil, fmt.Errorf("sql: %w", err)
	}
	return func(v *view) (holds bool) {
		defer func() {
			if x := recover(); x != nil {
				holds = false
			}
		}()
		value, err := expression.Evaluate(v.full())
		if err != nil {
			return false
		}
		if value, err = cesqlutils.Cast(value, cesql.BooleanType); err != nil {
			return false
		}
		holds, _ = value.(bool)
		return holds
	}, nil
}

func trial() cloudevents.Event {
	e := cloudevents.New(cloudevents.CloudEventsVersionV1)
	e.SetID("trial")
	e.SetSource("trial")
	e.SetType("trial")
	return e
}

// index finds the selections that may match a record without looking at the others: each is
// filed under one equality that it needs. A thousand subscriptions to a thousand endpoints cost
// one look-up a record.
type index struct {
	headers []string // by which selections are filed, sorted
	filed   map[string]map[string][]int
	rest    []int // selections without an equality
}

// newIndex files selections by their place in the list.
func newIndex(selections []*selection) *index {
	x := &index{filed: map[string]map[string][]int{}}
	for i, s := range selections {
		if s.equal.header == "" {
			x.rest = append(x.rest, i)
			continue
		}
		values := x.filed[s.equal.header]
		if values == nil {
			values = map[string][]int{}
			x.filed[s.equal.header] = values
		}
		for _, v := range s.equal.values {
			values[v] = append(values[v], i)
		}
	}
	x.headers = slices.Sorted(maps.Keys(x.filed))
	return x
}

// candidates appends the places of the selections that may match the record to into, each once.
func (x *index) candidates(r *stream.Record, into []int) []int {
	into = append(into, x.rest...)
	for _, h := range x.headers {
		if value := r.Header(h); len(value) > 0 {
			into = append(into, x.filed[h][string(value)]...)
		}
	}
	return into
}
