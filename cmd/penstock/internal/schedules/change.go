package schedules

// Making, changing, running and removing.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

type add struct {
	*cli.App
	zone, key, value, file, missed string
	headers                        []string
	maxMissed                      int
	json                           bool
}

func addCommand(a *cli.App) *cobra.Command {
	c := add{App: a}
	cmd := &cobra.Command{
		Use:   "add NAME TOPIC WHEN",
		Short: "Make a schedule, or change it",
		Long: `Add makes the schedule NAME, which puts a record into the topic TOPIC at the times of
WHEN: five fields (minute, hour, day of the month, month, day of the week), @hourly,
@daily, @weekly, @monthly, @yearly, or "@every 10m". One that is there gets these
settings, and keeps what it counted; one that has them is left as it is.`,
		Example: `  penstock schedule add nightly reports "30 2 * * 1-5" --time-zone Europe/Berlin --value '{}'
  penstock schedule add poll jobs "@every 90s" --key poll --missed skip
  penstock schedule add hourly audit @hourly --value-file body.json --header kind=report`,
		Args:              cli.Between(3, 3),
		ValidArgsFunction: cli.NoCompletion,
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1], args[2]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.zone, "time-zone", "", "IANA `name` of the zone whose clocks WHEN is about (default UTC)")
	f.StringVar(&c.key, "key", "", "`key` of the record")
	f.StringVar(&c.value, "value", "", "`text` of the record")
	f.StringVar(&c.file, "value-file", "", "`file` with the value of the record, 64 KiB at most")
	f.StringArrayVar(&c.headers, "header", nil, "`name=value` for the record; can be given again")
	f.StringVar(&c.missed, "missed", string(penstock.MissedLatest), "`what` becomes of ticks at which nobody was there: latest (is fired once), skip or all")
	f.IntVar(&c.maxMissed, "max-missed", 0, "most `ticks` that --missed all fires late; 0 is 100")
	cli.CompleteFlag(cmd, "missed", string(penstock.MissedLatest), string(penstock.MissedSkip), string(penstock.MissedAll))
	f.BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *add) run(ctx context.Context, name, topic, cron string) error {
	s := penstock.Schedule{
		Topic: topic, Key: []byte(c.key), Value: []byte(c.value), Cron: cron, TimeZone: c.zone,
		Missed: penstock.MissedTicks(c.missed), MaxMissed: c.maxMissed,
	}
	var faults []error
	for _, h := range c.headers {
		n, v, ok := strings.Cut(h, "=")
		if !ok || n == "" {
			faults = append(faults, cli.Usagef("--header %q: want name=value", h))
		}
		s.Headers = append(s.Headers, penstock.Header{Name: n, Value: []byte(v)})
	}
	if c.value != "" && c.file != "" {
		faults = append(faults, cli.Usagef("--value and --value-file: want one of them"))
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if c.file != "" {
		body, err := os.ReadFile(c.file)
		if err != nil {
			return fmt.Errorf("--value-file: %w", err)
		}
		s.Value = body
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		info, err := rt.Schedules().Put(ctx, name, s)
		if err != nil {
			return err
		}
		v := view(&info)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		if v.Paused {
			c.Say("schedule %s is paused", name)
			return nil
		}
		_, err = fmt.Fprintf(c.Out, "next %s\n", when(v.Next))
		return err
	})
}

// named is a command about one schedule.
type named struct {
	*cli.App
	json bool
	do   func(ctx context.Context, rt *penstock.Runtime, c *named, name string) error
}

func (c *named) command(cmd *cobra.Command) *cobra.Command {
	cmd.Args = cli.Between(1, 1)
	cmd.ValidArgsFunction = complete(c.App)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := keys.ValidateName("schedule", args[0]); err != nil {
			return err
		}
		return c.WithRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) error { return c.do(ctx, rt, c, args[0]) })
	}
	c.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// removed is what is printed of a schedule that was removed.
type removed struct {
	Removed string `json:"removed"`
}

func rmCommand(a *cli.App) *cobra.Command {
	c := &named{App: a, do: func(ctx context.Context, rt *penstock.Runtime, c *named, name string) error {
		if err := rt.Schedules().Delete(ctx, name); err != nil {
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, removed{name})
		}
		c.Say("removed schedule %s", name)
		return nil
	}}
	return c.command(&cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a schedule",
		Long:  `Rm removes the schedule NAME, without asking. What it has put stays in its topic.`,
		Example: `  penstock schedule rm nightly
  penstock schedule rm nightly --json`,
	})
}

// ran is what is printed of a record that was put.
type ran struct {
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

func runCommand(a *cli.App) *cobra.Command {
	c := &named{App: a, do: func(ctx context.Context, rt *penstock.Runtime, c *named, name string) error {
		r, err := rt.Schedules().RunNow(ctx, name)
		if err != nil {
			return err
		}
		if c.json {
			return cli.PrintJSON(c.Out, ran{r.Partition, r.Offset})
		}
		_, err = fmt.Fprintf(c.Out, "partition %d offset %d\n", r.Partition, r.Offset)
		return err
	}}
	return c.command(&cobra.Command{
		Use:   "run NAME",
		Short: "Put the record of a schedule now",
		Long: `Run puts the record of the schedule NAME at once, also when it is paused, and prints
where it is. No tick is used up: the schedule fires as before.`,
		Example: `  penstock schedule run nightly
  penstock schedule run nightly --json`,
	})
}

// shown prints a schedule after a change.
func (c *named) shown(ctx context.Context, rt *penstock.Runtime, name, said string) error {
	info, err := rt.Schedules().Get(ctx, name)
	if err != nil {
		return err
	}
	if v := view(&info); c.json {
		return cli.PrintJSON(c.Out, v)
	}
	c.Say(said, name)
	return nil
}

func pauseCommand(a *cli.App) *cobra.Command {
	c := &named{App: a, do: func(ctx context.Context, rt *penstock.Runtime, c *named, name string) error {
		if err := rt.Schedules().Pause(ctx, name); err != nil {
			return err
		}
		return c.shown(ctx, rt, name, "paused schedule %s")
	}}
	return c.command(&cobra.Command{
		Use:   "pause NAME",
		Short: "Have a schedule fire nothing until it is resumed",
		Long: `Pause has the schedule NAME fire nothing until it is resumed. Its ticks until then are
not missed: there are none.`,
		Example: `  penstock schedule pause nightly
  penstock schedule pause nightly --json`,
	})
}

func resumeCommand(a *cli.App) *cobra.Command {
	c := &named{App: a, do: func(ctx context.Context, rt *penstock.Runtime, c *named, name string) error {
		if err := rt.Schedules().Resume(ctx, name); err != nil {
			return err
		}
		return c.shown(ctx, rt, name, "resumed schedule %s")
	}}
	return c.command(&cobra.Command{
		Use:   "resume NAME",
		Short: "End the pause of a schedule",
		Long:  `Resume ends the pause of the schedule NAME: the next tick is the first after now.`,
		Example: `  penstock schedule resume nightly
  penstock schedule resume nightly --json`,
	})
}
