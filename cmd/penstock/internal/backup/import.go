package backup

// A file becomes a topic.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/archive"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

type imports struct {
	*cli.App
	as                  string
	resume, check, json bool
	noGroups            bool
}

// Import returns the command topic import.
func Import(a *cli.App) *cobra.Command {
	c := imports{App: a}
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Create a topic from a file that export wrote",
		Long: `Import creates the topic that FILE was exported from, under its name or that of
--as, and puts its records back, partition by partition, in their order. Each
record keeps its offset, key, headers, time, expiry and id: a partition begins at
the first offset of the file, and where a record was deleted an empty one that
expired in 1970 takes its place, which groups pass over. The settings of the topic
come last, so that no retention deletes what was just put. Consumer groups continue where
they were when FILE was written, unless --no-groups is given or they have members.

Nothing else may put into the topic meanwhile. A command that was cut short can be
given again with --resume: it compares what is there with the file, and continues
behind it. With --check nothing is put: the file is read to its end.

- as FILE is standard input.`,
		Example: `  penstock topic import audit.penstock
  penstock topic import audit.penstock --as audit-2026 --json
  penstock topic import audit.penstock --check`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&c.as, "as", "", "`name` of the topic; that of the exported one when empty")
	f.BoolVar(&c.resume, "resume", false, "continue an import that was cut short")
	f.BoolVar(&c.check, "check", false, "read the file, verify it and put nothing")
	f.BoolVar(&c.noGroups, "no-groups", false, "do not set the consumer groups to where they were")
	f.BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func topicNamed(name string) error {
	if err := keys.ValidateTopic(name); err != nil {
		return cli.Usagef("%v", err)
	}
	return nil
}

func (c *imports) run(ctx context.Context, file string) error {
	if c.check && (c.resume || c.as != "") {
		return cli.Usagef("--check puts nothing: give it without --as and --resume")
	}
	in, err := c.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := archive.NewReader(in)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	done := summary{Topic: c.as, File: file}
	if done.Topic == "" {
		done.Topic = r.Header().Topic
	}
	if c.check {
		err = c.verify(ctx, r)
	} else {
		err = c.load(ctx, r, &done)
	}
	if err != nil {
		return err
	}
	done.Records, done.Bytes = r.Records(), r.At()
	switch {
	case c.json:
		return cli.PrintJSON(c.Out, done)
	case c.check:
		c.Say("%s is whole: %d records of %s", file, done.Records, done.Topic)
	default:
		c.Say("imported %d records into %s", done.Records, done.Topic)
	}
	return nil
}

func (c *imports) verify(ctx context.Context, r *archive.Reader) error {
	bar := c.Progress(-1, "check")
	defer bar.Stop()
	return all(ctx, r, func(int, int64, messages.Payload) error {
		bar.At(r.Records())
		return nil
	})
}

