package topics

// Consumer groups: where they are, and moving them.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Group returns the command group with its commands.
func Group(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "List, show, reset, pause and delete the consumer groups of topics",
		Long: `A consumer group shares out the partitions of a topic among its members, and
remembers in etcd how far it is. It outlives its members. Groups of destinations can be
paused here, too.`,
		Example: `  penstock group ls audit
  penstock group describe audit billing
  penstock group reset audit billing --to earliest
  penstock group pause audit billing --for 10m
  penstock group delete audit billing`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(groupLsCommand(a), groupDescribeCommand(a), groupResetCommand(a),
		groupPauseCommand(a), groupResumeCommand(a), groupDeleteCommand(a))
	return cmd
}

type groupLs struct {
	*cli.App
	json bool
}

func groupLsCommand(a *cli.App) *cobra.Command {
	c := groupLs{App: a}
	cmd := &cobra.Command{
		Use:   "ls TOPIC",
		Short: "List the consumer groups of a topic",
		Long:  `Ls prints the names of the groups of the topic TOPIC, with or without members.`,
		Example: `  penstock group ls audit
  penstock group ls audit --json | jq -r '.groups[]'`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *groupLs) run(ctx context.Context, topic string) error {
	if err := topicNamed(topic); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		groups, err := rt.ListConsumerGroups(ctx, topic)
		if err != nil {
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Topic  string   `json:"topic"`
				Groups []string `json:"groups"`
			}{topic, append([]string{}, groups...)})
		}
		if len(groups) == 0 {
			c.Say("no groups of %s", topic)
		}
		for _, g := range groups {
			if _, err := fmt.Fprintln(c.Out, cli.Clean(g)); err != nil {
				return err
			}
		}
		return nil
	})
}

type groupDescribe struct {
	*cli.App
	json bool
}

func groupDescribeCommand(a *cli.App) *cobra.Command {
	c := groupDescribe{App: a}
	cmd := &cobra.Command{
		Use:   "describe TOPIC GROUP",
		Short: "Show a consumer group's members, offsets and lag",
		Long: `Describe shows the group GROUP of the topic TOPIC as of one revision of etcd. In
each partition the lag is how many records the group has still to commit; a dash
stands where it has committed nothing, and where nobody owns the partition.`,
		Example: `  penstock group describe audit billing
  penstock group describe audit billing --json | jq .lag`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *groupDescribe) run(ctx context.Context, topic, group string) error {
	if err := topicNamed(topic, group); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		g, err := rt.DescribeConsumerGroup(ctx, topic, group)
		if err != nil {
			return err
		}
		v := viewGroup(g)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		return v.print(c.Out)
	})
}

type groupReset struct {
	*cli.App
	to                  string
	partitions          []int
	create              bool
	dryRun, force, json bool
}

