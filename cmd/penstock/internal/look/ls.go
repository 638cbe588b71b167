package look

// What etcd shows.

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages/keys"
)

type ls struct {
	*cli.App
	json bool
}

// Ls returns the command ls.
func Ls(a *cli.App) *cobra.Command {
	c := ls{App: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List destinations, senders, groups, members and topics",
		Long: `Ls reads etcd and nothing else: it shows every process that has
registered and whose lease has not ended. A process that died is shown until then. Topics are listed after the
destinations; "penstock topic describe" shows what is in one.

Where etcd's roles do not let it read everything, it shows the rest and says what
is left out; without any right it ends with code 5.

With --json times are in RFC 3339 and UTC; keep_for_ms is -1 for a group that is
kept forever.`,
		Example: `  penstock ls
  penstock ls --json | jq -r '.destinations[].name'`,
		Args: cli.Between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *ls) run(ctx context.Context) error {
	s, client, err := c.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	space := keys.Space(s.Prefix)
	if err := space.Validate(); err != nil {
		return err
	}
	listing, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	inv, err := inventory.Read(listing, client, s.User, space)
	if err != nil {
		return cli.Explain(ctx, err, s.Endpoints)
	}
	for _, what := range inv.Denied {
		c.Say("warning: not everything is shown: %s", cli.Clean(what))
	}
	for _, key := range inv.Unreadable {
		c.Say("warning: %s does not decode", cli.Clean(key))
	}
	if c.json {
		return cli.PrintJSON(c.Out, inv)
	}
	if len(inv.Destinations)+len(inv.Topics) == 0 {
		c.Say("nothing to show under %s", s.Prefix)
	}
	return inv.Print(c.Out)
}
