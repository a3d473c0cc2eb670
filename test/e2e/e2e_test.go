// Package e2e runs the end-to-end scripts, testdata/*.txtar, twice: over the four stages in one
// process, and over the four programs on real Kafka and Redis. A script is a story as its
// people see it; adding one needs no Go. Commands beside testscript's own:
//
//	post ENDPOINT FILE [STATUS]       a provider pushes the captured callback; wants 200
//	event KIND [PATH=VALUE...]        waits for a delivery of io.heed.KIND.v1 with these values in its data
//	consent DECISION REASON KEY=VALUE...   asks until the answer is this; keys: user channel agent brand category
//	flush                             empties Redis
//	kill STAGE, start STAGE           only under [programs]
//
// All scripts of one way share one road and run beside each other, so each has people of its own.
package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/road"
	"github.com/heedhq/heed/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

func TestInProcess(t *testing.T) {
	all := payloads(t)
	tour(t, road.InProcess(t, options(t, all)), all, false)
}

func TestProgramsOnKafkaAndRedis(t *testing.T) {
	all := payloads(t)
	tour(t, road.Processes(t, options(t, all)), all, true)
}

// tour is everything that one road is taken through.
func tour(t *testing.T, r *road.Road, all []payload, programs bool) {
	t.Run("every payload", func(t *testing.T) { everyPayload(t, r, all) })
	t.Run("scripts", func(t *testing.T) { scripts(t, r, programs) })
}

func options(t *testing.T, all []payload) road.Options {
	t.Helper()
	t.Setenv("GUARDED_TOKEN", "token-of-the-guarded-endpoint") // endpoints.yaml names it
	return road.Options{
		Endpoints:     string(read(t, "testdata/endpoints.yaml")) + entries(all),
		Subscriptions: string(read(t, "testdata/subscriptions.yaml")),
	}
}

func scripts(t *testing.T, r *road.Road, programs bool) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "programs" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return programs, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"post":    func(ts *testscript.TestScript, neg bool, args []string) { post(ts, r, neg, args) },
			"event":   func(ts *testscript.TestScript, neg bool, args []string) { delivered(ts, r, neg, args) },
			"consent": func(ts *testscript.TestScript, neg bool, args []string) { consent(ts, r, neg, args) },
			"flush":   func(ts *testscript.TestScript, _ bool, _ []string) { r.Flush() },
			"kill":    func(ts *testscript.TestScript, _ bool, args []string) { r.Stages[args[0]].Kill() },
			"start": func(ts *testscript.TestScript, _ bool, args []string) {
				r.Stages[args[0]].Start()
				r.AwaitReady(args[0])
			},
		},
	})
}

func post(ts *testscript.TestScript, r *road.Road, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: post ENDPOINT FILE [STATUS]")
	}
	want := http.StatusOK
	if len(args) == 3 {
		var err error
		want, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	// A script's lines end as a text file's do; HTTP's end with CR LF.
	head, body, _ := strings.Cut(ts.ReadFile(args[1]), "\n\n")
	callback, err := schemas.ParseCapture([]byte(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + strings.TrimSuffix(body, "\n")))
	ts.Check(err)
	status, answer, err := r.Post(context.Background(), args[0], callback)
	ts.Check(err)
	if status != want {
		ts.Fatalf("answered %d, want %d: %s", status, want, answer)
	}
}

func delivered(ts *testscript.TestScript, r *road.Road, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: event KIND [PATH=VALUE...]")
	}
	kind := "io.heed." + args[0] + ".v1"
	got, err := r.Sink.Await(context.Background(), func(d *road.Delivery) bool {
		return d.Type == kind && !slices.ContainsFunc(args[1:], func(arg string) bool {
			path, want, _ := strings.Cut(arg, "=")
			got, ok := d.Value(path)
			return !ok || got != want
		})
	})
	if err != nil {
		for _, d := range r.Sink.All() {
			if d.Type == kind {
				ts.Logf("delivered: %s", d.Data)
			}
		}
		ts.Fatalf("%v", err)
	}
	ts.Logf("%s %s: %s", got.Source, got.ID, got.Data)
}

func consent(ts *testscript.TestScript, r *road.Road, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: consent DECISION REASON KEY=VALUE...")
	}
	var check schemas.Check
	for _, arg := range args[2:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "user":
			check.User = schemas.Address(value)
		case "channel":
			check.Channel = schemas.Channel(value)
		case "agent":
			check.Agent = value
		case "brand":
			check.Brand = value
		case "category":
			check.Category = value
		default:
			ts.Fatalf("unknown key %q", key)
		}
	}
	ts.Check(road.Until(context.Background(), func() (bool, string) {
		got, err := r.Check(context.Background(), check)
		if err != nil {
			return false, err.Error()
		}
		answer := fmt.Sprintf("%s %s", got.Decision, got.Reason)
		return answer == args[0]+" "+args[1], "the consent API still says " + answer
	}))
}
