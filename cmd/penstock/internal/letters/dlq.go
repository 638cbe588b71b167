package letters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
	"github.com/penstock-io/penstock/messages"
)

// Command returns the command dlq.
func Command(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, put them back, delete them",
		Long: `Dlq is about a topic of dead letters, which subscriptions with DeadLetterTopic fill. Its
records say where they are from, and why they are there.`,
		Example: `  penstock dlq ls audit-letters
  penstock dlq redrive audit-letters --rate 100
  penstock dlq purge audit-letters --redriven`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(lsCommand(a), showCommand(a), redriveCommand(a), purgeCommand(a))
	return cmd
}

// Letter is one dead letter as JSON.
type Letter struct {
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	From      Origin    `json:"from"`
	Group     string    `json:"group"`
	Attempts  int       `json:"attempts"`
	Deaths    int       `json:"deaths"`
	Error     string    `json:"error"`
	Omitted   string    `json:"omitted,omitempty"`
	Time      time.Time `json:"time"`
	*lines.Payload
}

// Origin is where a dead letter is from.
type Origin struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// letterOf returns false for a record that is no dead letter.
func letterOf(r *penstock.Record) (Letter, bool) {
	d, ok := messages.DeadRecordOf(r.Payload)
	return Letter{
		Partition: r.Partition, Offset: r.Offset, From: Origin{d.Topic, d.Partition, d.Offset},
		Group: d.Group, Attempts: d.Attempts, Deaths: d.Deaths, Error: d.Cause, Time: d.Time, Omitted: d.Omitted,
	}, ok
}

// each calls f for the records of a topic up to its end of now, partition by partition. f
// returns false to end that.
func each(ctx context.Context, rt *penstock.Runtime, topic string, f func(*penstock.Record) (bool, error)) error {
	d, err := rt.DescribeTopic(ctx, topic)
	if err != nil {
		return err
	}
	t, err := rt.Topic(ctx, topic)
	if err != nil {
		return err
	}
	for _, p := range d.Partitions {
		if p.Err != nil {
			return p.Err
		}
		for r, err := range t.ReadTo(ctx, p.Partition, penstock.FromEarliest(), p.End) {
			if err != nil {
				return err
			}
			if more, err := f(&r); err != nil || !more {
				return err
			}
		}
	}
	return nil
}

type ls struct {
	*cli.App
	count int
	json  bool
}

func lsCommand(a *cli.App) *cobra.Command {
	c := ls{App: a}
	cmd := &cobra.Command{
		Use:   "ls TOPIC",
		Short: "List the dead letters in a topic",
		Long: `Ls prints a line for each dead letter in the topic TOPIC: its partition and offset, where
it is from, the group that gave it up, attempts and deaths, when that was, and the last
error. Records that are no dead letters are left out.`,
		Example: `  penstock dlq ls audit-letters
  penstock dlq ls audit-letters --json | jq -r .error | sort | uniq -c`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().IntVar(&c.count, "count", 0, "end after `N` dead letters")
	cmd.Flags().BoolVar(&c.json, "json", false, "print an object for each dead letter, on a line")
	return cmd
}

func (c *ls) run(ctx context.Context, topic string) error {
	if c.count < 0 {
		return cli.Usagef("--count cannot be negative")
	}
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		tw, n := cli.Table(c.Out), 0
		if !c.json {
			fmt.Fprintln(tw, "partition\toffset\tfrom\tgroup\tattempts\tdeaths\ttime\terror")
		}
		err := each(ctx, rt, topic, func(r *penstock.Record) (bool, error) {
			l, ok := letterOf(r)
			if !ok {
				return true, nil
			}
			n++
			if c.json {
				_, err := c.Out.Write(lines.AppendJSON(nil, l))
				return n != c.count, err
			}
			fmt.Fprintf(tw, "%d\t%d\t%s:%d:%d\t%s\t%d\t%d\t%s\t%s\n", l.Partition, l.Offset, cli.Clean(l.From.Topic), l.From.Partition, l.From.Offset,
				cli.Clean(l.Group), l.Attempts, l.Deaths, l.Time.Format(time.RFC3339), cli.Clean(l.Error))
			return n != c.count, nil
		})
		if !c.json && n > 0 {
			err = errors.Join(err, tw.Flush())
		}
		if n == 0 && err == nil {
			c.Say("no dead letters in %s", topic)
		}
		return err
	})
}

type show struct {
	*cli.App
	partition int
}

func showCommand(a *cli.App) *cobra.Command {
	c := show{App: a}
	cmd := &cobra.Command{
		Use:   "show TOPIC OFFSET",
		Short: "Print one dead letter whole",
		Long: `Show prints the dead letter at the offset OFFSET of the topic TOPIC as a JSON object, with
its key, value and headers. One that is not UTF-8 is printed as key_base64 or
value_base64.`,
		Example: `  penstock dlq show audit-letters 12
  penstock dlq show audit-letters 12 | jq -r .value`,
		Args: cli.Between(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var offset int64
			if _, err := fmt.Sscanf(args[1]+"\n", "%d\n", &offset); err != nil || offset < 0 {
				return cli.Usagef("OFFSET %q: want a number", args[1])
			}
			return c.run(cmd.Context(), args[0], offset)
		},
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().IntVar(&c.partition, "partition", 0, "`number` of the partition")
	cmd.Flags().Bool("json", true, "print one object, which it always does")
	return cmd
}

func (c *show) run(ctx context.Context, topic string, offset int64) error {
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeTopic(ctx, topic)
		if err != nil {
			return err
		}
		if c.partition < 0 || c.partition >= len(d.Partitions) {
			return fmt.Errorf("topic %s: partition %d of %d: %w", topic, c.partition, len(d.Partitions), penstock.ErrNoPartition)
		}
		p := d.Partitions[c.partition]
		if p.Err != nil {
			return p.Err
		}
		if offset < p.Start || offset >= p.End {
			return fmt.Errorf("%s, partition %d: there is no offset %d, it goes from %d to %d: %w", topic, c.partition, offset, p.Start, p.End, penstock.ErrOffsetOutOfRange)
		}
		t, err := rt.Topic(ctx, topic)
		if err != nil {
			return err
		}
		for r, err := range t.ReadTo(ctx, c.partition, penstock.FromOffset(offset), offset+1) {
			if err != nil {
				return err
			}
			l, ok := letterOf(&r)
			if !ok {
				return fmt.Errorf("%s, partition %d, offset %d is no dead letter", topic, c.partition, offset)
			}
			payload := lines.PayloadOf(&r.Payload)
			l.Payload = &payload
			return cli.PrintJSON(c.Out, l)
		}
		return fmt.Errorf("%s, partition %d, offset %d was deleted", topic, c.partition, offset)
	})
}
