package topics

// Records of a topic, without a group.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

type read struct {
	*cli.App
	from      string
	partition int
	count     int
	follow    bool
	format    string
	json      bool
}

// Read returns the command read.
func Read(a *cli.App) *cobra.Command {
	c := read{App: a}
	cmd := &cobra.Command{
		Use:   "read TOPIC",
		Short: "Print the records of a topic without a consumer group",
		Long: `Read prints the records of the topic TOPIC, those of one partition in their order, up
to the end that each partition has when it begins, and ends with code 0. It joins no
group and commits nothing, so it can be repeated, and members of groups do not notice.

With --follow it waits for more until a signal, or until --count is reached. An offset
as --from has to be one of each partition that is read: choose one with --partition.

--format is that of "penstock sub". With --json a key, value or header that is not
UTF-8 is printed as key_base64 or value_base64.`,
		Example: `  penstock read audit
  penstock read audit --from 2h --format '%p:%o %k=%v\n'
  penstock read audit --partition 0 --from 1200 --count 1 --json | jq .
  penstock read audit --from latest --follow`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "earliest", "`start` in each partition: "+startHelp)
	f.IntVar(&c.partition, "partition", anyPartition, "`number` of the partition; -1 reads all")
	f.IntVar(&c.count, "count", 0, "end after `N` records")
	f.BoolVar(&c.follow, "follow", false, "wait for more at the end")
	f.StringVar(&c.format, "format", "", "how to print a record (default "+defaultFormat+")")
	f.BoolVar(&c.json, "json", false, "print an object for each record: key, value, headers, partition, offset, time")
	cli.CompleteFlag(cmd, "from", "earliest", "latest")
	return cmd
}

func (c *read) run(ctx context.Context, topic string) error {
	if err := errors.Join(c.OutputOpen(), topicNamed(topic)); err != nil {
		return err
	}
	from, err := parseStart("--from", c.from, time.Now())
	if err != nil {
		return err
	}
	encode, err := c.encoding()
	if err != nil {
		return err
	}
	switch {
	case c.count < 0:
		return cli.Usagef("--count cannot be negative")
	case c.partition < anyPartition:
		return cli.Usagef("--partition %d: want 0 or more", c.partition)
	}
	rt, err := c.Start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(hinted(c.print(ctx, rt, topic, from, encode)), c.Stop(ctx, rt))
}

func (c *read) encoding() (lines.EncodeRecord, error) {
	switch {
	case c.json && c.format != "":
		return nil, cli.Usagef("--format and --json exclude each other")
	case c.json:
		return appendReadJSON, nil
	}
	return formatOf(c.format)
}

func (c *read) print(ctx context.Context, rt *penstock.Runtime, topic string, from penstock.StartAt, encode lines.EncodeRecord) error {
	stretches, err := c.stretches(ctx, rt, topic, from)
	if err != nil {
		return err
	}
	t, err := rt.Topic(ctx, topic)
	if err != nil {
		return err
	}
	reportTrouble(c.App, rt, topic)
	reading, cancel := context.WithCancel(ctx)
	r := begin(reading, t, stretches)
	defer r.end(cancel)
	p := lines.RecordPump{From: r, Out: c.Out, Encode: encode, Count: c.count, Left: "were not printed"}
	end, err := p.Run(ctx)
	if err == nil && end == lines.EndSignal && (c.count > 0 || !c.follow) {
		err = cli.Incompletef("got %d records (%s)", p.Written(), end)
	}
	return err
}

// stretch is what to read of a partition: from an offset up to the one before to, or
// without end.
type stretch struct {
	partition int
	from, to  int64
}

const withoutEnd = math.MaxInt64

// stretches finds out where to begin in each partition, and where to end. Partitions with
// nothing to read are left out.
func (c *read) stretches(ctx context.Context, rt *penstock.Runtime, topic string, from penstock.StartAt) (all []stretch, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Etcd.Timeout)
	defer cancel()
	d, err := rt.DescribeTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	if c.partition >= len(d.Partitions) {
		return nil, cli.Usagef("--partition %d: %s has %d, counted from 0", c.partition, topic, len(d.Partitions))
	}
	opts := []penstock.ResetOption{penstock.DryRun()}
	if c.partition != anyPartition {
		opts = append(opts, penstock.OnlyPartitions(c.partition))
	}
	// Where a reset would move a group to is where reading begins. Nothing is written.
	starts, err := rt.ResetOffsets(ctx, topic, "read", from, append(opts, penstock.Force())...)
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", topic, c.from, err)
	}
	for _, start := range starts {
		p := d.Partitions[start.Partition]
		switch {
		case p.Err != nil:
			return nil, p.Err
		case c.follow:
			all = append(all, stretch{start.Partition, start.To, withoutEnd})
		case start.To < p.End:
			all = append(all, stretch{start.Partition, start.To, p.End})
		}
	}
	return all, nil
}

// reader reads stretches of partitions, all at once, for a lines.RecordPump.
type reader struct {
	records chan penstock.Record
	failed  chan error    // has room for each stretch
	over    chan struct{} // closed when nobody reads any more
}

func begin(ctx context.Context, t *penstock.Topic, stretches []stretch) *reader {
	r := &reader{
		records: make(chan penstock.Record, 1024), failed: make(chan error, len(stretches)), over: make(chan struct{}),
	}
	done := make(chan struct{})
	for _, s := range stretches {
		go func() {
			defer func() { done <- struct{}{} }()
			if err := r.read(ctx, t, s); err != nil {
				r.failed <- err
			}
		}()
	}
	go func() {
		for range stretches {
			<-done
		}
		close(r.records)
		close(r.over)
	}()
	return r
}

func (r *reader) read(ctx context.Context, t *penstock.Topic, s stretch) error {
	for rec, err := range t.ReadTo(ctx, s.partition, penstock.FromOffset(s.from), s.to) {
		if err != nil {
			return err
		}
		select {
		case r.records <- rec:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Poll returns some records, or after the last of all stretches penstock.ErrClosed. The
// first failure of a partition ends it.
func (r *reader) Poll(ctx context.Context, most int) (recs []penstock.Record, err error) {
	select {
	case rec, more := <-r.records:
		if !more {
			return nil, r.ended()
		}
		recs = append(recs, rec)
	case err := <-r.failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for len(recs) < most {
		select {
		case rec, more := <-r.records:
			if !more {
				return recs, nil
			}
			recs = append(recs, rec)
		default:
			return recs, nil
		}
	}
	return recs, nil
}

func (r *reader) ended() error {
	select {
	case err := <-r.failed:
		return err
	default:
		return penstock.ErrClosed
	}
}

// Commit does nothing: there is no group.
func (r *reader) Commit(context.Context, ...penstock.Record) error { return nil }

// end waits until nobody reads.
func (r *reader) end(cancel context.CancelFunc) {
	cancel()
	<-r.over
}

// ReadLine is a record without a group as JSON.
type ReadLine struct {
	lines.Payload
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
}

func appendReadJSON(dst []byte, r *penstock.Record) []byte {
	return lines.AppendJSON(dst, ReadLine{
		Payload: lines.PayloadOf(&r.Payload), Partition: r.Partition, Offset: r.Offset, Time: r.Time(),
	})
}
