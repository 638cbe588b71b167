package topics

// One record for each line.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
	"github.com/penstock-io/penstock/messages"
)

// anyPartition leaves the choice to the key.
const anyPartition = -1

type put struct {
	*cli.App
	keySep      string
	tombstone   bool
	producer    string
	headers     []string
	partition   int
	create      bool
	timeout     time.Duration
	at          string
	after       time.Duration
	diagnostics string
}

// Put returns the command put.
func Put(a *cli.App) *cobra.Command {
	c := put{App: a}
	cmd := &cobra.Command{
		Use:   "put TOPIC [FILE]",
		Short: "Put each line of a file or of standard input into a topic",
		Long: `Put appends each line, without its newline, as a record to the topic TOPIC, and
ends with code 0 when etcd has committed all of them. Its last line on standard
error is "put N": how many records are in the topic.

With --key-sep a line is cut at the first separator into key and value; a line
without one has no key. Records of one key go to one partition, and keep their
order there.

With --tombstone each line is a key, and its record says that what the key names is
deleted: in a topic that is compacted by key, its records are deleted.

With --producer NAME the record of line N has the id NAME/N. A topic that has a window
of ids (--dedupe-window) puts each id once, so the same command can be given again
after it was cut short: what is in the topic is not put a second time.

With --deliver-at or --deliver-after the records are put now and read later; what
waits is listed and cancelled by "penstock topic delayed".

The first record that cannot be put ends the reading. Put prints how many records
were not put, and how many may have been put because etcd did not answer in time.
A signal stops the reading, and put waits up to 10 s for what was read.`,
		Example: `  seq 1000 | penstock put audit --create
  penstock put audit lines.txt --timeout 30s
  penstock put audit lines.txt --producer import-7      # again: what is there is not put twice
  printf 'alice:1\nbob:2\n' | penstock put audit --key-sep : --header source=shell
  printf 'alice\n' | penstock put prices --tombstone
  echo 'trial ends' | penstock put audit --deliver-after 72h
  echo 'happy new year' | penstock put audit --deliver-at 2027-01-01T00:00:00Z`,
		Args:              cli.Between(1, 2),
		ValidArgsFunction: completeTopic(a, cli.LeaveToShell(cobra.ShellCompDirectiveDefault)),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], cli.FileOf(args)) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.keySep, "key-sep", "", "`separator` between key and value of a line; none: the line is the value")
	f.StringVar(&c.producer, "producer", "", "`name` that gives line N the id name/N, for a topic with a window of ids")
	f.StringVar(&c.at, "deliver-at", "", "the records are read from this `time` (RFC 3339) on")
	f.DurationVar(&c.after, "deliver-after", 0, "the records are read so long after each is put")
	f.BoolVar(&c.tombstone, "tombstone", false, "each line is a key, whose records are deleted")
	f.StringArrayVar(&c.headers, "header", nil, "`name=value` for each record; can be given again")
	f.IntVar(&c.partition, "partition", anyPartition, "`number` of the partition; -1 chooses it by the key")
	f.BoolVar(&c.create, "create", false, "create the topic, with one partition, if it does not exist")
	f.DurationVar(&c.timeout, "timeout", 0, "give up after so long; 0 waits without limit")
	cli.DiagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

func (c *put) run(ctx context.Context, topic, file string) error {
	line, err := c.lineFormat()
	if err != nil {
		return err
	}
	if err := topicNamed(topic); err != nil {
		return err
	}
	in, err := c.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, cancel := cli.Limited(ctx, c.timeout)
	defer cancel()
	rt, err := c.Start(ctx, cli.DiagnosticsOption(c.diagnostics)...)
	if err != nil {
		return err
	}
	t, err := c.topic(ctx, rt, topic)
	if err != nil {
		return errors.Join(hinted(err), c.Stop(ctx, rt))
	}
	reportTrouble(c.App, rt, topic)

	reading, stopReading := context.WithCancelCause(ctx)
	defer stopReading(nil)
	tally, number := &putTally{refused: stopReading}, 0
	bar := c.Progress(-1, "put")
	taken, err := lines.Each(reading, lines.NewReader(in, messages.MaxRecordBytes), func(l []byte) error {
		bar.At(int64(tally.count().put))
		m := line.message(l)
		if number++; c.producer != "" {
			m.ID = fmt.Sprintf("%s/%d", c.producer, number)
		}
		return t.PutAsync(reading, m, tally.settle)
	})
	ferr := lines.Flush(ctx, t)
	// What is still on its way after that is not waited for.
	stopping, cancelStop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancelStop()
	if serr := rt.Stop(stopping); serr != nil && c.Verbose > 0 {
		c.Complain(serr)
	}
	bar.Stop()
	counts := tally.count()
	said := c.Said(counts.verdict(taken, err, ferr, context.Cause(ctx)))
	if counts.known > 0 {
		c.Say("%d of them were in the topic before", counts.known)
	}
	c.Say("put %d", counts.put)
	return said
}

