package schedules

// Listing and showing.

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

type ls struct {
	*cli.App
	json bool
}

func lsCommand(a *cli.App) *cobra.Command {
	c := ls{App: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List schedules",
		Long: `Ls lists all schedules: their topics, when they tick, the last tick that was fired,
and the next one. A next tick that is in the past waits for a runtime that has the topic
open. With --json it prints an array, empty when there are none.`,
		Example: `  penstock schedule ls
  penstock schedule ls --json`,
		Args:              cli.Between(0, 0),
		ValidArgsFunction: cli.NoCompletion,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print an array of objects")
	return cmd
}

func (c *ls) run(ctx context.Context) error {
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		all, err := rt.Schedules().List(ctx)
		if err != nil && all == nil {
			return err
		}
		views := make([]Schedule, len(all))
		for i := range all {
			views[i] = view(&all[i])
		}
		if c.json {
			return errors.Join(err, cli.PrintJSON(c.Out, views))
		}
		w := cli.Table(c.Out)
		fmt.Fprintln(w, "NAME\tTOPIC\tWHEN\tTIME ZONE\tLAST\tNEXT\tSTATE")
		for _, v := range views {
			state := "ok"
			switch {
			case v.Paused:
				state = "paused"
			case v.Trouble != "":
				state = cli.Clean(v.Trouble)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.Topic, cli.Clean(v.Cron), orUTC(v.TimeZone), when(v.Tick), when(v.Next), state)
		}
		return errors.Join(err, w.Flush())
	})
}

func orUTC(zone string) string {
	if zone == "" {
		return "UTC"
	}
	return cli.Clean(zone)
}

type show struct {
	*cli.App
	json bool
}

func showCommand(a *cli.App) *cobra.Command {
	c := show{App: a}
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a schedule, and what became of its ticks",
		Long:  `Show prints all of the schedule NAME: its settings, its record, its ticks.`,
		Example: `  penstock schedule show nightly
  penstock schedule show nightly --json`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: complete(a),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *show) run(ctx context.Context, name string) error {
	if err := keys.ValidateName("schedule", name); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		info, err := rt.Schedules().Get(ctx, name)
		if err != nil {
			return err
		}
		v := view(&info)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		return v.print(c)
	})
}

func (v *Schedule) print(c *show) error {
	w := cli.Table(c.Out)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("name", "%s", v.Name)
	line("topic", "%s", v.Topic)
	line("when", "%s, %s", cli.Clean(v.Cron), orUTC(v.TimeZone))
	if v.Missed == string(penstock.MissedAll) {
		line("missed ticks", "%s, %d at most", v.Missed, v.MaxMissed)
	} else {
		line("missed ticks", "%s", v.Missed)
	}
	line("paused", "%t", v.Paused)
	line("next tick", "%s", when(v.Next))
	line("last tick", "%s, fired %s", when(v.Tick), when(v.FiredAt))
	line("ticks", "%d fired, %d given up, %d failed", v.Fired, v.GivenUp, v.Failed)
	if v.Trouble != "" {
		line("trouble", "%s", cli.Clean(v.Trouble))
	}
	if k := v.Record.Key; k != nil {
		line("key", "%s", cli.Clean(*k))
	}
	for _, h := range v.Record.Headers {
		if h.Value != nil {
			line("header", "%s=%s", cli.Clean(h.Name), cli.Clean(*h.Value))
		}
	}
	if value := v.Record.Value; value != nil {
		line("value", "%s", cli.Clean(*value))
	} else {
		line("value", "%s (base64)", v.Record.ValueBase64)
	}
	return w.Flush()
}
