package pipes

// The tokens with which members link: which generation senders have, and replacing them.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

// Token returns the command token with its commands.
func Token(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "List, rotate and revoke the tokens with which members join groups",
		Long: `Each sender has a token for each group of its destination, and one for all groups. Who
may read a group's tokens in etcd may join the group. Tokens have generations: senders
draw new ones when the generation is raised.`,
		Example: `  penstock token ls orders
  penstock token rotate orders billing
  penstock token revoke orders billing`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(tokenLsCommand(a), tokenRotateCommand(a), tokenRevokeCommand(a))
	return cmd
}

// tokensNamed judges a destination, or what a shared group lends over, and a group unless
// it is empty.
func tokensNamed(dest, group string) error {
	err := keys.ValidateDestination(dest, true)
	if group != "" {
		err = errors.Join(err, keys.ValidateName("group", group))
	}
	return err
}

type tokenLs struct {
	*cli.App
	json bool
}

func tokenLsCommand(a *cli.App) *cobra.Command {
	c := tokenLs{App: a}
	cmd := &cobra.Command{
		Use:   "ls DEST",
		Short: "List which tokens the senders of a destination have",
		Long: `Ls prints a line for each group of the destination DEST and each sender: the generation
that its token is of, the one before that is good beside it until its grace is over, and
how old the token is. The group * is the token for all groups. The generation is marked
with ! when the sender has not drawn the token that it is to have. Tokens are not shown.`,
		Example: `  penstock token ls orders
  penstock token ls orders --json | jq '.tokens[] | select(.group == "billing")'`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeDestination(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// tokenView is what is printed of a group's tokens.
type tokenView struct {
	Group      string           `json:"group"` // empty for the token for all groups
	Generation uint64           `json:"generation"`
	Least      uint64           `json:"least"`           // generations below it are revoked
	Since      *time.Time       `json:"since,omitempty"` // of the generation, if there was a rotation
	Senders    []senderTokenRow `json:"senders"`
}

type senderTokenRow struct {
	Sender     string     `json:"sender"`
	Generation uint64     `json:"generation"`
	Before     *uint64    `json:"before,omitempty"` // is good beside it
	Since      *time.Time `json:"since,omitempty"`  // absent of earlier releases
	AgeMs      int64      `json:"age_ms,omitempty"`
}

func tokenViewOf(t penstock.TokenInfo, now time.Time) tokenView {
	v := tokenView{Group: t.Group, Generation: t.Generation, Least: t.Least, Since: moment(t.Since), Senders: []senderTokenRow{}}
	for _, s := range t.Senders {
		row := senderTokenRow{Sender: s.Sender, Generation: s.Generation, Since: moment(s.Since)}
		if s.Two {
			row.Before = &s.Before
		}
		if row.Since != nil {
			row.AgeMs = max(0, now.Sub(s.Since).Milliseconds())
		}
		v.Senders = append(v.Senders, row)
	}
	return v
}

func moment(t time.Time) *time.Time {
	if t.UnixMilli() <= 0 {
		return nil
	}
	t = t.UTC()
	return &t
}

func (c *tokenLs) run(ctx context.Context, dest string) error {
	if err := tokensNamed(dest, ""); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		all, err := rt.DescribeTokens(ctx, dest)
		if err != nil {
			return err
		}
		now, views := time.Now(), []tokenView{}
		for _, t := range all {
			views = append(views, tokenViewOf(t, now))
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Destination string      `json:"destination"`
				Tokens      []tokenView `json:"tokens"`
			}{dest, views})
		}
		return c.print(views)
	})
}