// topic opens the topic and checks that it has the partition.
func (c *put) topic(ctx context.Context, rt *penstock.Runtime, name string) (t *penstock.Topic, err error) {
	var opts []penstock.ProducerOption
	if c.partition != anyPartition {
		opts = append(opts, penstock.PartitionBy(penstock.Manual(func(*penstock.Message, int) int { return c.partition })))
	}
	if c.create && c.partition > 0 {
		// A topic that is made here has no such partition.
		if _, err := rt.DescribeTopic(ctx, name); errors.Is(err, penstock.ErrNoTopic) {
			return nil, cli.Usagef("--partition %d: --create makes a topic with one partition, 0: create it with \"penstock topic create\"", c.partition)
		} else if err != nil {
			return nil, err
		}
	}
	if c.create {
		t, err = rt.EnsureTopic(ctx, name, penstock.TopicConfig{}, opts...)
	} else {
		t, err = rt.Topic(ctx, name, opts...)
	}
	if err != nil {
		return nil, err
	}
	if c.producer != "" && t.Info().Config.DedupeWindow == 0 {
		return nil, cli.Usagef("--producer %s: %s has no window of ids: \"penstock topic update %s --dedupe-window 1h\" gives it one", c.producer, name, name)
	}
	if n := t.Info().Config.Partitions; c.partition >= n {
		return nil, cli.Usagef("--partition %d: %s has %d, counted from 0", c.partition, name, n)
	}
	return t, nil
}

// lineFormat is how lines become messages.
type lineFormat struct {
	separator []byte // nil: no keys
	headers   []penstock.Header
	tombstone bool // the line is a key
	// at is when the records are read, after how long after they were put; zero for at once.
	at    time.Time
	after time.Duration
}

func (c *put) lineFormat() (f lineFormat, err error) {
	var faults []error
	f.tombstone, f.after = c.tombstone, c.after
	if c.at != "" {
		if f.at, err = time.Parse(time.RFC3339, c.at); err != nil {
			faults = append(faults, cli.Usagef("--deliver-at %q: want a time as in RFC 3339, such as 2027-01-01T09:00:00Z", c.at))
		}
		if c.after != 0 {
			faults = append(faults, cli.Usagef("give --deliver-at or --deliver-after, not both"))
		}
	}
	if c.after < 0 {
		faults = append(faults, cli.Usagef("--deliver-after is negative"))
	}
	if c.tombstone && c.keySep != "" {
		faults = append(faults, cli.Usagef("--tombstone with --key-sep: a tombstone has no value, so each line is a key"))
	}
	if c.keySep != "" {
		f.separator = []byte(c.keySep)
	}
	for _, s := range c.headers {
		h, err := parseHeader(s)
		faults = append(faults, err)
		f.headers = append(f.headers, h)
	}
	if c.partition < anyPartition {
		faults = append(faults, cli.Usagef("--partition %d: want 0 or more", c.partition))
	}
	if c.partition >= messages.MaxPartitions {
		faults = append(faults, cli.Usagef("--partition %d: want less than %d", c.partition, messages.MaxPartitions))
	}
	if strings.Contains(c.producer, "/") {
		faults = append(faults, cli.Usagef("--producer %q: a name without a slash", c.producer))
	}
	if c.timeout < 0 {
		faults = append(faults, cli.Usagef("--timeout is negative"))
	}
	return f, errors.Join(faults...)
}

func (f lineFormat) message(line []byte) penstock.Message {
	m := f.content(line)
	if f.after > 0 {
		return m.DeliverAfter(f.after)
	}
	m.DeliverAt = f.at
	return m
}

// content is a line without when it is delivered.
func (f lineFormat) content(line []byte) penstock.Message {
	if f.tombstone {
		return penstock.Message{Key: line, Headers: f.headers, Tombstone: true}
	}
	m := penstock.Message{Value: line, Headers: f.headers}
	if f.separator != nil {
		if key, value, ok := bytes.Cut(line, f.separator); ok {
			m.Key, m.Value = key, value
		}
	}
	return m
}

// hinted returns err with what to do about a missing topic, and about a group of the
// other mode.
func hinted(err error) error {
	switch {
	case errors.Is(err, penstock.ErrNoTopic):
		return fmt.Errorf("%w: create it with \"penstock topic create\"", err)
	case errors.Is(err, penstock.ErrGroupMode):
		return fmt.Errorf("%w: all members of a group use --shared or none does, and so with --partitions", err)
	}
	return err
}

// parseHeader takes NAME=VALUE.
func parseHeader(s string) (penstock.Header, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return penstock.Header{}, cli.Usagef("--header %q: want name=value", s)
	}
	return penstock.Header{Name: name, Value: []byte(value)}, nil
}
