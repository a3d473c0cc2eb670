// Heed-demo runs Heed's four real stages in one process against an in-process Kafka broker and
// an in-process Redis, plays a few callbacks of the providers' documents through them, and
// shows step by step what happens: the event, the block after a STOP, the delivery.
//
// Then it leaves the addresses open for curl until Ctrl-C. With --once it plays the samples,
// checks that everything came as it should, and exits: 0, or 1 and what failed.
//
// Nothing survives its end, and it protects nothing (the pseudonym key is public): for a look,
// never for production. Everything listens on loopback only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/heedhq/heed/deploy/allinone"
	"github.com/heedhq/heed/internal/service"
)

func main() { service.Command(demo) }

func demo(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("heed-demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	once := flags.Bool("once", false, "play the samples, check what came of them, and exit")
	logs := flags.String("logs", "", "write the stages' logs to this `file` (default: a file in the temporary folder; - is standard error)")
	ingest := flags.String("ingest", "", "`address` of ingest (default 127.0.0.1:8080, with --once a free port)")
	consent := flags.String("consent", "", "`address` of the consent API (default 127.0.0.1:8082, with --once a free port)")
	dispatcher := flags.String("dispatcher", "", "`address` of the dispatcher's API (default 127.0.0.1:8083, with --once a free port)")
	flags.Usage = func() {
		fmt.Fprintf(stderr, "heed-demo: Heed's four stages in one process, for a first look.\n\nUsage: heed-demo [flags]\n\n")
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "heed-demo: unknown argument %q (see --help)\n", flags.Arg(0))
		return 2
	}
	if !*once {
		for p, addr := range map[*string]string{ingest: "127.0.0.1:8080", consent: "127.0.0.1:8082", dispatcher: "127.0.0.1:8083"} {
			if *p == "" {
				*p = addr
			}
		}
	}
	dir, err := os.MkdirTemp("", "heed-demo-")
	if err != nil {
		fmt.Fprintln(stderr, "heed-demo:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	out, where := stderr, "standard error"
	if *logs != "-" {
		where = *logs
		if where == "" {
			where = filepath.Join(dir, "stages.log")
		}
		file, err := os.Create(where)
		if err != nil {
			fmt.Fprintln(stderr, "heed-demo:", err)
			return 1
		}
		defer file.Close()
		out = file
	}
	play := &player{out: stdout, dir: dir, logs: where}
	err = play.run(ctx, allinone.Options{Ingest: *ingest, Consent: *consent, Dispatcher: *dispatcher, Logs: out}, *once)
	if err != nil {
		fmt.Fprintf(stderr, "heed-demo: %v\n", err)
		if where != "standard error" {
			tail(stderr, where)
		}
		return 1
	}
	return 0
}

// tail shows the end of the stages' logs, where the reason of a failure mostly stands.
func tail(w io.Writer, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	const last = 4096
	if len(data) > last {
		data = data[len(data)-last:]
	}
	fmt.Fprintf(w, "The end of the stages' logs:\n%s", data)
}
