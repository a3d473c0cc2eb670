package schemas_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/schematest"
)

var update = flag.Bool("update", false, "write jsonschema/open anew")

// structs says which struct carries the data of a kind; every kind must stand here.
var structs = map[schemas.Kind]any{
	schemas.CallbackReceived:       nil, // application/http, see Capture
	schemas.ConsentChanged:         schemas.Change{},
	schemas.ConsentConfirmationDue: schemas.ConfirmationDue{},
	schemas.ConsentReviewNeeded:    schemas.Review{},
	schemas.HelpRequested:          schemas.HelpRequest{},
	schemas.DeliveryAttempted:      schemas.DeliveryAttempt{},
	schemas.TimeMark:               schemas.Mark{},
	schemas.ConsentFact:            schemas.Fact{},
	schemas.SubscriptionSwitched:   schemas.SubscriptionSwitch{},
}

// structOf is the struct of a kind: schemas.Data for everything that the normalizer writes.
func structOf(k schemas.Kind) any {
	if s, ok := structs[k]; ok {
		return s
	}
	return schemas.Data{}
}

// openWords are types with constants whose words the schemas don't list: they grow with every
// kind.
var openWords = []string{"Kind"}

func TestKindsAreComplete(t *testing.T) {
	declared := constants(t)["Kind"]
	var listed []string
	for _, k := range schemas.Kinds() {
		listed = append(listed, string(k))
		if got, ok := schemas.KindOf(k.Type()); !ok || got != k {
			t.Errorf("%s does not come back from its type %s", k, k.Type())
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Errorf("constants and Kinds() differ:\n%s", diff)
	}
}

func TestKindsAndTopics(t *testing.T) {
	on := map[schemas.Kind][]string{}
	names := map[string]schemas.Topic{}
	for _, topic := range schemas.Topics() {
		if _, twice := names[topic.Name]; twice {
			t.Errorf("%s stands twice in the table", topic.Name)
		}
		names[topic.Name] = topic
		for _, k := range topic.Kinds {
			on[k] = append(on[k], topic.Name)
			if !slices.Contains(schemas.Kinds(), k) {
				t.Errorf("%s: no such kind %s", topic.Name, k)
			}
		}
		if topic.Key == "" || topic.Partitions < 1 || len(topic.Writers) == 0 || len(topic.Readers) == 0 {
			t.Errorf("%s: the row is not complete", topic.Name)
		}
		if (topic.Cleanup == schemas.CleanupCompact) != (topic.Retention == 0) {
			t.Errorf("%s: compacted topics have no retention, others must have one (never both: that would forget opt-outs)", topic.Name)
		}
	}
	for _, topic := range schemas.Topics() {
		if other := topic.SamePartitionsAs; other != "" && names[other].Partitions != topic.Partitions {
			t.Errorf("%s has %d partitions, %s has %d", topic.Name, topic.Partitions, other, names[other].Partitions)
		}
	}
	for _, k := range schemas.Kinds() {
		home := schemas.TopicOf(k)
		if k == schemas.TimeMark {
			home = schemas.TopicInbound // and heed.callbacks: marks go where they are read
		}
		if !slices.Contains(on[k], home) {
			t.Errorf("%s goes to %q, but that row of the topic table does not name it (%v do)", k, home, on[k])
		}
	}
}

func TestStructsAndSchemas(t *testing.T) {
	files := load(t, "jsonschema")
	words := constants(t)
	seen := map[string]bool{} // members of Data that some schema has
	for _, k := range schemas.Kinds() {
		if structOf(k) == nil {
			continue
		}
		name := string(k) + ".v1.json"
		doc := files[name]
		if doc == nil {
			t.Errorf("%s has no schema", k)
			continue
		}
		if doc["$id"] != k.DataSchema() || doc["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: $id %v, want %s", name, doc["$id"], k.DataSchema())
		}
		if doc["title"] == nil {
			t.Errorf("%s has no title", name)
		}
		typ := reflect.TypeOf(structOf(k))
		c := comparer{t: t, files: files, words: words, at: name, done: map[reflect.Type]bool{}}
		if typ == reflect.TypeFor[schemas.Data]() {
			// A kind has some of Data's members.
			for member := range doc["properties"].(map[string]any) {
				seen[member] = true
			}
			c.partial = typ
		}
		c.compare(typ, name, doc)
	}
	for _, f := range fields(reflect.TypeFor[schemas.Data]()) {
		if !seen[f.name] {
			t.Errorf("no kind's schema has Data's member %s", f.name)
		}
	}
	for name, doc := range files {
		if name == "common.v1.json" || name == "event.v1.json" {
			continue
		}
		if k := schemas.Kind(strings.TrimSuffix(name, ".v1.json")); !slices.Contains(schemas.Kinds(), k) || doc["$id"] != k.DataSchema() {
			t.Errorf("%s is the schema of no kind", name)
		}
	}
}

