package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/heedhq/heed/"

// pkg is what `go list` says of a package of ours.
type pkg struct {
	ImportPath, Dir, Name              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	IgnoredGoFiles                     []string
	short                              string
}

func (p *pkg) tests() []string { return append(slices.Clone(p.TestImports), p.XTestImports...) }

// load lists every package of the workspace.
func load(t *testing.T) []*pkg {
	t.Helper()
	work, err := filepath.Abs("../../go.work")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Name,GoFiles,TestGoFiles,XTestGoFiles,IgnoredGoFiles,Imports,TestImports,XTestImports,Deps", "work")
	cmd.Env = append(os.Environ(), "GOWORK="+work)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var all []*pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.short = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

// match says whether pattern names path.
func match(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == tree || strings.HasPrefix(path, tree+"/")
	}
	return pattern == path
}

func anyMatch(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, path) })
}

// stageOf is the first element of a package's path: its module.
func moduleOf(short string) string {
	m, _, _ := strings.Cut(short, "/")
	return m
}

func TestWhoImportsWhom(t *testing.T) {
	for _, p := range load(t) {
		row := slices.IndexFunc(mayImport, func(r struct {
			who  string
			ours []string
			why  string
		}) bool {
			return match(r.who, p.short)
		})
		if row < 0 {
			t.Errorf("%s: no row of mayImport names it", p.short)
			continue
		}
		rule := mayImport[row]
		allowed := func(imported string, test bool) bool {
			if imported == p.short || anyMatch(rule.ours, imported) {
				return true
			}
			// Its own tree: the module, unless the row is about a part of the module.
			if rule.who == moduleOf(p.short)+"/..." && moduleOf(imported) == moduleOf(p.short) {
				return true
			}
			if rule.who != "normalizer/providers/..." && strings.HasPrefix(imported, p.short+"/") {
				return true
			}
			if test {
				for _, more := range testsMayImport {
					if match(more.who, p.short) && match(more.ours, imported) {
						return true
					}
				}
			}
			return false
		}
		report := func(imports []string, test bool, what string) {
			for _, path := range imports {
				if imported, ours := strings.CutPrefix(path, module); ours && !allowed(imported, test) {
					t.Errorf("%s%s imports %s\n\t%s: %s", p.short, what, imported, rule.who, rule.why)
				}
			}
		}
		report(p.Imports, anyMatch(testOnly, p.short), "")
		report(p.tests(), true, "'s test")
	}
}

func TestInternalIsAClosedList(t *testing.T) {
	for _, p := range load(t) {
		if moduleOf(p.short) != "internal" {
			continue
		}
		known := false
		for pattern := range internalPackages {
			known = known || match(pattern, p.short)
		}
		if !known {
			t.Errorf("%s is not on the list of internal packages: two users among the stages and no word of the domain, then a line with its reason", p.short)
		}
	}
}

func TestThirdPartiesHaveOneDoor(t *testing.T) {
	for _, p := range load(t) {
		inTest := anyMatch(testOnly, p.short) || anyMatch(fakesAllowed, p.short)
		check := func(imports []string, test bool) {
			for _, path := range imports {
				for _, door := range doors {
					if !match(door.what, path) {
						continue
					}
					if !anyMatch(door.prod, p.short) && !(test && anyMatch(door.test, p.short)) {
						t.Errorf("%s imports %s\n\t%s", p.short, path, door.why)
					}
					break // the first row that matches counts
				}
			}
		}
		check(p.Imports, inTest)
		check(p.tests(), true)
	}
}

func TestTestOnlyPackagesStayInTests(t *testing.T) {
	for _, p := range load(t) {
		if anyMatch(testOnly, p.short) || anyMatch(fakesAllowed, p.short) {
			continue
		}
		for _, path := range p.Imports {
			if imported, ours := strings.CutPrefix(path, module); ours && anyMatch(testOnly, imported) {
				t.Errorf("%s imports %s, which is for tests", p.short, imported)
			}
		}
	}
}

func TestProductionProgramsLinkNoFakes(t *testing.T) {
	programs := 0
	for _, p := range load(t) {
		if p.Name != "main" || anyMatch(fakesAllowed, p.short) {
			continue
		}
		programs++
		for _, dep := range p.Deps {
			if anyMatch(neverLinked, dep) {
				t.Errorf("%s links %s", p.short, dep)
			}
			ours, isOurs := strings.CutPrefix(dep, module)
			if !isOurs {
				continue
			}
			if anyMatch(testOnly, ours) {
				t.Errorf("%s links %s, which is for tests", p.short, ours)
			}
			if match("deploy/heed/...", p.short) && slices.Contains([]string{"ingest", "normalizer", "consent", "dispatcher"}, ours) {
				t.Errorf("%s links the stage %s: the operator's tool must run where no stage does", p.short, ours)
			}
		}
	}
	if programs == 0 {
		t.Log("no production program yet")
	}
}