func (c *tokenLs) print(views []tokenView) error {
	w := cli.Table(c.Out)
	fmt.Fprintln(w, "GROUP\tSENDER\tGENERATION\tBEFORE\tAGE")
	for _, v := range views {
		group := v.Group
		if group == "" {
			group = "*"
		}
		for _, s := range v.Senders {
			generation, before, age := fmt.Sprint(s.Generation), "-", "-"
			if s.Generation != v.Generation {
				generation += fmt.Sprintf(" ! not %d", v.Generation)
			}
			if s.Before != nil {
				before = fmt.Sprint(*s.Before)
			}
			if s.Since != nil {
				age = (time.Duration(s.AgeMs) * time.Millisecond).Truncate(time.Second).String()
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", group, s.Sender, generation, before, age)
		}
	}
	return w.Flush()
}

type tokenReplace struct {
	*cli.App
	grace time.Duration
	json  bool
}

func tokenRotateCommand(a *cli.App) *cobra.Command {
	c := tokenReplace{App: a}
	cmd := &cobra.Command{
		Use:   "rotate DEST [GROUP]",
		Short: "Replace tokens, the ones before being good for a while",
		Long: `Rotate has all senders of the destination DEST draw new tokens for the group GROUP;
without GROUP for every group, and the token for all groups. The tokens before are good
beside the new ones for the time of --grace. Members finish what they have in hand and
link again with the new ones meanwhile: nothing is lost, and nothing handled twice that
is finished in that time. Who may not read the new tokens in etcd is out when it is over.

It does not wait for the senders; token ls shows how far they are.`,
		Example: `  penstock token rotate orders billing
  penstock token rotate orders --grace 10m`,
		Args:              cli.Between(1, 2),
		ValidArgsFunction: completeDestination(a, completeGroupOf(a)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.grace < time.Second {
				return cli.Usagef("--grace %s: want a second or more; token revoke has none", c.grace)
			}
			return c.run(cmd.Context(), args, "rotated", func(ctx context.Context, rt *penstock.Runtime, dest, group string) (map[string]uint64, error) {
				return rt.RotateTokens(ctx, dest, group, c.grace)
			})
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().DurationVar(&c.grace, "grace", time.Minute, "how long the tokens before are good")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func tokenRevokeCommand(a *cli.App) *cobra.Command {
	c := tokenReplace{App: a}
	cmd := &cobra.Command{
		Use:   "revoke DEST [GROUP]",
		Short: "Replace tokens, and end the links of the ones before at once",
		Long: `Revoke has all senders of the destination DEST draw new tokens for the group GROUP;
without GROUP for every group, and the token for all groups. All links that were made
with the tokens before end at once, and what their members had in hand is delivered
again. A sender that cannot reach etcd does so when it can again.

Who may read the new tokens links again: take the right in etcd away first. Members that
may read the token for all groups of the destination are out only without GROUP.`,
		Example: `  etcdctl role revoke-permission join-billing --prefix /penstock/secret/orders/billing/
  penstock token revoke orders billing`,
		Args:              cli.Between(1, 2),
		ValidArgsFunction: completeDestination(a, completeGroupOf(a)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args, "revoked", func(ctx context.Context, rt *penstock.Runtime, dest, group string) (map[string]uint64, error) {
				return rt.RevokeTokens(ctx, dest, group)
			})
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// generationView is what is printed of a group whose tokens were replaced.
type generationView struct {
	Group      string `json:"group"` // empty for the token for all groups
	Generation uint64 `json:"generation"`
}

func (c *tokenReplace) run(ctx context.Context, args []string, done string, replace func(context.Context, *penstock.Runtime, string, string) (map[string]uint64, error)) error {
	dest, group := args[0], ""
	if len(args) > 1 {
		if group = args[1]; group == "" {
			return cli.Usagef("the group is empty")
		}
	}
	if err := tokensNamed(dest, group); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		generations, err := replace(ctx, rt, dest, group)
		if err != nil {
			return err
		}
		views := []generationView{}
		for _, name := range slices.Sorted(maps.Keys(generations)) {
			views = append(views, generationView{name, generations[name]})
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Destination string           `json:"destination"`
				Tokens      []generationView `json:"tokens"`
			}{dest, views})
		}
		for _, v := range views {
			of := "group " + v.Group
			if v.Group == "" {
				of = "all groups"
			}
			c.Say("%s the tokens of %s for %s: generation %d", done, dest, of, v.Generation)
		}
		return nil
	})
}
