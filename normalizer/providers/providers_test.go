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

// TestScaffold makes a provider in a copy of the tree, lists it as the script says, and runs its
// suite: what CONTRIBUTING promises a newcomer.
func TestScaffold(t *testing.T) {
	root := t.TempDir()
	for _, module := range []string{"schemas", "internal", "normalizer"} {
		if err := os.CopyFS(filepath.Join(root, module), os.DirFS(filepath.Join("../..", module))); err != nil {
			t.Fatal(err)
		}
	}
	here := filepath.Join(root, "normalizer/providers")
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = here
		cmd.Env = append(os.Environ(), "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run("bash", "new.sh", "aaacme")
	list, err := os.ReadFile(filepath.Join(here, "providers.go"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(list), "import (\n", "import (\n\t\"github.com/heedhq/heed/normalizer/providers/aaacme\"\n", 1)
	text = strings.Replace(text, "[]adapter.Adapter{\n", "[]adapter.Adapter{\n\t\taaacme.New(),\n", 1)
	if err := os.WriteFile(filepath.Join(here, "providers.go"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run("go", "vet", ".", "./aaacme")
	run("go", "test", "-count=1", "./aaacme")
	run("go", "test", "-count=1", "-run", "TestAllNamesEveryFolder", ".")
	if out, err := exec.Command("bash", filepath.Join(here, "new.sh"), "aaacme").CombinedOutput(); err == nil {
		t.Errorf("a provider that is there was made again:\n%s", out)
	}
}