func TestPurePackages(t *testing.T) {
	for _, p := range load(t) {
		for _, rule := range pure {
			if !match(rule.who, p.short) || anyMatch(notPure, p.short) {
				continue
			}
			for _, path := range p.Imports {
				if slices.Contains(impureImports, path) && !slices.Contains(rule.except, path) {
					t.Errorf("%s imports %s\n\t%s", p.short, path, rule.why)
				}
			}
			for _, file := range p.GoFiles {
				calls(t, filepath.Join(p.Dir, file), func(name string, at token.Position) {
					if slices.Contains(impureCalls, name) {
						t.Errorf("%s: %s\n\t%s", at, name, rule.why)
					}
				})
			}
		}
	}
}

func TestHouse(t *testing.T) {
	for _, p := range load(t) {
		comments := 0
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			file, _ := parse(t, path)
			if file.Doc != nil {
				comments++
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s has an init function: registration is a table that one can read", path)
				}
			}
			if p.short != "internal/service" {
				calls(t, path, func(name string, at token.Position) {
					if name == "os.Exit" || strings.HasPrefix(name, "log.Fatal") {
						t.Errorf("%s: %s outside internal/service", at, name)
					}
				})
			}
		}
		if len(p.GoFiles) == 0 { // tests only
			for _, name := range append(slices.Clone(p.TestGoFiles), p.XTestGoFiles...) {
				if file, _ := parse(t, filepath.Join(p.Dir, name)); file.Doc != nil {
					comments++
				}
			}
		}
		if comments != 1 {
			t.Errorf("%s has %d package comments, want exactly one", p.short, comments)
		}
		for _, name := range append(slices.Clone(p.TestGoFiles), p.XTestGoFiles...) {
			bubble := fakesTime(t, filepath.Join(p.Dir, name)) // in a synctest bubble sleeping is how time passes
			calls(t, filepath.Join(p.Dir, name), func(call string, at token.Position) {
				if call == "time.Sleep" && !bubble {
					t.Errorf("%s: tests wait on a signal, not on hope", at)
				}
				if call == "t.Skip" || call == "t.Skipf" || call == "t.SkipNow" || call == "b.Skip" {
					t.Errorf("%s: a test that skips itself proves nothing; say loudly outside the test what did not run", at)
				}
			})
		}
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			path := filepath.Join(p.Dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > 600 {
				t.Errorf("%s has %d lines; files stay under 600, each one thing", path, n)
			}
			for _, mark := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X:"} {
				if bytes.Contains(data, []byte(mark)) {
					t.Errorf("%s holds a %s", path, mark)
				}
			}
		}
	}
}

// fakesTime says whether a test file uses testing/synctest.
func fakesTime(t *testing.T, path string) bool {
	t.Helper()
	file, _ := parse(t, path)
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
}

func parse(t *testing.T, path string) (*ast.File, *token.FileSet) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return file, fset
}

// calls visits every use of a qualified name such as time.Now in a file, called or passed on.
func calls(t *testing.T, path string, visit func(name string, at token.Position)) {
	t.Helper()
	file, fset := parse(t, path)
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				visit(x.Name+"."+sel.Sel.Name, fset.Position(sel.Pos()))
			}
		}
		return true
	})
}

// TestRulesBite proves the fences on packages that break them.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"schemas/...", "schemas", true},
		{"schemas/...", "schemas/x", true},
		{"schemas/...", "schemasx", false},
		{"normalizer/providers", "normalizer/providers/kaleyra", false},
		{"...", "anything", true},
		{"testing/...", "testing/synctest", true},
	} {
		if got := match(c.pattern, c.path); got != c.want {
			t.Errorf("match(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
	src := "package x\nimport (\"os\"; \"time\")\nvar now = time.Now\nfunc f() { os.Exit(1) }\n"
	path := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	var seen []string
	calls(t, path, func(name string, _ token.Position) { seen = append(seen, name) })
	if fmt.Sprint(seen) != "[time.Now os.Exit]" {
		t.Errorf("saw %v", seen)
	}
}