// all reads a file to its end.
func all(ctx context.Context, r *archive.Reader, each func(partition int, offset int64, p messages.Payload) error) error {
	for {
		if ctx.Err() != nil {
			return cli.Incompletef("read %d records (%v)", r.Records(), context.Cause(ctx))
		}
		switch err := r.Next(each); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (c *imports) load(ctx context.Context, r *archive.Reader, done *summary) error {
	if err := topicNamed(done.Topic); err != nil {
		return err
	}
	h := r.Header()
	was, err := format.ParseTopic(h.Topic, h.Settings, 0, 0)
	if err == nil && was.Config.Partitions < len(h.Partitions) {
		err = fmt.Errorf("%d partitions, and settings of %d: %w", len(h.Partitions), was.Config.Partitions, messages.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("the settings in the archive: %w", err)
	}
	rt, err := c.Start(ctx)
	if err != nil {
		return err
	}
	err = c.into(ctx, rt, r, was.Config, done)
	if err != nil && ctx.Err() != nil {
		err = cli.Incompletef("imported %d of at most %d records: continue with --resume (%v)", r.Records(), h.Records(), context.Cause(ctx))
	}
	return errors.Join(err, c.Stop(ctx, rt))
}

func (c *imports) into(ctx context.Context, rt *penstock.Runtime, r *archive.Reader, settings penstock.TopicConfig, done *summary) error {
	h := r.Header()
	asking, cancel := context.WithTimeout(ctx, c.Etcd.Timeout)
	defer cancel()
	l := &loader{ctx: ctx, header: h, done: done, bar: c.Progress(h.Records(), "import")}
	defer l.bar.Stop()
	chosen := penstock.PartitionBy(penstock.Manual(func(*penstock.Message, int) int { return l.partition }))
	plain := penstock.TopicConfig{
		Partitions: settings.Partitions, Compression: settings.Compression, MaxRecordBytes: messages.MaxRecordBytes,
	}
	starts := make([]int64, len(h.Partitions))
	for p, at := range h.Partitions {
		starts[p] = at.Start
	}
	l.next = append(l.next, starts...)
	var err error
	l.topic, err = rt.CreateTopicAt(asking, done.Topic, plain, starts, chosen)
	if errors.Is(err, penstock.ErrTopicExists) {
		if !c.resume {
			return fmt.Errorf("%w: import into another name with --as, or continue an import with --resume", err)
		}
		if l.topic, err = rt.Topic(asking, done.Topic, chosen); err == nil {
			err = l.compare(asking, rt)
		}
	}
	if err != nil {
		return err
	}
	cancel()
	if err := all(ctx, r, l.record); err != nil {
		return errors.Join(err, l.failed())
	}
	if err := l.finish(); err != nil {
		return err
	}
	if !c.noGroups {
		if err := c.groups(ctx, rt, h, done); err != nil {
			return err
		}
	}
	asking, cancel = context.WithTimeout(ctx, c.Etcd.Timeout)
	defer cancel()
	_, err = rt.UpdateTopic(asking, done.Topic, changes(settings))
	return err
}

// groups sets groups to where they were. One that has members stays where it is.
func (c *imports) groups(ctx context.Context, rt *penstock.Runtime, h archive.Header, done *summary) error {
	for _, g := range h.Groups {
		stays := false
		for p, at := range g.Offsets {
			if at < 0 {
				continue
			}
			asking, cancel := context.WithTimeout(ctx, c.Etcd.Timeout)
			_, err := rt.ResetOffsets(asking, done.Topic, g.Name, penstock.FromOffset(at), penstock.OnlyPartitions(p))
			cancel()
			if errors.Is(err, penstock.ErrGroupLive) {
				c.Say("group %s has members, and stays where it is from partition %d on", g.Name, p)
				stays = true
				break
			}
			if err != nil {
				return err
			}
		}
		if stays {
			continue
		}
		done.Groups++
		if n := g.Repeats(); n > 0 {
			done.Again += n
			c.Say("group %s will handle %d records again that it had finished out of their order, and counts attempts from the beginning", g.Name, n)
		}
	}
	return nil
}

// loader puts records at the offsets that they had.
type loader struct {
	ctx    context.Context
	topic  *penstock.Topic
	header archive.Header
	done   *summary
	bar    cli.Progress

	partition int
	next      []int64 // offset of the next record, by partition
	// last is what the topic had at the end of each partition, where it was there
	// before: it must be what the file has.
	last map[int]penstock.Record

	mu    sync.Mutex
	fault error
}

// errElsewhere: a record landed at another offset than it had.
var errElsewhere = errors.New("somebody else puts into the topic")

// compare checks that a topic is what an earlier import left, and notes where it ends.
func (l *loader) compare(ctx context.Context, rt *penstock.Runtime) error {
	d, err := rt.DescribeTopic(ctx, l.topic.Name())
	if err != nil {
		return err
	}
	differs := func(format string, args ...any) error {
		return cli.Usagef("%s is not what an import of this file has left: %s", l.topic.Name(), fmt.Sprintf(format, args...))
	}
	if len(d.Partitions) != d.Config.Partitions || len(d.Partitions) < len(l.header.Partitions) {
		return differs("it has %d partitions, and the file %d", len(d.Partitions), len(l.header.Partitions))
	}
	l.last = make(map[int]penstock.Record)
	for p, in := range l.header.Partitions {
		has := d.Partitions[p]
		switch {
		case has.Err != nil:
			return has.Err
		case has.Start != in.Start || has.End > in.End:
			return differs("partition %d goes from %d to %d, and in the file from %d to %d", p, has.Start, has.End, in.Start, in.End)
		case has.End == has.Start:
			continue
		}
		for rec, err := range l.topic.ReadTo(ctx, p, penstock.FromOffset(has.End-1), has.End) {
			if err != nil {
				return err
			}
			l.last[p] = rec.Clone()
		}
		l.next[p] = has.End
		l.done.Continued += has.End - has.Start
	}
	return nil
}

// record puts one record of the file, unless the topic has it.
func (l *loader) record(p int, offset int64, r messages.Payload) error {
	if err := l.failed(); err != nil {
		return err
	}
	l.bar.At(l.at(p, offset))
	if last, ok := l.last[p]; ok && last.Offset == offset {
		if !bytes.Equal(last.Key, r.Key) || !bytes.Equal(last.Value, r.Value) || last.UnixNano != r.UnixNano || last.ID() != r.ID() || last.Tombstone() != r.Tombstone() {
			return cli.Usagef("%s is not what an import of this file has left: partition %d has another record at offset %d", l.topic.Name(), p, offset)
		}
	}
	if offset < l.next[p] {
		return nil
	}
	if err := l.fill(p, offset); err != nil {
		return err
	}
	m := r.Message()
	m.ID = r.ID()
	return l.put(p, m)
}

func (l *loader) at(p int, offset int64) (n int64) {
	for _, r := range l.header.Partitions[:p] {
		n += r.End - r.Start
	}
	return n + offset + 1 - l.header.Partitions[p].Start
}

// fill puts records that expired long ago where there are none in the file.
func (l *loader) fill(p int, upTo int64) error {
	for l.next[p] < upTo {
		if err := l.put(p, penstock.Message{Time: longAgo, ExpiresAt: longAgo}); err != nil {
			return err
		}
		l.done.Filled++
	}
	return nil
}

var longAgo = time.Unix(0, 1).UTC()

// put puts a message as the next of its partition.
func (l *loader) put(p int, m penstock.Message) error {
	l.partition = p
	want := l.next[p]
	l.next[p]++
	return l.topic.PutAsync(l.ctx, m, func(r penstock.PutResult) {
		if r.Err == nil && r.Offset == want {
			return
		}
		err := r.Err
		if err == nil {
			err = fmt.Errorf("partition %d: the record of offset %d is at %d: %w", p, want, r.Offset, errElsewhere)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.fault == nil {
			l.fault = err
		}
	})
}

func (l *loader) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// finish fills what is missing at the ends, and waits for all of it.
func (l *loader) finish() error {
	for p, r := range l.header.Partitions {
		if err := l.fill(p, r.End); err != nil {
			return err
		}
	}
	return errors.Join(l.topic.Flush(l.ctx), l.failed())
}

// changes are what makes a topic with plain settings one with all of them.
func changes(c penstock.TopicConfig) penstock.TopicUpdate {
	return penstock.TopicUpdate{
		Partitions: c.Partitions, Compression: c.Compression, MaxRecordBytes: c.MaxRecordBytes,
		DedupeWindow: c.DedupeWindow, DedupeRecords: c.DedupeRecords,
		MaxAge: c.MaxAge, MaxBytes: c.MaxBytes, MaxRecords: c.MaxRecords, TTL: c.TTL, Retention: c.Retention, Discard: c.Discard,
		Compaction: c.Compaction, TombstoneGrace: c.TombstoneGrace, CompactionLag: c.CompactionLag,
	}
}
