package letters

// Deleting dead letters.

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

type purge struct {
	*cli.App
	redriven bool
	json     bool
}

func purgeCommand(a *cli.App) *cobra.Command {
	c := purge{App: a}
	cmd := &cobra.Command{
		Use:   "purge TOPIC",
		Short: "Delete dead letters",
		Long: `Purge deletes the dead letters that the topic TOPIC has now, without asking, or with
--redriven those that "dlq redrive" has put back. Records that are no dead letters stay.`,
		Example: `  penstock dlq purge audit-letters --redriven
  penstock dlq purge audit-letters --json`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.redriven, "redriven", false, "only those that were put back")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// purgedView is what is printed in the end.
type purgedView struct {
	Topic   string `json:"topic"`
	Deleted int    `json:"deleted"`
}

func (c *purge) run(ctx context.Context, topic string) error {
	return c.Work(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		v := purgedView{Topic: topic}
		err := c.all(ctx, rt, topic, &v)
		switch {
		case err != nil && v.Deleted > 0:
			return fmt.Errorf("after %d dead letters were deleted: %w", v.Deleted, err)
		case err != nil:
			return err
		case c.json:
			return cli.PrintJSON(c.Out, v)
		}
		c.Say("deleted %d dead letters of %s", v.Deleted, topic)
		return nil
	})
}

// found is what a partition has of what may be deleted.
type found struct {
	letters []int64
	// whole is the end of what nothing but dead letters comes before.
	whole int64
	other bool
}

// all deletes what there is. What nothing but dead letters comes before is truncated, which
// leaves nothing of it in etcd; behind that they are erased one by one.
func (c *purge) all(ctx context.Context, rt *penstock.Runtime, topic string, v *purgedView) error {
	until, err := c.until(ctx, rt, topic)
	if err != nil {
		return err
	}
	in := map[int]*found{}
	err = each(ctx, rt, topic, func(r *penstock.Record) (bool, error) {
		f := in[r.Partition]
		if f == nil {
			f = &found{}
			in[r.Partition] = f
		}
		if end, bounded := until[r.Partition]; bounded && r.Offset >= end {
			return true, nil
		}
		if _, ok := letterOf(r); !ok {
			f.other = true
			return true, nil
		}
		if f.letters = append(f.letters, r.Offset); !f.other {
			f.whole = r.Offset + 1
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	t, err := rt.Topic(ctx, topic)
	if err != nil {
		return err
	}
	for p, f := range in {
		if f.whole > 0 {
			if _, err := t.Truncate(ctx, penstock.FromOffset(f.whole), p); err != nil {
				return err
			}
		}
		rest := f.letters
		for len(rest) > 0 && rest[0] < f.whole {
			rest = rest[1:]
		}
		v.Deleted += len(f.letters) - len(rest)
		n, err := t.DeleteRecords(ctx, map[int][]int64{p: rest})
		v.Deleted += n
		if err != nil {
			return err
		}
	}
	return nil
}

// until is where in each partition what may be deleted ends; nil is nowhere.
func (c *purge) until(ctx context.Context, rt *penstock.Runtime, topic string) (map[int]int64, error) {
	if !c.redriven {
		return nil, nil
	}
	g, err := rt.DescribeConsumerGroup(ctx, topic, redriven)
	if err != nil {
		return nil, fmt.Errorf("what was redriven: %w", err)
	}
	ends := make(map[int]int64)
	for _, p := range g.Partitions {
		ends[p.Partition] = p.Committed
	}
	return ends, nil
}
