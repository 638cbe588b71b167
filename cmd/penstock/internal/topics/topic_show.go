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

type topicLatest struct {
	*cli.App
	json bool
}

func topicLatestCommand(a *cli.App) *cobra.Command {
	c := topicLatest{App: a}
	cmd := &cobra.Command{
		Use:   "latest NAME KEY",
		Short: "Print the newest record of a key",
		Long: `Latest reads the topic NAME and prints the value of the newest record that has the key
KEY. Where there is none, because nothing was put with that key, or a tombstone, or it
has expired, it prints nothing and ends with code 1.

The whole topic is read for it: a key may be in any partition.`,
		Example: `  penstock topic latest stock apples
  penstock topic latest stock apples --json | jq .offset`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object: key, value, headers, partition, offset, time")
	return cmd
}

func (c *topicLatest) run(ctx context.Context, name, key string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	if key == "" {
		return cli.Usagef("the key is empty")
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		topic, err := rt.Topic(ctx, name)
		if err != nil {
			return hinted(err)
		}
		reportTrouble(c.App, rt, name)
		rec, err := topic.Latest(ctx, []byte(key))
		if err != nil {
			return err
		}
		line := append(rec.Value, '\n')
		if c.json {
			line = appendReadJSON(nil, &rec)
		}
		_, err = c.Out.Write(line)
		return err
	})
}

type topicTable struct {
	*cli.App
	prefix   string
	maxBytes int64
	watch    bool
	json     bool
}

func topicTableCommand(a *cli.App) *cobra.Command {
	c := topicTable{App: a}
	cmd := &cobra.Command{
		Use:   "table NAME",
		Short: "Print the newest record of each key",
		Long: `Table reads the topic NAME and prints the key and the value of the newest record of
each key, with a tab between them, sorted by key. Keys that a tombstone has deleted, and
records without a key, are not printed.

With --watch it prints each change from then on, until a signal: the new record, or the key
and "deleted". Changes of a key that come faster than they are printed become one. With
--json each line is an object; of a deleted key it has "deleted" and no value.`,
		Example: `  penstock topic table stock
  penstock topic table stock --keys fruit/ --json | jq -r .key
  penstock topic table stock --watch`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.prefix, "keys", "", "print only keys that begin with this `text`")
	f.Int64Var(&c.maxBytes, "max-bytes", 256<<20, "give up when the table takes more `bytes` of memory")
	f.BoolVar(&c.watch, "watch", false, "print changes until a signal")
	f.BoolVar(&c.json, "json", false, "print an object for each record: key, value, headers, partition, offset, time")
	return cmd
}

func (c *topicTable) run(ctx context.Context, name string) error {
	if err := errors.Join(c.OutputOpen(), topicNamed(name)); err != nil {
		return err
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		topic, err := rt.Topic(ctx, name)
		if err != nil {
			return hinted(err)
		}
		reportTrouble(c.App, rt, name)
		table, err := topic.Table(ctx, penstock.KeyPrefix(c.prefix), penstock.MaxTableBytes(c.maxBytes))
		if err != nil {
			return err
		}
		defer table.Close()
		if c.watch {
			return c.follow(ctx, table)
		}
		all := maps.Collect(table.All())
		for _, key := range slices.Sorted(maps.Keys(all)) {
			rec := all[key]
			if _, err := c.Out.Write(c.line(key, &rec)); err != nil {
				return err
			}
		}
		if len(all) == 0 {
			c.Say("%s", emptyTable(name, c.prefix, table.Stats()))
		}
		return nil
	})
}

// emptyTable says why a table has no keys.
func emptyTable(topic, prefix string, s penstock.TableStats) string {
	switch {
	case s.Records == 0:
		return fmt.Sprintf("topic %q has no records", topic)
	case s.Keyless == s.Records:
		return fmt.Sprintf("topic %q has no keys: its records were put without, so there is no newest one of a key; read prints them", topic)
	case prefix != "":
		return fmt.Sprintf("topic %q has no key that begins with %q, or their records are deleted or have expired", topic, prefix)
	}
	return fmt.Sprintf("topic %q has no keys left: their records are deleted or have expired", topic)
}

func (c *topicTable) follow(ctx context.Context, table *penstock.Table) error {
	for change, err := range table.Watch(ctx) {
		if ctx.Err() != nil {
			return nil // a signal is how it ends
		}
		if err == nil {
			_, err = c.Out.Write(c.line(change.Key, change.New))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TableLine is the newest record of a key as JSON, or that there is none.
type TableLine struct {
	lines.Payload
	Deleted   bool       `json:"deleted,omitempty"`
	Partition *int       `json:"partition,omitempty"`
	Offset    *int64     `json:"offset,omitempty"`
	Time      *time.Time `json:"time,omitempty"`
}

// line is what is printed of a key, whose record is nil when it was deleted.
func (c *topicTable) line(key string, r *penstock.Record) []byte {
	switch {
	case !c.json && r == nil:
		return fmt.Appendf(nil, "%s\tdeleted\n", key)
	case !c.json:
		return fmt.Appendf(nil, "%s\t%s\n", key, r.Value)
	case r == nil:
		p := lines.PayloadOf(&penstock.Payload{Key: []byte(key)})
		p.Value = nil
		return lines.AppendJSON(nil, TableLine{Payload: p, Deleted: true})
	}
	at := r.Time()
	return lines.AppendJSON(nil, TableLine{Payload: lines.PayloadOf(&r.Payload), Partition: &r.Partition, Offset: &r.Offset, Time: &at})
}
