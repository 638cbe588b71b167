package topics

// Pausing whole groups: of topics, and of destinations.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages/keys"
)

// pausing is what both commands have in common.
type pausing struct {
	*cli.App
	destination, json bool
}

func (c *pausing) add(cmd *cobra.Command) {
	c.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.destination, "destination", false, "NAME is a destination, not a topic")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
}

// named judges the names.
func (c *pausing) named(name, group string) error {
	if c.destination {
		return errors.Join(keys.ValidateName("destination", name), keys.ValidateName("group", group))
	}
	return topicNamed(name, group)
}

// hint says how a destination's group is named, to those who have named one.
func (c *pausing) hint(err error) error {
	if errors.Is(err, penstock.ErrNoTopic) {
		return fmt.Errorf("%w; a group of a destination needs --destination", err)
	}
	return err
}

// pausedView is what is printed of a group.
type pausedView struct {
	Topic       string     `json:"topic,omitempty"`
	Destination string     `json:"destination,omitempty"`
	Group       string     `json:"group"`
	PausedUntil *time.Time `json:"paused_until"` // null: it is not paused
}

func (c *pausing) view(name, group string) pausedView {
	if c.destination {
		return pausedView{Destination: name, Group: group}
	}
	return pausedView{Topic: name, Group: group}
}

type groupPause struct {
	pausing
	until string
	d     time.Duration
}

func groupPauseCommand(a *cli.App) *cobra.Command {
	c := groupPause{pausing: pausing{App: a}}
	cmd := &cobra.Command{
		Use:   "pause NAME GROUP (--for DURATION | --until TIME)",
		Short: "Pause a group until a time",
		Long: `Pause has no member of the group GROUP of the topic NAME, or with --destination of
the destination NAME, hand out anything more, within a second, until the time has come
or the group is resumed. Members keep their partitions and commit; what a member of a
destination has received goes back to its senders. A group that is paused gets the new
end.

The pause is in etcd, which counts it in whole seconds and ends it.`,
		Example: `  penstock group pause audit billing --for 10m
  penstock group pause orders billing --destination --until 2026-11-29T18:00:00Z`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	c.add(cmd)
	cmd.Flags().StringVar(&c.until, "until", "", "`time` at which the pause ends, in RFC 3339")
	cmd.Flags().DurationVar(&c.d, "for", 0, "how long the group is paused")
	return cmd
}

// end is when the pause ends.
func (c *groupPause) end(now time.Time) (time.Time, error) {
	switch {
	case c.until != "" && c.d != 0:
		return time.Time{}, cli.Usagef("--for and --until: want one of them")
	case c.until == "" && c.d <= 0:
		return time.Time{}, cli.Usagef("want --for with a positive duration, or --until with a time")
	case c.until == "":
		return now.Add(c.d), nil
	}
	until, err := time.Parse(time.RFC3339, c.until)
	if err != nil {
		return time.Time{}, cli.Usagef("--until %q: want a time in RFC 3339", c.until)
	}
	return until, nil
}

func (c *groupPause) run(ctx context.Context, name, group string) error {
	if err := c.named(name, group); err != nil {
		return err
	}
	until, err := c.end(time.Now())
	if err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		pause := rt.PauseConsumerGroup
		if c.destination {
			pause = rt.PauseGroup
		}
		if err := pause(ctx, name, group, until); err != nil {
			return c.hint(err)
		}
		if c.json {
			v, at := c.view(name, group), until.UTC()
			v.PausedUntil = &at
			return cli.PrintJSON(c.Out, v)
		}
		c.Say("group %s of %s is paused until %s", group, name, until.Format(time.RFC3339))
		return nil
	})
}

type groupResume struct{ pausing }

func groupResumeCommand(a *cli.App) *cobra.Command {
	c := groupResume{pausing{App: a}}
	cmd := &cobra.Command{
		Use:   "resume NAME GROUP",
		Short: "End the pause of a group",
		Long: `Resume ends the pause of the group GROUP of the topic NAME, or with --destination of
the destination NAME. A group that is not paused stays as it is.`,
		Example: `  penstock group resume audit billing
  penstock group resume orders billing --destination`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	c.add(cmd)
	return cmd
}

func (c *groupResume) run(ctx context.Context, name, group string) error {
	if err := c.named(name, group); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		resume := rt.ResumeConsumerGroup
		if c.destination {
			resume = rt.ResumeGroup
		}
		if err := resume(ctx, name, group); err != nil {
			return c.hint(err)
		}
		if c.json {
			return cli.PrintJSON(c.Out, c.view(name, group))
		}
		c.Say("group %s of %s is not paused", group, name)
		return nil
	})
}
