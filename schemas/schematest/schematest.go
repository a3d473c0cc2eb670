// Package schematest judges events by the contract's JSON Schemas: envelope and data, in the
// closed view of the producer. Tests of every stage use it; nothing else does.
package schematest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/heedhq/heed/schemas"
	files "github.com/heedhq/heed/schemas/jsonschema"
)

// Judge holds the compiled schemas.
type Judge struct {
	envelope *jsonschema.Schema
	data     map[schemas.Kind]*jsonschema.Schema
}

// New compiles the producer's view of every schema.
func New(t testing.TB) *Judge { return compile(t, ".") }

// NewOpen compiles the consumer's view.
func NewOpen(t testing.TB) *Judge { return compile(t, "open") }

func compile(t testing.TB, dir string) *Judge {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	entries, err := files.Files.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() || path.Ext(entry.Name()) != ".json" {
			continue
		}
		text, err := files.Files.ReadFile(path.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
		id, _ := doc.(map[string]any)["$id"].(string)
		if err := compiler.AddResource(id, doc); err != nil {
			t.Fatalf("%s: %v", entry.Name(), err)
		}
	}
	j := &Judge{data: map[schemas.Kind]*jsonschema.Schema{}}
	get := func(id string) *jsonschema.Schema {
		if dir != "." {
			at := strings.LastIndexByte(id, '/')
			id = id[:at+1] + dir + id[at:]
		}
		s, err := compiler.Compile(id)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	j.envelope = get(schemas.Kind("event").DataSchema())
	for _, kind := range schemas.Kinds() {
		if kind != schemas.CallbackReceived { // whose data are application/http
			j.data[kind] = get(kind.DataSchema())
		}
	}
	return j
}

// Data says what is wrong with the data of an event of the kind.
func (j *Judge) Data(kind schemas.Kind, data []byte) error {
	schema := j.data[kind]
	if schema == nil {
		return fmt.Errorf("no JSON Schema for the data of %q", kind)
	}
	return validate(schema, data)
}

// Event says what is wrong with an event in structured mode: its envelope by the schema and by
// what ties it to its data, its data by the schema of its kind.
func (j *Judge) Event(structured []byte) error {
	if err := validate(j.envelope, structured); err != nil {
		return fmt.Errorf("envelope: %w", err)
	}
	var e struct {
		Type, DataSchema, DataContentType, Subject, PartitionKey string
		Data                                                     json.RawMessage
		Base64                                                   string `json:"data_base64"`
	}
	if err := json.Unmarshal(structured, &e); err != nil {
		return err
	}
	kind, ok := schemas.KindOf(e.Type)
	if !ok {
		return fmt.Errorf("type %q is none of ours", e.Type)
	}
	if kind == schemas.CallbackReceived {
		raw, err := base64.StdEncoding.DecodeString(e.Base64)
		if err != nil || e.DataContentType != schemas.CaptureType {
			return fmt.Errorf("data of %s must be %s in data_base64", kind, schemas.CaptureType)
		}
		_, err = schemas.ParseCapture(raw)
		return err
	}
	switch {
	case e.DataContentType != "application/json":
		return fmt.Errorf("datacontenttype is %q", e.DataContentType)
	case e.DataSchema != kind.DataSchema() && e.DataSchema != "":
		return fmt.Errorf("dataschema is %q, want %q", e.DataSchema, kind.DataSchema())
	case e.Data == nil:
		return errors.New("no data")
	}
	if err := j.Data(kind, e.Data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return nil
}

func validate(schema *jsonschema.Schema, text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(doc)
}
