package schemas_test

import (
	"encoding/base64"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/heedhq/heed/schemas"
)

// asyncAPI is what we look at in asyncapi.yaml.
type asyncAPI struct {
	AsyncAPI string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address, Description string
		Messages             map[string]reference
		Bindings             struct {
			Kafka struct {
				Topic      string
				Partitions int
				Config     map[string]any `yaml:"topicConfiguration"`
			}
		}
	}
	Operations map[string]struct {
		Action  string
		Channel reference
	}
	Components struct {
		Messages map[string]struct {
			Name, Title string
			ContentType string `yaml:"contentType"`
			Payload     reference
			Traits      []reference
			Examples    []struct {
				Headers map[string]any
				Payload any
			}
		}
		Schemas map[string]struct {
			Required   []string
			Properties map[string]any
		}
	}
}

type reference struct {
	Ref string `yaml:"$ref"`
}

func TestAsyncAPI(t *testing.T) {
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc asyncAPI
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	operations := map[string]bool{}
	names := map[string]bool{}
	for _, topic := range schemas.Topics() {
		names[topic.Name] = true
		channel, ok := doc.Channels[topic.Name]
		if !ok {
			t.Errorf("%s: no such channel", topic.Name)
			continue
		}
		if channel.Address != topic.Name || channel.Bindings.Kafka.Topic != topic.Name || !strings.Contains(channel.Description, "Key: "+topic.Key+".") {
			t.Errorf("%s: address %q, topic %q; the description should end with the key, %q", topic.Name, channel.Address, channel.Bindings.Kafka.Topic, topic.Key)
		}
		want := map[string]any{"cleanup.policy": []any{string(topic.Cleanup)}}
		if topic.Retention > 0 {
			want["retention.ms"] = int(topic.Retention.Milliseconds())
		}
		if topic.MaxMessage > 0 {
			want["max.message.bytes"] = topic.MaxMessage
		}
		if diff := cmp.Diff(want, channel.Bindings.Kafka.Config); diff != "" || channel.Bindings.Kafka.Partitions != topic.Partitions {
			t.Errorf("%s: %d partitions, want %d\n%s", topic.Name, channel.Bindings.Kafka.Partitions, topic.Partitions, diff)
		}
		var kinds []string
		for _, k := range topic.Kinds {
			kinds = append(kinds, string(k))
			if ref := channel.Messages[string(k)].Ref; ref != "#/components/messages/"+string(k) {
				t.Errorf("%s: message %s refers to %q", topic.Name, k, ref)
			}
		}
		slices.Sort(kinds)
		if diff := cmp.Diff(kinds, slices.Sorted(maps.Keys(channel.Messages))); diff != "" {
			t.Errorf("%s: the table's kinds and the channel's messages differ:\n%s", topic.Name, diff)
		}
		for action, stages := range map[string][]schemas.Stage{"send": topic.Writers, "receive": topic.Readers} {
			for _, stage := range stages {
				id := string(stage) + "." + action + "." + topic.Name
				operations[id] = true
				if o := doc.Operations[id]; o.Action != action || o.Channel.Ref != "#/channels/"+topic.Name {
					t.Errorf("operation %s: got %+v", id, o)
				}
			}
		}
	}
	for name := range doc.Channels {
		if !names[name] {
			t.Errorf("channel %s stands in no row of the topic table", name)
		}
	}
	for id := range doc.Operations {
		if !operations[id] {
			t.Errorf("operation %s: the topic table names no such writer or reader", id)
		}
	}
	if n := len(doc.Components.Messages); n != len(schemas.Kinds()) {
		t.Errorf("%d messages for %d kinds", n, len(schemas.Kinds()))
	}
	for _, k := range schemas.Kinds() {
		m := doc.Components.Messages[string(k)]
		payload := "./jsonschema/open/" + string(k) + ".v1.json"
		if k == schemas.CallbackReceived {
			payload = ""
		} else if _, err := os.Stat(payload); err != nil {
			t.Error(err)
		}
		if m.Name != k.Type() || m.Title == "" || m.Payload.Ref != payload || len(m.Traits) != 1 || len(m.Examples) == 0 {
			t.Errorf("message %s: name %q title %q payload %q, %d traits, %d examples", k, m.Name, m.Title, m.Payload.Ref, len(m.Traits), len(m.Examples))
			continue
		}
		wantHeaders, wantPayload := exampleOnKafka(t, k)
		if diff := cmp.Diff(wantHeaders, m.Examples[0].Headers); diff != "" {
			t.Errorf("message %s: the example's headers are not those of examples/%s.json:\n%s", k, k, diff)
		}
		// Through JSON, so that numbers compare by value.
		if diff := cmp.Diff(viaJSON(t, wantPayload), viaJSON(t, m.Examples[0].Payload)); diff != "" {
			t.Errorf("message %s: the example's payload is not that of examples/%s.json:\n%s", k, k, diff)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(headerNames(t))), slices.Sorted(maps.Keys(doc.Components.Schemas["eventHeaders"].Properties))); diff != "" {
		t.Errorf("the headers of the constants and of eventHeaders differ:\n%s", diff)
	}
}

// exampleOnKafka is an example as a record in binary mode.
func exampleOnKafka(t *testing.T, k schemas.Kind) (headers map[string]any, payload any) {
	t.Helper()
	text, err := os.ReadFile("examples/" + string(k) + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var e map[string]any
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	headers = map[string]any{"content-type": e["datacontenttype"]}
	for name, value := range e {
		switch name {
		case "data":
			payload = value
		case "data_base64":
			raw, err := base64.StdEncoding.DecodeString(value.(string))
			if err != nil {
				t.Fatal(err)
			}
			payload = string(raw)
		case "datacontenttype":
		default:
			headers["ce_"+name] = value
		}
	}
	return headers, payload
}

func viaJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// headerNames lists every header that a record of ours may have: CloudEvents' attributes, the
// extensions, and the constants whose names begin with Header.
func headerNames(t *testing.T) []string {
	t.Helper()
	names := []string{
		"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_dataschema", "content-type",
		"traceparent", "tracestate", // of the span that wrote the record
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			lit, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch id := spec.Names[0].Name; {
			case id == "HeaderDeadPrefix":
			case strings.HasPrefix(id, "Header"):
				names = append(names, value)
			case strings.HasPrefix(id, "Ext"):
				names = append(names, "ce_"+value)
			}
			return true
		})
	}
	return names
}
