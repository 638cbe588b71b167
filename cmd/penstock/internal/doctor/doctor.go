package doctor

// The command: every check asks a question (probe.go) and leaves the judgement to
// a pure function (judge.go).

import (
	"cmp"
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
)

type doctor struct {
	*cli.App
	link   cli.LinkFlags
	listen string
	json   bool
}

// Command returns the command doctor.
func Command(a *cli.App) *cobra.Command {
	c := doctor{App: a}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check etcd, our rights in it, and the sockets of senders",
		Long: `Doctor prints a line for each check: ok, warn or fail, what it found, and what to
do about it. It writes one key under the prefix, under a lease, and deletes it.

It checks that each endpoint of etcd answers, is 3.7.1 or newer, has a leader,
space and no alarm; that its clock and ours agree; that we may read, write and
delete under the prefix and read what members need to connect; that the settings
of topics decode; which address a sender on this machine would advertise, and
why (--listen is what it would be given); that every registered sender can be reached from here at each of
its URLs and speaks the protocol, and at its plain URLs, which have neither TLS
nor tokens; that certificates of senders are theirs, have
time left and, with --link-cacert, are of that authority; that senders and
members have a kind of link in common, where TLS is required; and that their
releases do not differ in what they can do over links.

Any fail ends the command with code 1, warnings alone with code 0.`,
		Example: `  penstock doctor
  penstock doctor --listen 'tcp://:7000?advertise=$POD_IP'
  penstock doctor --json | jq '.checks[] | select(.status != "ok")'`,
		Args: cli.Between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.Etcd.Add(cmd.Flags())
	c.link.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.listen, "listen", "", "`url` at which a sender on this machine is to listen, or several with spaces in between (default "+actors.DefaultListen+")")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *doctor) run(ctx context.Context) error {
	s, cfg, err := c.Settings()
	if err != nil {
		return err
	}
	space := keys.Space(s.Prefix)
	if err := space.Validate(); err != nil {
		return err
	}
	d := diagnosis{}
	d.add(judgeTransport(s.Endpoints, s.Secure()))
	d.addresses(ctx, cmp.Or(c.listen, actors.DefaultListen), thisNetwork)
	client, err := discovery.NewClient(cfg)
	if err != nil {
		d.add(judgeUnreached("etcd", s.Endpoints, err))
		return c.report(d)
	}
	defer client.Close()

	ours, _ := c.link.Certificates()
	answered := 0
	for _, e := range s.Endpoints {
		if d.endpoint(ctx, client, cfg, e, s.Timeout) {
			answered++
		}
	}
	if answered > 0 {
		d.rights(ctx, client, space, s.Timeout)
		d.topics(ctx, client, space, s.Timeout)
		d.senders(ctx, client, space, s.Timeout, ours)
	}
	if ctx.Err() != nil {
		return cli.Incompletef("ended before all was checked: %v", context.Cause(ctx))
	}
	return c.report(d)
}

func (c *doctor) report(d diagnosis) error {
	err := d.print(c.Out, c.json)
	if err == nil && !d.healthy() {
		err = c.Said(errors.New("something is wrong: see above"))
	}
	return err
}
