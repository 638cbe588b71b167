package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // schedules name time zones, and a host may have none
)

// signalApart is how long after the first signal another one counts. One wish
// to end may come as several signals: timeout(1) signals its child and then its
// group, and a terminal signals everybody in front.
const signalApart = time.Second

// stamp is a version that the linker was given: -ldflags "-X main.stamp=1.2.3".
var stamp string

func main() {
	// A reader of our output that goes away is an error of a write, so that
	// what was not written can be given back.
	signal.Ignore(syscall.SIGPIPE)
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		time.AfterFunc(signalApart, release) // from then on a signal ends the process
	})
	os.Exit(int(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)))
}
