// Command heed is the operator's tool: topics, captured callbacks, keywords, dead letters,
// consent, subscriptions and lag. It is a client of Kafka and of the stages' APIs; it links no
// stage, and what it shows of a callback it computes with the stages' own pure packages.
//
// Kafka is configured as for the stages (HEED_KAFKA_...; see any stage's --help). Everything
// else is flags: heed COMMAND --help. Exit status: 0 done, 1 failed or differs, 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/heedhq/heed/internal/service"
)

func main() { service.Command(run) }

// command is one thing that the tool does.
type command struct {
	name  string // "topics apply"
	usage string // what comes after the name
	short string // one line
	help  string // the rest of --help
	// run declares its flags on the call, parses, and works.
	run func(ctx context.Context, c *call) error
}

func commands() []command {
	return slices.Concat(topicCommands(), explainCommands(), classifyCommands(), endpointCommands(), deadCommands(), consentCommands(), subscriptionCommands(), lagCommands(), trialCommands())
}

// call is one run of a command.
type call struct {
	command
	args    []string // what is left after call.parse
	flags   *flag.FlagSet
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) string
	environ []string
}

// The ways to end without success. Whoever returns errQuiet has said what there is to say.
var (
	errQuiet = errors.New("")
	errUsage = errors.New("wrong usage")
)

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		overview(stdout)
		return 0
	}
	if args[0] == "--version" {
		fmt.Fprintf(stdout, "heed %s\n", service.Version())
		return 0
	}
	one, rest, ok := find(args)
	if group := commandsOf(args[0]); !ok && len(group) > 0 {
		out, status := stderr, 2
		if len(args) > 1 && slices.Contains([]string{"help", "--help", "-h"}, args[1]) {
			out, status = stdout, 0
		} else {
			fmt.Fprintf(out, "heed: no such command: %s\n\n", strings.Join(args[:min(2, len(args))], " "))
		}
		fmt.Fprintf(out, "Usage: heed %s COMMAND [arguments]\n\n", args[0])
		list(out, group)
		return status
	}
	if !ok {
		fmt.Fprintf(stderr, "heed: no such command: %s\n\n", strings.Join(args[:min(2, len(args))], " "))
		overview(stderr)
		return 2
	}
	c := &call{command: one, args: rest, in: stdin, out: stdout, err: stderr, getenv: os.Getenv, environ: os.Environ()}
	c.flags = flag.NewFlagSet("heed "+one.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard) // parse says what is wrong
	switch err := one.run(ctx, c); {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		c.printHelp(stdout)
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "heed %s: %v\n(see heed %s --help)\n", one.name, err, one.name)
		return 2
	case errors.Is(err, errQuiet):
		return 1
	default:
		fmt.Fprintf(stderr, "heed %s: %v\n", one.name, err)
		return 1
	}
}

// find takes the command off args: the longest name that fits.
func find(args []string) (command, []string, bool) {
	for words := min(2, len(args)); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		for _, one := range commands() {
			if one.name == name {
				return one, args[words:], true
			}
		}
	}
	return command{}, nil, false
}

// commandsOf are the commands whose name begins with the word.
func commandsOf(word string) []command {
	return slices.DeleteFunc(commands(), func(one command) bool { return !strings.HasPrefix(one.name, word+" ") })
}

func list(w io.Writer, all []command) {
	for _, one := range all {
		fmt.Fprintf(w, "  %-22s %s\n", one.name, one.short)
	}
}

func overview(w io.Writer) {
	fmt.Fprintf(w, "heed is the operator's tool of Heed.\n\nUsage: heed COMMAND [arguments]\n\n")
	list(w, commands())
	fmt.Fprintf(w, "\nheed COMMAND --help says more. Kafka is named by HEED_KAFKA_BROKERS and the like, as for the stages.\n")
}

func (c *call) printHelp(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nUsage: heed %s %s\n", c.short, c.name, c.usage)
	if c.help != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.help))
	}
	head := "\n"
	c.flags.VisitAll(func(f *flag.Flag) {
		value, what := flag.UnquoteUsage(f)
		if value != "" {
			value = " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			what += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "%s  --%s%s\n        %s\n", head, f.Name, value, what)
		head = ""
	})
}

// parse parses the flags, which may stand before and after the other arguments, and leaves the
// others in args.
func (c *call) parse(least, most int) error {
	var others []string
	for rest := c.args; ; {
		if err := c.flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return usage("%v", err)
		}
		if rest = c.flags.Args(); len(rest) == 0 {
			break
		}
		others, rest = append(others, rest[0]), rest[1:]
	}
	c.args = others
	if len(others) < least || most >= 0 && len(others) > most {
		return usage("want: heed %s %s", c.name, c.usage)
	}
	return nil
}
