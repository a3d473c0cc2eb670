package translate

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/heedhq/heed/schemas"
)

// Every member of Data and of what it holds, filled by reflection, is written as encoding/json
// writes it: a member that is added to schemas and forgotten here fails.
func TestAppendDataWritesEveryMember(t *testing.T) {
	var data schemas.Data
	n := 0
	fill(reflect.ValueOf(&data).Elem(), &n)
	compare(t, &data)
	compare(t, &schemas.Data{})
	compare(t, &schemas.Data{Content: &schemas.Content{Location: &schemas.Location{Latitude: "1e3", Longitude: "-0.5"}}, User: &schemas.User{}, Business: &schemas.Business{}, Status: &schemas.Status{}, Consent: &schemas.ConsentAct{}, Evidence: &schemas.Evidence{}, Call: &schemas.Call{}})
}

func compare(t testing.TB, data *schemas.Data) {
	t.Helper()
	want, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	var got, wanted any
	encoded := appendData(nil, data)
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatalf("%v: %s", err, encoded)
	}
	if err := json.Unmarshal(want, &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("(-encoding/json +appendData):\n%s", diff)
	}
}

func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case json.RawMessage:
		v.SetBytes([]byte(`{"a": [1, "x"]}`))
		return
	case json.Number:
		v.SetString("12.50")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.String:
		v.SetString("value " + string(rune('a'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(int64(*n))
	default:
		panic("a member of a new type: " + v.Type().String())
	}
}

func TestStringsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		want, _ := json.Marshal(text)
		var got, wanted string
		if err := json.Unmarshal(appendString(nil, text), &got); err != nil {
			t.Fatal(err)
		}
		if _ = json.Unmarshal(want, &wanted); got != wanted {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// Digits that an adapter should not have let through still give data that can be read.
func TestNumbersStayJSON(t *testing.T) {
	data := schemas.Data{Content: &schemas.Content{Type: schemas.ContentLocation, Location: &schemas.Location{Latitude: "north", Longitude: `1,"x":2`}}}
	var back schemas.Data
	if err := json.Unmarshal(appendData(nil, &data), &back); err != nil {
		t.Fatal(err)
	}
	if back.Content.Location.Latitude != "" || back.Content.Location.Longitude != "" {
		t.Errorf("read back: %+v", back.Content.Location)
	}
}
