package topics

// Records of a topic, as a member of a consumer group.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
	"github.com/penstock-io/penstock/messages"
)

type sub struct {
	*cli.App
	count       int
	idle        time.Duration
	from        string
	format      string
	partitions  []int
	shared      bool
	json        bool
	diagnostics string
}

// Sub returns the command sub.
func Sub(a *cli.App) *cobra.Command {
	c := sub{App: a}
	cmd := &cobra.Command{
		Use:   "sub TOPIC GROUP",
		Short: "Join a consumer group of a topic and print its records",
		Long: `Sub joins the group GROUP of the topic TOPIC and prints the records of the
partitions that it is assigned, those of one partition in their order. A record is
committed once it is written. A record that could not be written, as to a closed
pipe, is handled by another member or by a later run, and the exit code is 1.

The group continues at its committed offsets. --from says where a new group starts,
in the partitions that exist then; a partition that is added later is read from its
first record. To move the offsets of a group use "penstock group reset".

With --shared the group is one whose members all get records of all partitions, however
few there are: the owner of a partition lends its records, one at a time for each key.

Without --count and --idle it runs until a signal, and ends with code 0: it prints
and commits what it has in hand, and its partitions go to other members.

--format takes %p partition, %o offset, %k key, %v value, %t time, %% and the
backslash escapes of Go; a newline is printed only where the format has one. With
--json a key, value or header that is not UTF-8 is printed as key_base64 or
value_base64.`,
		Example: `  penstock sub audit billing
  penstock sub audit billing --count 10 --from 2h
  penstock sub audit export --idle 5s --format '%p:%o %k=%v\n'
  penstock sub audit thumbnails --shared    # on as many hosts as you like
  penstock sub audit hand --partitions 0,1 --json | jq -r .value    # a group whose members name their partitions`,
		Args:              cli.Between(2, 2),
		ValidArgsFunction: completeTopic(a, completeGroup(a)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.IntVar(&c.count, "count", 0, "end after `N` records")
	f.DurationVar(&c.idle, "idle", 0, "end after so long without a record")
	f.StringVar(&c.from, "from", "earliest", "`start` of a new group: "+startHelp)
	f.StringVar(&c.format, "format", "", "how to print a record (default "+defaultFormat+")")
	f.IntSliceVar(&c.partitions, "partitions", nil, "`numbers` of the partitions to take, in a group of members that name theirs")
	f.BoolVar(&c.shared, "shared", false, "take records of all partitions, in a group whose members all do")
	f.BoolVar(&c.json, "json", false, "print an object for each record: key, value, headers, partition, offset, time, fence, attempt")
	cli.DiagnosticsFlag(cmd, &c.diagnostics)
	cli.CompleteFlag(cmd, "from", "earliest", "latest")
	return cmd
}

func (c *sub) run(ctx context.Context, topic, group string) error {
	if err := c.OutputOpen(); err != nil {
		return err
	}
	if err := partitionsNumbered(c.partitions); err != nil {
		return err
	}
	from, err := parseStart("--from", c.from, time.Now())
	if err != nil {
		return err
	}
	encode := lines.EncodeRecord(appendRecordJSON)
	switch {
	case c.json && c.format != "":
		return cli.Usagef("--format and --json exclude each other")
	case !c.json:
		if encode, err = formatOf(c.format); err != nil {
			return err
		}
	}
	if c.count < 0 || c.idle < 0 {
		return cli.Usagef("--count and --idle cannot be negative")
	}
	if c.shared && c.partitions != nil {
		return cli.Usagef("--shared and --partitions exclude each other")
	}
	cfg := actors.SubscriptionConfig{Topic: topic, Group: group, Partitions: c.partitions, Shared: c.shared}
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	rt, err := c.Start(ctx, cli.DiagnosticsOption(c.diagnostics)...)
	if err != nil {
		return err
	}
	s, err := c.subscribe(ctx, rt, topic, group, from)
	if err != nil {
		if c.count == 0 && errors.Is(ctx.Err(), context.Canceled) {
			return c.Stop(ctx, rt) // by a signal, before there was anything to read
		}
		return errors.Join(hinted(err), c.Stop(ctx, rt))
	}
	reportTrouble(c.App, rt, topic)
	if len(s.Partitions()) == 0 && !c.shared {
		c.Say("waiting: no partition of %s is free for this member", topic)
	}
	p := lines.RecordPump{From: s, Out: c.Out, Encode: encode, Count: c.count, Idle: c.idle, Left: "go back to the group"}
	end, err := p.Run(ctx)
	if err == nil && c.count > 0 && end != lines.EndCounted {
		err = cli.Incompletef("got %d of %d records (%s)", p.Written(), c.count, end)
	}
	if err == nil {
		err = stoppedReading(rt.Stats().Events)
	}
	return errors.Join(err, c.Stop(ctx, rt))
}

// stoppedReading is the error of a run that could not read everything.
func stoppedReading(events map[string]uint64) error {
	stops := events[messages.EventName(messages.BatchCorrupt{})] + events[messages.EventName(messages.LogRolledBack{})]
	if stops == 0 {
		return nil
	}
	return fmt.Errorf("reading stopped %d times at what cannot be read: not everything was printed", stops)
}

func (c *sub) subscribe(ctx context.Context, rt *penstock.Runtime, topic, group string, from penstock.StartAt) (*penstock.Subscription, error) {
	t, err := rt.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	if c.partitions != nil {
		return t.SubscribePartitions(ctx, group, c.partitions, from)
	}
	opts := []penstock.SubscribeOption{from}
	if c.shared {
		opts = append(opts, penstock.Shared())
	}
	return t.Subscribe(ctx, group, opts...)
}
