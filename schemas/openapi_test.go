package schemas_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/heedhq/heed/schemas"
)

// described are the structs that OpenAPI's components describe, by name. What stands in a file
// and not here has no struct of its own name.
var described = map[string]any{
	"Problem":      schemas.Problem{},
	"CheckRequest": schemas.CheckRequest{}, "Check": schemas.Check{}, "CheckResponse": schemas.CheckResponse{}, "CheckResult": schemas.CheckResult{},
	"ScopeName": schemas.ScopeName{}, "ConsentScope": schemas.ConsentScope{}, "ConsentStatus": schemas.ConsentStatus{}, "RegisterStatus": schemas.RegisterStatus{},
	"ConsentHistory": schemas.ConsentHistory{}, "Fact": schemas.Fact{}, "FactCause": schemas.FactCause{}, "ConsentOrder": schemas.ConsentOrder{},
	"ConsentReceipt": schemas.ConsentReceipt{}, "ConsentExport": schemas.ConsentExport{}, "User": schemas.User{},
	"SubscriptionConfig": schemas.SubscriptionConfig{}, "Retry": schemas.Retry{}, "SubscriptionStatus": schemas.SubscriptionStatus{},
	"DeliveryAttempt": schemas.DeliveryAttempt{}, "AttemptedEvent": schemas.AttemptedEvent{}, "AttemptPosition": schemas.AttemptPosition{},
}

// undescribed: Subscription is shown with its status, a Filter has a form of its own, and the
// headers of HTTPSettings are a map.
var undescribed = []string{"Subscription", "Filter", "HTTPSettings"}

func TestOpenAPI(t *testing.T) {
	used := map[string]bool{}
	for _, stage := range []string{"ingest", "consent", "dispatcher"} {
		t.Run(stage, func(t *testing.T) {
			doc := openAPI(t, stage)
			if v := doc["openapi"]; v != "3.1.0" {
				t.Errorf("openapi %v", v)
			}
			components := doc["components"].(map[string]any)["schemas"].(map[string]any)
			c := comparer{t: t, files: map[string]map[string]any{stage: doc}, words: constants(t)}
			for name, schema := range components {
				value, ok := described[name]
				if !ok {
					if !slices.Contains(undescribed, name) {
						t.Errorf("%s: no struct is named for this schema", name)
					}
					continue
				}
				used[name] = true
				c.at, c.done = name, map[reflect.Type]bool{}
				c.compare(reflect.TypeOf(value), stage, schema.(map[string]any))
			}
			paths := map[string][]string{}
			for path, item := range doc["paths"].(map[string]any) {
				for method := range item.(map[string]any) {
					if method != "parameters" {
						paths[path] = append(paths[path], strings.ToUpper(method))
					}
				}
			}
			for path, methods := range routes(t, stage) {
				documented, ok := paths[path]
				if !ok {
					t.Errorf("the stage serves %s, which its OpenAPI document has not", path)
				}
				for _, method := range methods {
					if !slices.Contains(documented, method) {
						t.Errorf("the stage serves %s %s, which its OpenAPI document has not", method, path)
					}
				}
				delete(paths, path)
			}
			if len(paths) > 0 {
				t.Errorf("documented, but no literal in the stage's source names them: %v", slices.Sorted(maps.Keys(paths)))
			}
		})
	}
	for name := range described {
		if !used[name] {
			t.Errorf("%s: no OpenAPI document describes this struct", name)
		}
	}
}

func openAPI(t *testing.T, stage string) map[string]any {
	t.Helper()
	text, err := os.ReadFile("openapi/" + stage + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(doc) // so that numbers and maps are as in the JSON Schemas
	if err != nil {
		t.Fatal(err)
	}
	return generic(t, asJSON).(map[string]any)
}

var route = regexp.MustCompile(`^(?:([A-Z]+) )?(/v1/[a-z0-9/{}_-]+[a-z0-9}])/?$`)

// routes reads the paths that a stage serves off its source: string literals such as
// "GET /v1/subscriptions/{id}" or "/v1/consent/check". The schemas module knows no stage, so it
// looks at the text; the stages' own tests hold the behaviour.
func routes(t *testing.T, stage string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../" + stage + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			if m := route.FindStringSubmatch(text); m != nil {
				path := m[2]
				if path == "/v1/callbacks" { // the handler cuts this prefix off
					path = "/v1/callbacks/{endpoint}"
				}
				if m[1] != "" {
					found[path] = append(found[path], m[1])
				} else if found[path] == nil {
					found[path] = []string{}
				}
			}
			return true
		})
	}
	return found
}

// TestRouteLiterals holds the reading itself.
func TestRouteLiterals(t *testing.T) {
	for text, want := range map[string][]string{
		"GET /v1/subscriptions/{id}": {"GET", "/v1/subscriptions/{id}"},
		"/v1/consent/check":          {"", "/v1/consent/check"},
		"/v1/callbacks/":             {"", "/v1/callbacks"},
		"the API is under /v1/x":     nil,
	} {
		var got []string
		if m := route.FindStringSubmatch(text); m != nil {
			got = m[1:]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}
