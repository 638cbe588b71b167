package topics

// Records of topics are deleted here.

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

type topicTruncate struct {
	*cli.App
	purge      bool // all there is, also what waits until it is due; else what lies before
	before     string
	partitions []int
	json       bool
}

func topicTruncateCommand(a *cli.App) *cobra.Command {
	c := topicTruncate{App: a}
	cmd := &cobra.Command{
		Use:   "truncate NAME --before WHERE",
		Short: "Delete the oldest records of a topic",
		Long: `Truncate deletes what lies before WHERE in the topic NAME, without asking, and
prints where its partitions begin now. Groups that stood there continue at the
new beginning, and miss what was deleted. A time deletes the batches before the
first that has a record of that time or later.`,
		Example: `  penstock topic truncate audit --before 2026-11-01T00:00:00Z
  penstock topic truncate audit --before 24h
  penstock topic truncate audit --before 5000 --partitions 3`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.before == "" {
				return cli.Usagef("give --before: %s", startHelp)
			}
			return c.run(cmd.Context(), args[0])
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.before, "before", "", "delete what lies before `where`: "+startHelp)
	c.add(cmd)
	return cmd
}

func topicPurgeCommand(a *cli.App) *cobra.Command {
	c := topicTruncate{App: a, purge: true}
	cmd := &cobra.Command{
		Use:   "purge NAME",
		Short: "Delete all records of a topic",
		Long: `Purge deletes all records that the topic NAME has now, also those that wait until
they are due, without asking, and prints where its partitions begin then. The topic,
its groups and its offsets stay.`,
		Example: `  penstock topic purge audit
  penstock topic purge audit --partitions 0,1 --json`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	c.add(cmd)
	return cmd
}

func (c *topicTruncate) add(cmd *cobra.Command) {
	cmd.Flags().IntSliceVar(&c.partitions, "partitions", nil, "`numbers` of the partitions (default all)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
}

// truncatedPartition is what was done to one.
type truncatedPartition struct {
	Partition int   `json:"partition"`
	From      int64 `json:"from"`
	Start     int64 `json:"start"`
	Erased    int   `json:"erased"`
}

func (c *topicTruncate) run(ctx context.Context, name string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	if err := partitionsNumbered(c.partitions); err != nil {
		return err
	}
	trim := func(ctx context.Context, t *penstock.Topic) ([]penstock.Truncated, error) {
		return t.Purge(ctx, c.partitions...)
	}
	if !c.purge {
		before, err := parseStart("--before", c.before, time.Now())
		if err != nil {
			return err
		}
		trim = func(ctx context.Context, t *penstock.Topic) ([]penstock.Truncated, error) {
			return t.Truncate(ctx, before, c.partitions...)
		}
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, name)
		if err != nil {
			return err
		}
		all, err := trim(ctx, t)
		list := struct {
			Topic      string               `json:"topic"`
			Partitions []truncatedPartition `json:"partitions"`
		}{name, []truncatedPartition{}}
		for _, p := range all {
			list.Partitions = append(list.Partitions, truncatedPartition(p))
		}
		if err != nil && len(all) == 0 {
			return err
		}
		if c.json {
			if perr := cli.PrintJSON(c.Out, list); perr != nil {
				return perr
			}
			return err
		}
		tw := cli.Table(c.Out)
		for _, p := range list.Partitions {
			fmt.Fprintf(tw, "partition %d\tbegan at %d\tbegins at %d", p.Partition, p.From, p.Start)
			if p.Erased > 0 {
				fmt.Fprintf(tw, "\terased %d behind that", p.Erased)
			}
			fmt.Fprintln(tw)
		}
		if perr := tw.Flush(); perr != nil {
			return perr
		}
		return err
	})
}

type topicDeleteRecords struct {
	*cli.App
	key  string
	json bool
}

func topicDeleteRecordsCommand(a *cli.App) *cobra.Command {
	c := topicDeleteRecords{App: a}
	cmd := &cobra.Command{
		Use:   "delete-records NAME [PARTITION:OFFSET…]",
		Short: "Delete single records of a topic, or all of a key",
		Long: `Delete-records erases records of the topic NAME, without asking, and prints how
many there were: those that are named by partition and offset, or with --key all
that have that key. Their neighbours keep their offsets. A range is FROM-TO, both
included. With --key the whole topic is read.`,
		Example: `  penstock topic delete-records audit 0:1234 0:1240-1250 3:7
  penstock topic delete-records audit --key user-17 --json`,
		Args:              cli.Between(1, 1<<16),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE: func(cmd *cobra.Command, args []string) error {
			offsets, err := parseOffsets(args[1:])
			switch {
			case err != nil:
				return err
			case len(offsets) > 0 && c.key != "":
				return cli.Usagef("give PARTITION:OFFSET or --key, not both")
			case len(offsets) == 0 && c.key == "":
				return cli.Usagef("give PARTITION:OFFSET, one or several, or --key")
			}
			return c.run(cmd.Context(), args[0], offsets)
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.key, "key", "", "delete all records with this `key`")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// mostOffsets bounds what the arguments of one call name.
const mostOffsets = 100_000

// parseOffsets reads arguments such as 3:17 and 3:17-20.
func parseOffsets(args []string) (map[int][]int64, error) {
	offsets, n := make(map[int][]int64), 0
	for _, arg := range args {
		wrong := cli.Usagef("%q: want PARTITION:OFFSET or PARTITION:FROM-TO, such as 3:17-20", arg)
		part, at, ok := strings.Cut(arg, ":")
		p, err := strconv.Atoi(part)
		if !ok || err != nil || p < 0 {
			return nil, wrong
		}
		first, last, ranged := strings.Cut(at, "-")
		if !ranged {
			last = first
		}
		from, err1 := strconv.ParseInt(first, 10, 64)
		to, err2 := strconv.ParseInt(last, 10, 64)
		if err1 != nil || err2 != nil || from < 0 || to < from {
			return nil, wrong
		}
		if to-from >= int64(mostOffsets-n) {
			return nil, cli.Usagef("more than %d offsets: truncate the topic, or call it several times", mostOffsets)
		}
		for o := from; o <= to; o++ {
			offsets[p] = append(offsets[p], o)
			n++
		}
	}
	return offsets, nil
}

func (c *topicDeleteRecords) run(ctx context.Context, name string, offsets map[int][]int64) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, name)
		if err != nil {
			return err
		}
		var n int
		if c.key != "" {
			n, err = t.DeleteKey(ctx, []byte(c.key))
		} else {
			n, err = t.DeleteRecords(ctx, offsets)
		}
		if err != nil {
			if n > 0 {
				err = fmt.Errorf("after %d records were deleted: %w", n, err)
			}
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, struct {
				Deleted int `json:"deleted"`
			}{n})
		}
		c.Say("deleted %d records", n)
		return nil
	})
}
