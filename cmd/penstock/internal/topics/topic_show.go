package topics

// What is in topics.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

type topicLs struct {
	*cli.App
	json bool
}

func topicLsCommand(a *cli.App) *cobra.Command {
	c := topicLs{App: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List topics",
		Long:  `Ls lists every topic under the prefix, by name.`,
		Example: `  penstock topic ls
  penstock topic ls --json | jq -r '.topics[].name'`,
		Args: cli.Between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicLs) run(ctx context.Context) error {
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		infos, err := rt.ListTopics(ctx)
		if err != nil {
			return err
		}
		list := struct {
			Topics []inventory.Topic `json:"topics"`
		}{[]inventory.Topic{}}
		for _, i := range infos {
			list.Topics = append(list.Topics, inventory.TopicOf(i))
		}
		if c.json {
			return cli.PrintJSON(c.Out, list)
		}
		if len(infos) == 0 {
			c.Say("no topics")
		}
		tw := cli.Table(c.Out)
		for _, t := range list.Topics {
			fmt.Fprintln(tw, t)
		}
		return tw.Flush()
	})
}

type topicDescribe struct {
	*cli.App
	json bool
}

func topicDescribeCommand(a *cli.App) *cobra.Command {
	c := topicDescribe{App: a}
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic's partitions, groups and lag",
		Long: `Describe shows the topic NAME as of one revision of etcd: for each partition the
first offset that can be read, the next to be written, how many records lie
between and what they take in etcd; then each group with its members and how far
it is.`,
		Example: `  penstock topic describe audit
  penstock topic describe audit --json | jq '.groups[] | {group, lag}'`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicDescribe) run(ctx context.Context, name string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeTopic(ctx, name)
		if err != nil {
			return err
		}
		v := viewDescription(d)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		return v.print(c.Out)
	})
}

func showTopic(w io.Writer, i penstock.TopicInfo, asJSON bool) error {
	v := inventory.TopicOf(i)
	if asJSON {
		return cli.PrintJSON(w, v)
	}
	tw := cli.Table(w)
	fmt.Fprintln(tw, v)
	return tw.Flush()
}

func topicDelayedCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delayed",
		Short: "List and cancel records that are delivered later",
		Long: `A record that was put with --deliver-at or --deliver-after waits until it is due.
Ls lists what waits in a topic, and cancel deletes some of it.`,
		Example: `  penstock topic delayed ls audit
  penstock topic delayed cancel audit 0:1234`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(topicDelayedLsCommand(a), topicDelayedCancelCommand(a))
	return cmd
}

type topicDelayedLs struct {
	*cli.App
	partitions []int
	json       bool
}

func topicDelayedLsCommand(a *cli.App) *cobra.Command {
	c := topicDelayedLs{App: a}
	cmd := &cobra.Command{
		Use:   "ls NAME",
		Short: "List the records of a topic that wait until they are due",
		Long: `Ls lists the records that wait in the topic NAME, partition by partition, in the
order in which they are due. The offset is that of their place, which cancel
takes. With --json each is an object on a line of its own, with its value.`,
		Example: `  penstock topic delayed ls audit
  penstock topic delayed ls audit --partitions 3 --json | jq -r .deliver_at`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().IntSliceVar(&c.partitions, "partitions", nil, "`numbers` of the partitions (default all)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object for each record")
	return cmd
}

// DelayedLine is a record that waits, as JSON.
type DelayedLine struct {
	lines.Payload
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	DeliverAt time.Time `json:"deliver_at"`
	ID        string    `json:"id,omitempty"`
}

func (c *topicDelayedLs) run(ctx context.Context, name string) error {
	if err := errors.Join(topicNamed(name), partitionsNumbered(c.partitions)); err != nil {
		return err
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, name)
		if err != nil {
			return err
		}
		tw, n := cli.Table(c.Out), 0
		for r, err := range t.Delayed(ctx, c.partitions...) {
			if err != nil {
				return errors.Join(err, tw.Flush())
			}
			if n++; c.json {
				line := DelayedLine{Payload: lines.PayloadOf(&r.Payload), Partition: r.Partition, Offset: r.Offset, DeliverAt: r.DeliverAt(), ID: r.ID()}
				if _, err := c.Out.Write(lines.AppendJSON(nil, line)); err != nil {
					return err
				}
				continue
			}
			if n == 1 {
				fmt.Fprintln(tw, "partition\toffset\tdue\tbytes\tkey\tid")
			}
			fmt.Fprintf(tw, "%d\t%d\t%s\t%d\t%s\t%s\n", r.Partition, r.Offset, r.DeliverAt().Format(time.RFC3339), len(r.Value), dash(cli.Clean(string(r.Key))), dash(cli.Clean(r.ID())))
		}
		if n == 0 && !c.json {
			c.Say("nothing waits")
		}
		return tw.Flush()
	})
}

type topicDelayedCancel struct {
	*cli.App
	json bool
}

func topicDelayedCancelCommand(a *cli.App) *cobra.Command {
	c := topicDelayedCancel{App: a}
	cmd := &cobra.Command{
		Use:   "cancel NAME PARTITION:OFFSET…",
		Short: "Delete records that wait before they are delivered",
		Long: `Cancel deletes records of the topic NAME that wait until they are due, named by
partition and by the offset of their place, without asking. The first that does
not wait there any more ends it, with an error: it was delivered or cancelled
before. A range is FROM-TO, both included.`,
		Example: `  penstock topic delayed cancel audit 0:1234
  penstock topic delayed cancel audit 0:1240-1250 3:7 --json`,
		Args:              cli.Between(2, 1<<16),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE: func(cmd *cobra.Command, args []string) error {
			offsets, err := parseOffsets(args[1:])
			if err != nil {
				return err
			}
			return c.run(cmd.Context(), args[0], offsets)
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicDelayedCancel) run(ctx context.Context, name string, offsets map[int][]int64) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, name)
		if err != nil {
			return err
		}
		cancelled := 0
		for _, p := range slices.Sorted(maps.Keys(offsets)) {
			for _, offset := range offsets[p] {
				if err := t.Cancel(ctx, p, offset); err != nil {
					if cancelled > 0 {
						err = fmt.Errorf("after %d records were cancelled: %w", cancelled, err)
					}
					return err
				}
				cancelled++
			}
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Cancelled int `json:"cancelled"`
			}{cancelled})
		}
		c.Say("cancelled %d records", cancelled)
		return nil
	})
}
