package serve

// The command, from its flags to the end of etcd.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// serveStart bounds the start: a large database takes its time to be read.
const serveStart = 2 * time.Minute

type serve struct {
	*cli.App
	dir, listen string
}

// Command returns the command serve.
func Command(a *cli.App) *cobra.Command {
	c := serve{App: a}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run an etcd of one member in this process",
		Long: `Serve runs a real etcd, version 3.7, of one member, until SIGINT or SIGTERM. Any
etcd client can use it. It prints "ready http://HOST:PORT" on standard output
once it answers. It has no TLS and no users: keep it on a loopback address or a
trusted network, or run an etcd of your own.

Its file is defragmented in quiet moments, which the command says.

When etcd fails, as on a full disk, the command says why and ends with code 1.
What etcd had answered before is on the disk.`,
		Example: `  penstock serve
  penstock serve --dir /var/lib/penstock --listen 10.0.0.5:2379
  penstock serve --dir "" --listen 127.0.0.1:0     # a temporary one, on any free port`,
		Args: cli.Between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.dir, "dir", "penstock.etcd", "`directory` of the data, created if it does not exist; empty: a temporary one, removed at the end")
	cmd.Flags().StringVar(&c.listen, "listen", cli.DefaultEtcd, "`host:port` to listen on; port 0 is any free one")
	return cmd
}

func (c *serve) defragmented(d embedded.Defragmentation) {
	switch {
	case d.Err != nil:
		c.Say("warning: the database could not be defragmented, and has %d bytes: %v", d.Before, d.Err)
	case d.Disarmed && d.Took == 0:
		c.Say("the database has room, with %d bytes: the alarm of a full etcd is over", d.After)
	case d.Disarmed:
		c.Say("defragmented to %d bytes, of %d before: the alarm of a full etcd is over", d.After, d.Before)
	default:
		c.Say("defragmented to %d bytes, of %d before", d.After, d.Before)
	}
}

func (c *serve) run(ctx context.Context) error {
	opts := []embedded.Option{embedded.Listen(c.listen), embedded.OnDefragment(c.defragmented)}
	if l := c.Logger(); l != nil {
		opts = append(opts, embedded.Logger(l))
	}
	if cli.Exposed(c.listen) {
		c.Say("warning: whoever can reach %s can read and change everything in it", c.listen)
	}
	starting, cancel := context.WithTimeout(ctx, serveStart)
	defer cancel()
	srv, err := embedded.Start(starting, c.dir, opts...)
	if err != nil {
		if ctx.Err() != nil {
			return cli.Incompletef("ended before it was ready: %v", context.Cause(ctx))
		}
		if errors.Is(err, penstock.ErrAddrInUse) {
			err = fmt.Errorf("%w; here that is --listen", err)
		}
		return err
	}
	if _, err := fmt.Fprintf(c.Out, "ready http://%s\n", srv.Endpoint()); err != nil {
		return errors.Join(err, srv.Close())
	}
	select {
	case err := <-srv.Err():
		return errors.Join(err, srv.Close())
	case <-ctx.Done():
		return srv.Close()
	}
}
