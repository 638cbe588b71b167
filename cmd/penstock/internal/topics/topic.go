package topics

// Topics are made, changed and deleted here; topic_show.go shows them.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// Topic returns the command topic with its commands.
func Topic(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, list, change and delete topics and their records",
		Long: `Topics are durable, partitioned logs kept in etcd. "penstock put" appends to one,
"penstock sub" reads it as a member of a consumer group.`,
		Example: `  penstock topic create audit --partitions 4
  penstock topic ls
  penstock topic describe audit`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(topicCreateCommand(a), topicLsCommand(a), topicDescribeCommand(a),
		topicUpdateCommand(a), topicDeleteCommand(a), topicTruncateCommand(a), topicPurgeCommand(a), topicDeleteRecordsCommand(a), topicDelayedCommand(a),
		topicLatestCommand(a), topicTableCommand(a))
	return cmd
}

// compressions are the values of --compression.
var compressions = []penstock.Compression{penstock.CompressS2, penstock.CompressZstd, penstock.CompressNone}

// topicSettings are the flags of what create and update set.
type topicSettings struct {
	partitions     int
	compression    string
	maxRecordBytes int
	dedupeWindow   time.Duration
	dedupeRecords  int
	limits         topicLimits
}

func (s *topicSettings) add(cmd *cobra.Command, d penstock.TopicConfig, partitions string) {
	f := cmd.Flags()
	f.IntVar(&s.partitions, "partitions", d.Partitions, partitions)
	f.StringVar(&s.compression, "compression", string(d.Compression), "`kind` of compression of batches: s2, zstd or none")
	f.IntVar(&s.maxRecordBytes, "max-record-bytes", d.MaxRecordBytes, "largest record in `bytes`, 1048576 at most")
	f.Var((*windowFlag)(&s.dedupeWindow), "dedupe-window", "for how long the topic knows the id of a record again, 720h at most, or none")
	f.IntVar(&s.dedupeRecords, "dedupe-records", d.DedupeRecords, fmt.Sprintf("how many records of a partition the window has at most, to %d (default %d with a window)", messages.MaxDedupeRecords, messages.DefaultDedupeRecords))
	cli.CompleteFlag(cmd, "compression", string(penstock.CompressS2), string(penstock.CompressZstd), string(penstock.CompressNone))
	s.limits.add(cmd, d)
}

// windowFlag is a duration, or noLimit for 0.
type windowFlag time.Duration

// String is what is shown as the default: nothing for no window.
func (w *windowFlag) String() string {
	if *w == 0 {
		return ""
	}
	return time.Duration(*w).String()
}

// Set parses the flag.
func (w *windowFlag) Set(text string) error {
	if text == noLimit {
		*w = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("want a duration such as 1h, or %s", noLimit)
	}
	*w = windowFlag(d)
	return nil
}

// Type is how help names the value.
func (*windowFlag) Type() string { return "duration" }

type topicCreate struct {
	*cli.App
	topicSettings
	ifAbsent, json bool
}

func topicCreateCommand(a *cli.App) *cobra.Command {
	c := topicCreate{App: a}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a topic",
		Long: `Create creates the topic NAME, of three characters or more, and prints it. A topic
that exists is an error; with --if-absent it is left and printed as it is.

The number of partitions limits how many members of a group can share the work.
It can be raised later and never lowered.

Without --max-age, --max-bytes, --max-records, --ttl and --retention records are
kept until somebody deletes them.`,
		Example: `  penstock topic create audit
  penstock topic create audit --max-age 24h --max-bytes 268435456
  penstock topic create audit --partitions 8 --compression zstd
  penstock topic create jobs --max-records 10000 --discard new
  penstock topic create prices --compact key --tombstone-grace 1h
  penstock topic create jobs --retention until-done --dedupe-window 1h
  penstock topic create audit --if-absent --json | jq .partitions`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), args[0], cmd.Flags().Changed)
		},
	}
	a.Etcd.Add(cmd.Flags())
	defaults := penstock.TopicConfig{}
	defaults.EnsureDefaults()
	c.add(cmd, defaults, fmt.Sprintf("how many partitions, 1 to %d", messages.MaxPartitions))
	cmd.Flags().BoolVar(&c.ifAbsent, "if-absent", false, "do nothing where the topic exists")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicCreate) run(ctx context.Context, name string, given func(flag string) bool) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	cfg := penstock.TopicConfig{
		Partitions: c.partitions, Compression: penstock.Compression(c.compression), MaxRecordBytes: c.maxRecordBytes,
		DedupeWindow: c.dedupeWindow, DedupeRecords: c.dedupeRecords,
	}
	if err := c.limits.set(&cfg, given); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil { // as given: a zero means no default here
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		create := rt.CreateTopic
		if c.ifAbsent {
			create = rt.EnsureTopic
		}
		t, err := create(ctx, name, cfg)
		if errors.Is(err, penstock.ErrTopicExists) {
			return fmt.Errorf("%w: see \"penstock topic describe %s\", or use --if-absent", err, name)
		}
		if err != nil {
			return err
		}
		return showTopic(c.Out, t.Info(), c.json)
	})
}

