package allinone

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/consent"
	"github.com/heedhq/heed/dispatcher"
	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/normalizer"
	"github.com/heedhq/heed/schemas"
)

var update = flag.Bool("update", false, "write CONFIGURATION.md anew")

func stages() []service.Stage {
	return []service.Stage{ingest.Stage(), normalizer.Stage(), consent.Stage(), dispatcher.Stage()}
}

// TestVariables: a name that some stage reads must be known to all, or one environment could not
// serve all four; and a known name that nobody reads would be taken without effect.
func TestVariables(t *testing.T) {
	read := []string{"HEED_CONSENT_URL"} // heed consent's, and the dispatcher's when it asks before delivering
	for _, stage := range stages() {
		read = append(read, stage.Variables()...)
	}
	slices.Sort(read)
	read = slices.Compact(read)
	if diff := cmp.Diff(schemas.Variables(), read); diff != "" {
		t.Errorf("schemas.Variables() (-) and what the stages read (+) differ:\n%s", diff)
	}
	for i, name := range schemas.Variables() {
		if i > 0 && schemas.Variables()[i-1] >= name {
			t.Errorf("schemas.Variables() is not sorted at %s", name)
		}
	}
}

// TestReference holds CONFIGURATION.md against --help of the four stages (-update writes it).
func TestReference(t *testing.T) {
	const path = "../../CONFIGURATION.md"
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Configuration

What `+"`bin/<stage> --help`"+` prints, for reading here. A test holds the two together; to write this
file anew: `+"`go test ./deploy/allinone -run Reference -update`"+`.

A `+"`HEED_`"+` name that no stage knows stops the start, with a suggestion; another stage's is passed by, so
one file can serve all four. `+"`--check`"+` reads everything and says what is wrong with it, all at once.
Durations are written 15s or 750ms, sizes 512KiB or 1MiB. Secrets come as values or as files, and are
never printed.
`)
	for _, stage := range stages() {
		fmt.Fprintf(&b, "\n## %s\n\n```text\n", stage.Name)
		stage.Help(&b)
		fmt.Fprintf(&b, "```\n")
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), b.String()); diff != "" {
		t.Errorf("CONFIGURATION.md (-) is not what the stages print (+); go test ./deploy/allinone -run Reference -update writes it:\n%s", diff)
	}
}