func groupResetCommand(a *cli.App) *cobra.Command {
	c := groupReset{App: a}
	cmd := &cobra.Command{
		Use:   "reset TOPIC GROUP --to START",
		Short: "Move a consumer group's offsets",
		Long: `Reset moves the committed offsets of the group GROUP of the topic TOPIC, in all
partitions or those of --partitions, and prints the old and the new offset of each.
A time stands for the start of the first batch with a record of that time or later.
A group that does not exist is refused, with code 1: --create makes one whose first
member begins there.

A group with members is refused, with code 1, because its members move its
offsets. --force takes their partitions away: they start again at the new offsets.`,
		Example: `  penstock group reset audit billing --to earliest --dry-run
  penstock group reset audit billing --to 2026-11-22T03:00:00Z
  penstock group reset audit billing --to 30m --partitions 0,1 --force`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.to, "to", "", "`start` to move to: "+startHelp)
	f.IntSliceVar(&c.partitions, "partitions", nil, "`numbers` of the partitions to move (default all)")
	cli.CompleteFlag(cmd, "to", "earliest", "latest")
	f.BoolVar(&c.create, "create", false, "make the group if it does not exist")
	f.BoolVar(&c.dryRun, "dry-run", false, "print what would be done and do nothing")
	f.BoolVar(&c.force, "force", false, "reset the group although it has members")
	f.BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *groupReset) run(ctx context.Context, topic, group string) error {
	if err := errors.Join(topicNamed(topic, group), partitionsNumbered(c.partitions)); err != nil {
		return err
	}
	if c.to == "" {
		return cli.Usagef("--to is missing: want %s", startHelp)
	}
	to, err := parseStart("--to", c.to, time.Now())
	if err != nil {
		return err
	}
	var opts []penstock.ResetOption
	if c.partitions != nil {
		opts = append(opts, penstock.OnlyPartitions(c.partitions...))
	}
	if c.dryRun {
		opts = append(opts, penstock.DryRun())
	}
	if c.force {
		opts = append(opts, penstock.Force())
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		if !c.create {
			groups, err := rt.ListConsumerGroups(ctx, topic)
			if err != nil {
				return err
			}
			if !slices.Contains(groups, group) {
				return fmt.Errorf("reset group %s of topic %s: %w: --create makes it", group, topic, penstock.ErrNoGroup)
			}
		}
		changes, err := rt.ResetOffsets(ctx, topic, group, to, opts...)
		if errors.Is(err, penstock.ErrGroupLive) {
			return fmt.Errorf("%w: stop them first, or use --force", err)
		}
		if err != nil {
			return err
		}
		return c.show(topic, group, changes)
	})
}

type groupDelete struct {
	*cli.App
	json bool
}

func groupDeleteCommand(a *cli.App) *cobra.Command {
	c := groupDelete{App: a}
	cmd := &cobra.Command{
		Use:   "delete TOPIC GROUP",
		Short: "Delete a consumer group with its offsets",
		Long: `Delete removes the group GROUP of the topic TOPIC, without asking: its settings, and
how far it is. The topic's records stay. A group with members is refused, with code 1,
because they would make it again and begin from the start: stop them first.`,
		Example:           "  penstock group delete audit billing",
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *groupDelete) run(ctx context.Context, topic, group string) error {
	if err := topicNamed(topic, group); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		err := rt.DeleteConsumerGroup(ctx, topic, group)
		if errors.Is(err, penstock.ErrGroupLive) {
			return fmt.Errorf("%w: stop them first", err)
		}
		if err != nil {
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Topic   string `json:"topic"`
				Deleted string `json:"deleted"`
			}{topic, group})
		}
		c.Say("deleted group %s of %s", group, topic)
		return nil
	})
}

// offsetMove is a change of one partition; From is null where nothing was
// committed.
type offsetMove struct {
	Partition int    `json:"partition"`
	From      *int64 `json:"from"`
	To        int64  `json:"to"`
}

func (c *groupReset) show(topic, group string, changes []penstock.OffsetChange) error {
	moves := []offsetMove{}
	for _, ch := range changes {
		m := offsetMove{Partition: ch.Partition, To: ch.To}
		if ch.From >= 0 {
			m.From = &ch.From
		}
		moves = append(moves, m)
	}
	if c.json {
		return cli.PrintJSON(c.Out, struct {
			Topic   string       `json:"topic"`
			Group   string       `json:"group"`
			DryRun  bool         `json:"dry_run"`
			Changes []offsetMove `json:"changes"`
		}{topic, group, c.dryRun, moves})
	}
	tw := cli.Table(c.Out)
	fmt.Fprintln(tw, "partition\tfrom\tto")
	for _, m := range moves {
		from := ""
		if m.From != nil {
			from = fmt.Sprint(*m.From)
		}
		fmt.Fprintf(tw, "%d\t%s\t%d\n", m.Partition, dash(from), m.To)
	}
	if c.dryRun {
		c.Say("nothing was changed")
	}
	return tw.Flush()
}