type topicUpdate struct {
	*cli.App
	topicSettings
	json bool
}

func topicUpdateCommand(a *cli.App) *cobra.Command {
	c := topicUpdate{App: a}
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Give a topic more partitions or other settings",
		Long: `Update changes the topic NAME and prints it. Processes that use it notice within
a second. With more partitions, records of one key may go to another partition
than before. What is above a lower limit is deleted within some seconds; "none"
removes a limit.`,
		Example: `  penstock topic update audit --partitions 16
  penstock topic update audit --max-age 12h --max-records none
  penstock topic update audit --compression none`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := c.change(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return c.run(cmd.Context(), args[0], u)
		},
	}
	a.Etcd.Add(cmd.Flags())
	c.add(cmd, penstock.TopicConfig{}, fmt.Sprintf("how many partitions, more than before and at most %d", messages.MaxPartitions))
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// change is what the flags ask for. What was not given is zero there and stays;
// a zero that was given is no setting.
func (c *topicUpdate) change(given func(flag string) bool) (u penstock.TopicUpdate, err error) {
	u = penstock.TopicUpdate{
		Partitions: c.partitions, Compression: penstock.Compression(c.compression), MaxRecordBytes: c.maxRecordBytes,
		DedupeWindow: c.dedupeWindow, DedupeRecords: c.dedupeRecords,
	}
	if given("dedupe-window") && u.DedupeWindow == 0 {
		u.DedupeWindow = -1 // none
	}
	switch {
	case c.dedupeWindow < 0 || c.dedupeWindow > messages.MaxDedupeWindow:
		err = cli.Usagef("--dedupe-window %s: want at most %s", c.dedupeWindow, messages.MaxDedupeWindow)
	case given("dedupe-records") && u.DedupeRecords < 1 || u.DedupeRecords > messages.MaxDedupeRecords:
		err = cli.Usagef("--dedupe-records %d: want 1 to %d", u.DedupeRecords, messages.MaxDedupeRecords)
	case given("partitions") && u.Partitions < 1:
		err = cli.Usagef("--partitions %d: want at least 1", u.Partitions)
	case given("compression") && u.Compression == "":
		err = cli.Usagef("--compression is empty")
	case given("max-record-bytes") && u.MaxRecordBytes < 1:
		err = cli.Usagef("--max-record-bytes %d: want at least 1", u.MaxRecordBytes)
	case u.Partitions > messages.MaxPartitions:
		err = cli.Usagef("--partitions %d: want at most %d", u.Partitions, messages.MaxPartitions)
	case given("compression") && !slices.Contains(compressions, u.Compression):
		err = cli.Usagef("--compression %q: want one of %q", u.Compression, compressions)
	case u.MaxRecordBytes > messages.MaxRecordBytes:
		err = cli.Usagef("--max-record-bytes %d: want at most %d", u.MaxRecordBytes, messages.MaxRecordBytes)
	default:
		err = c.limits.change(&u, given)
	}
	if err == nil && u == (penstock.TopicUpdate{}) {
		err = cli.Usagef("nothing to change: give one of the settings")
	}
	return u, err
}

func (c *topicUpdate) run(ctx context.Context, name string, u penstock.TopicUpdate) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		info, err := rt.UpdateTopic(ctx, name, u)
		if err != nil {
			return err
		}
		return showTopic(c.Out, info, c.json)
	})
}

type topicDelete struct {
	*cli.App
	json bool
}

func topicDeleteCommand(a *cli.App) *cobra.Command {
	c := topicDelete{App: a}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a topic with its records, groups and offsets",
		Long: `Delete removes the topic NAME and everything in it, without asking. From the
first moment on nothing can be put into it or committed; then its keys are
removed, which takes a while for a large one. When the command ends before that,
the next create or delete of any topic removes the rest.`,
		Example:           "  penstock topic delete audit",
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicDelete) run(ctx context.Context, name string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	rt, err := c.Start(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(rt.DeleteTopic(ctx, name), c.Stop(ctx, rt)); err != nil {
		return err
	}
	if c.json {
		return cli.PrintJSON(c.Out, struct {
			Deleted string `json:"deleted"`
		}{name})
	}
	c.Say("deleted %s", name)
	return nil
}
