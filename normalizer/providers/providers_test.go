package providers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/heedhq/heed/normalizer/providers"
	"github.com/heedhq/heed/normalizer/providers/providertest"
)

// TestIDsOfAllProvidersTogether proves "same in, same out" (design I5) over every case there is.
func TestIDsOfAllProvidersTogether(t *testing.T) { providertest.Together(t, providers.All()) }

// TestAllNamesEveryFolder: a provider that is written and not listed would be dead code.
func TestAllNamesEveryFolder(t *testing.T) {
	var listed, folders []string
	for _, a := range providers.All() {
		listed = append(listed, a.Provider())
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "providertest" {
			folders = append(folders, e.Name())
		}
	}
	if !slices.Equal(listed, folders) {
		t.Errorf("All lists %v, the folders are %v (same order)", listed, folders)
	}
}

// TestScaffold makes a provider in a copy of the tree, enters it in the three places that the
// script names, and runs what holds them: what CONTRIBUTING promises a newcomer.
func TestScaffold(t *testing.T) {
	root := t.TempDir()
	for _, module := range []string{"schemas", "internal", "normalizer", "ingest"} {
		if err := os.CopyFS(filepath.Join(root, module), os.DirFS(filepath.Join("../..", module))); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("../../ENDPOINTS.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "ENDPOINTS.md"), page, 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = filepath.Join(root, dir)
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	enter := func(path, after, what string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(text), after)
		if !ok {
			t.Fatalf("%s has no %q", path, after)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(before+after+what+rest), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("normalizer/providers", "bash", "new.sh", "aaacme")
	enter("normalizer/providers/providers.go", "import (\n", "\t\"github.com/heedhq/heed/normalizer/providers/aaacme\"\n")
	enter("normalizer/providers/providers.go", "[]adapter.Adapter{\n", "\t\taaacme.New(),\n")
	enter("ingest/sources.go", "[]source{\n", "\t\t{provider: \"aaacme\", inbound: []string{\"from\"}},\n")
	enter("ENDPOINTS.md", "provider: kaleyra                       # ", "aaacme, ")
	run("normalizer", "go", "vet", "./providers", "./providers/aaacme")
	run("normalizer", "go", "test", "-count=1", "./providers/aaacme")
	run("normalizer", "go", "test", "-count=1", "-run", "TestAllNamesEveryFolder", "./providers")
	run("ingest", "go", "test", "-count=1", "-run", "TestDocument", ".")
	if out, err := exec.Command("bash", filepath.Join(root, "normalizer/providers/new.sh"), "aaacme").CombinedOutput(); err == nil {
		t.Errorf("a provider that is there was made again:\n%s", out)
	}
}
