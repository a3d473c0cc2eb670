package main

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/heedhq/heed/internal/stream/devbroker"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"heed": main})
}

// TestScripts runs the tool as a program: testdata/*.txtar. Every script has a broker of its own
// and free addresses in $ADDR and $ADDR2.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"await": await},
		Setup: func(env *testscript.Env) error {
			broker, err := devbroker.Open(devbroker.Options{})
			if err != nil {
				return err
			}
			env.Defer(broker.Close)
			env.Setenv("HEED_KAFKA_BROKERS", broker.ListenAddrs()[0])
			for _, name := range []string{"ADDR", "ADDR2"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				env.Setenv(name, l.Addr().String())
				if err := l.Close(); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// await waits until something answers at a URL: await http://$ADDR/
func await(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: await URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodOptions, args[0], nil)
		ts.Check(err)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if ctx.Err() != nil {
			ts.Fatalf("nothing answers at %s: %v", args[0], err)
		}
	}
}
