package service

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Command runs a command-line tool as this process's program: SIGINT and SIGTERM end its
// context, what it returns is the exit status.
func Command(tool func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := tool(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
