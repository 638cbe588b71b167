package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A reader of our output that goes away is an error of a write, so that
	// what was not written can be given back.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process
	os.Exit(int(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)))
}