// comparer holds structs against schemas.
type comparer struct {
	t       *testing.T
	files   map[string]map[string]any
	words   map[string][]string
	at      string
	partial reflect.Type // a struct of which the schema may have some members only
	done    map[reflect.Type]bool
}

func (c *comparer) compare(typ reflect.Type, file string, node map[string]any) {
	c.t.Helper()
	if to, ok := node["$ref"].(string); ok {
		target, pointer, _ := strings.Cut(to, "#/")
		if target != "" {
			file = target
		}
		var found any = c.files[file]
		for word := range strings.SplitSeq(pointer, "/") { // "$defs/user", "components/schemas/Check"
			members, _ := found.(map[string]any)
			found = members[word]
		}
		next, ok := found.(map[string]any)
		if !ok {
			c.t.Errorf("%s: $ref %s leads nowhere", c.at, to)
			return
		}
		node = next
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := ""
	switch {
	case typ == reflect.TypeFor[json.RawMessage]():
		return // anything
	case typ == reflect.TypeFor[time.Time]():
		want = "string"
		if node["format"] != "date-time" {
			c.t.Errorf("%s: a time lacks format date-time", c.at)
		}
	case typ == reflect.TypeFor[json.Number]():
		want = "number"
	case typ.Kind() == reflect.String || typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		want = "string"
		c.enum(typ, node)
	case typ.Kind() == reflect.Bool:
		want = "boolean"
	case typ.Kind() == reflect.Int || typ.Kind() == reflect.Int32 || typ.Kind() == reflect.Int64:
		want = "integer"
	case typ.Kind() == reflect.Float64:
		want = "number"
	case typ.Kind() == reflect.Slice:
		want = "array"
		items, _ := node["items"].(map[string]any)
		c.compare(typ.Elem(), file, items)
	case typ.Kind() == reflect.Struct:
		want = "object"
		c.object(typ, file, node)
	default:
		c.t.Errorf("%s: a member of type %s has no form in JSON Schema here", c.at, typ)
	}
	if node["type"] != want {
		c.t.Errorf("%s: %s is %v in the schema, want %s", c.at, typ, node["type"], want)
	}
}

func (c *comparer) object(typ reflect.Type, file string, node map[string]any) {
	c.t.Helper()
	if node["additionalProperties"] != false {
		c.t.Errorf("%s: the schema of %s is not closed", c.at, typ)
	}
	if c.done[typ] && typ != c.partial {
		return
	}
	c.done[typ] = true
	properties, _ := node["properties"].(map[string]any)
	var required []string
	for _, r := range anySlice(node["required"]) {
		required = append(required, r.(string))
	}
	members := map[string]bool{}
	for _, f := range fields(typ) {
		members[f.name] = true
		property, ok := properties[f.name].(map[string]any)
		if !ok {
			if typ != c.partial {
				c.t.Errorf("%s: the schema of %s lacks %s", c.at, typ, f.name)
			}
			continue
		}
		switch always := !f.optional; {
		case always && !slices.Contains(required, f.name):
			c.t.Errorf("%s: %s of %s is always written, but the schema does not require it", c.at, f.name, typ)
		case !always && slices.Contains(required, f.name) && typ != c.partial:
			c.t.Errorf("%s: %s of %s may be absent, but the schema requires it", c.at, f.name, typ)
		}
		c.compare(f.typ, file, property)
	}
	for name := range properties {
		if !members[name] {
			c.t.Errorf("%s: the schema has %s, which %s has not", c.at, name, typ)
		}
	}
	for _, name := range required {
		if !members[name] {
			c.t.Errorf("%s: requires %s, which %s has not", c.at, name, typ)
		}
	}
}

// enum compares the words of a named string type with its constants.
func (c *comparer) enum(typ reflect.Type, node map[string]any) {
	c.t.Helper()
	declared := slices.Clone(c.words[typ.Name()])
	if typ.PkgPath() == "" || len(declared) == 0 || slices.Contains(openWords, typ.Name()) {
		return
	}
	declared = slices.DeleteFunc(declared, func(w string) bool { return typ.Name() == "Channel" && w == string(schemas.AnyChannel) })
	var listed []string
	for _, w := range anySlice(node["enum"]) {
		listed = append(listed, w.(string))
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if diff := cmp.Diff(declared, listed); diff != "" {
		c.t.Errorf("%s: constants of %s and the schema's enum differ:\n%s", c.at, typ, diff)
	}
}

// field is a struct's member as JSON has it.
type field struct {
	name     string
	typ      reflect.Type
	optional bool
}

func fields(typ reflect.Type) []field {
	var all []field
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		all = append(all, field{name, f.Type, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")})
	}
	return all
}

func TestExamples(t *testing.T) {
	judge, open := schematest.New(t), schematest.NewOpen(t)
	names, err := filepath.Glob("examples/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != len(schemas.Kinds()) {
		t.Errorf("%d examples for %d kinds", len(names), len(schemas.Kinds()))
	}
	for _, k := range schemas.Kinds() {
		text, err := os.ReadFile("examples/" + string(k) + ".json")
		if err != nil {
			t.Error(err)
			continue
		}
		if err := judge.Event(text); err != nil {
			t.Errorf("%s: %v", k, err)
		}
		var e struct {
			Type, Subject, PartitionKey string
			Data                        json.RawMessage
		}
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if e.Type != k.Type() {
			t.Errorf("%s: the example is of type %s", k, e.Type)
		}
		if structOf(k) == nil {
			continue
		}
		if err := open.Data(k, e.Data); err != nil {
			t.Errorf("%s: the consumer's view refuses what the producer writes: %v", k, err)
		}
		into := reflect.New(reflect.TypeOf(structOf(k)))
		decoder := json.NewDecoder(bytes.NewReader(e.Data))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into.Interface()); err != nil {
			t.Errorf("%s: %v", k, err)
			continue
		}
		back, err := json.Marshal(into.Interface())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(generic(t, e.Data), generic(t, back)); diff != "" {
			t.Errorf("%s: example → struct → JSON loses or adds:\n%s", k, diff)
		}
		if later := bytes.Replace(e.Data, []byte("{"), []byte(`{"of_a_later_version":1,`), 1); judge.Data(k, later) == nil || open.Data(k, later) != nil {
			t.Errorf("%s: a member of a later version must be refused to producers and let pass to consumers", k)
		}
	}
}

// TestOpenView derives the consumer's view; -update writes it.
func TestOpenView(t *testing.T) {
	closed, open := load(t, "jsonschema"), load(t, "jsonschema/open")
	for name := range open {
		if closed[name] == nil {
			t.Errorf("open/%s has no closed counterpart", name)
		}
	}
	for name, doc := range closed {
		id := doc["$id"].(string)
		at := strings.LastIndexByte(id, '/')
		want := opened(doc).(map[string]any)
		want["$id"] = id[:at] + "/open" + id[at:]
		if name == "common.v1.json" {
			want["description"] = "The consumer's view: unknown members and words pass, since a later version may add some."
		}
		if *update {
			text, err := json.MarshalIndent(want, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile("jsonschema/open/"+name, append(text, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(any(want), any(open[name])); diff != "" {
			t.Errorf("open/%s is not what the closed schema gives (go test -run OpenView -update):\n%s", name, diff)
		}
	}
}

// opened is a schema without its fences.
func opened(node any) any {
	switch node := node.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, value := range node {
			switch {
			case key == "additionalProperties" && value == false:
			case key == "enum":
				out["examples"] = value
			default:
				out[key] = opened(value)
			}
		}
		return out
	case []any:
		var out []any
		for _, value := range node {
			out = append(out, opened(value))
		}
		return out
	}
	return node
}

func anySlice(v any) []any {
	s, _ := v.([]any)
	return s
}

func generic(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// load reads every schema of a folder.
func load(t *testing.T, dir string) map[string]map[string]any {
	t.Helper()
	names, err := filepath.Glob(dir + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]map[string]any{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = generic(t, text).(map[string]any)
	}
	return files
}

// constants reads the package's typed string constants: type name → values.
func constants(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string][]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value := spec.(*ast.ValueSpec)
				typ, ok := value.Type.(*ast.Ident)
				if !ok {
					continue
				}
				for _, v := range value.Values {
					if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						word, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						words[typ.Name] = append(words[typ.Name], word)
					}
				}
			}
		}
	}
	return words
}
