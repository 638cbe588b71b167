// Jetstream is a log for benchmarks/quick to compare topics with: NATS
// JetStream in this process, its file store in a temporary directory. It
// measures what standard input asks for and answers on standard output, one
// JSON object a line, until its input ends:
//
//	$ cd benchmarks/peers
//	$ echo '{"op":"put","size":64,"count":200000} {"op":"consume"}' | go run ./jetstream
//
// Records are published asynchronously with acknowledgements, and consumed with
// one explicit acknowledgement each. The store syncs to disk every two minutes,
// which is its default; topics sync each append.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jetstream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	log, err := open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(load.Serve(ctx, os.Stdin, os.Stdout, log), log.Close())
}
