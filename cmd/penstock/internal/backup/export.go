package backup

// A topic becomes a file.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/archive"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// partSuffix is of a file that is not whole yet.
const partSuffix = ".part"

type export struct {
	*cli.App
	force, json bool
}

// Export returns the command topic export.
func Export(a *cli.App) *cobra.Command {
	c := export{App: a}
	cmd := &cobra.Command{
		Use:   "export NAME FILE",
		Short: "Write the records of a topic to a file",
		Long: `Export writes the topic NAME, as it is when the command begins, to FILE: its
settings, and each partition from its first record to its end, with offsets,
keys, headers, times, expiries and ids, and how far its consumer groups are. Records that
a group finished out of their order are handled again by a copy, and those that wait until
they are delivered are left out. The file is compressed and has checksums. It is called FILE.part
until it is whole.

A command that was cut short can be given again: it continues what is in
FILE.part. With - as FILE the archive goes to standard output, and cannot be
continued.`,
		Example: `  penstock topic export audit audit.penstock
  penstock topic export audit - | ssh backup 'cat > audit.penstock'
  penstock topic export audit audit.penstock --json | jq .records`,
		Args: cli.Between(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0], args[1]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.force, "force", false, "write over a FILE that exists, and begin again where a FILE.part does")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

// summary is what both commands print in the end.
type summary struct {
	Topic   string `json:"topic"`
	File    string `json:"file"`
	Records int64  `json:"records"`
	// Bytes are those of the file.
	Bytes int64 `json:"bytes"`
	// Continued is how many of the records an earlier command had done.
	Continued int64 `json:"continued"`
	// Filled is how many offsets had no record any more; an import keeps their places.
	Filled int64 `json:"filled,omitempty"`
	// Groups is how many groups were set to where they were.
	Groups int `json:"groups,omitempty"`
	// Again is how many records groups will handle again that they had finished out of order.
	Again int64 `json:"again,omitempty"`
	// Delayed is how many records waited to be delivered: they are left out.
	Delayed int64 `json:"delayed,omitempty"`
}

func (c *export) run(ctx context.Context, topic, file string) error {
	if err := topicNamed(topic); err != nil {
		return err
	}
	if file == "-" && c.json {
		return cli.Usagef("--json prints to standard output, where the archive goes")
	}
	if file != "-" && !c.force {
		if _, err := os.Stat(file); err == nil {
			return cli.Usagef("%s exists: use another name, or --force", file)
		}
	}
	rt, err := c.Start(ctx)
	if err != nil {
		return err
	}
	done, err := c.export(ctx, rt, topic, file)
	if err != nil && file != "-" && ctx.Err() != nil {
		err = cli.Incompletef("%d records are in %s: give the command again to continue (%v)", done.Records, file+partSuffix, context.Cause(ctx))
	}
	if err := errors.Join(err, c.Stop(ctx, rt)); err != nil {
		return err
	}
	if c.json {
		return cli.PrintJSON(c.Out, done)
	}
	if done.Delayed > 0 {
		c.Say("left out %d records that wait until they are delivered: \"penstock topic delayed ls %s --json\" has them", done.Delayed, topic)
	}
	c.Say("exported %d records of %s to %s, %d bytes", done.Records, topic, file, done.Bytes)
	return nil
}

func (c *export) export(ctx context.Context, rt *penstock.Runtime, topic, file string) (summary, error) {
	done := summary{Topic: topic, File: file}
	asking, cancel := context.WithTimeout(ctx, c.Etcd.Timeout)
	defer cancel()
	d, err := rt.DescribeTopic(asking, topic)
	if err != nil {
		return done, err
	}
	h := archive.Header{Topic: d.Name, ID: d.ID, Settings: []byte(format.TopicValue(d.TopicInfo)), Exported: time.Now().UTC()}
	for _, p := range d.Partitions {
		if p.Err != nil {
			return done, p.Err
		}
		done.Delayed += p.Delayed
		h.Partitions = append(h.Partitions, archive.Range{Start: p.Start, End: p.End})
	}
	for _, g := range d.Groups {
		h.Groups = append(h.Groups, place(g, h.Partitions))
	}
	t, err := rt.Topic(asking, topic)
	if err != nil {
		return done, err
	}
	out, err := c.open(file, h)
	if err != nil {
		return done, err
	}
	defer out.close()
	done.Continued = out.state.Records
	err = c.write(ctx, t, out)
	done.Records = out.archive.Records()
	if err != nil {
		return done, errors.Join(err, out.keep())
	}
	err = out.finish(file)
	done.Bytes = out.bytes
	return done, err
}

// place is where a group continues: at what it has committed, or where it began, as far as
// the partition has that.
func place(g penstock.GroupInfo, within []archive.Range) archive.Group {
	at := archive.Group{Name: g.Group, Offsets: make([]int64, len(within))}
	for p := range at.Offsets {
		at.Offsets[p] = -1
	}
	for _, p := range g.Partitions {
		if p.Err != nil || p.Partition >= len(within) {
			continue
		}
		r, offset := within[p.Partition], p.Committed
		if offset < 0 {
			offset = p.End - p.Lag
		}
		at.Offsets[p.Partition] = min(max(offset, r.Start), r.End)
		if again := min(p.Done, r.End-at.Offsets[p.Partition]); again > 0 {
			if at.Again == nil {
				at.Again = make([]int64, len(within))
			}
			at.Again[p.Partition] = again
		}
	}
	return at
}

// write adds what is missing to an archive.
func (c *export) write(ctx context.Context, t *penstock.Topic, out *target) error {
	bar := c.Progress(out.state.Header.Records(), "export")
	defer bar.Stop()
	passed := int64(0)
	for p, r := range out.state.Header.Partitions {
		from := r.Start
		switch {
		case p < out.state.Partition:
			from = r.End
		case p == out.state.Partition:
			from = max(from, out.state.Offset)
		}
		if from < r.End {
			for rec, err := range t.ReadTo(ctx, p, penstock.FromOffset(from), r.End) {
				if err != nil {
					return err
				}
				m := rec.Message()
				m.ID = rec.ID()
				if err := out.archive.Record(p, rec.Offset, &m); err != nil {
					return fmt.Errorf("write the archive: %w", err)
				}
				bar.At(passed + rec.Offset + 1 - r.Start)
			}
		}
		passed += r.End - r.Start
	}
	return nil
}

// target is where an archive is written.
type target struct {
	archive *archive.Writer
	state   archive.State // what was there
	file    *os.File      // nil for standard output
	buf     *bufio.Writer
	bytes   int64
}

// Write counts bytes.
func (o *target) Write(b []byte) (int, error) {
	n, err := o.buf.Write(b)
	o.bytes += int64(n)
	return n, err
}

// open begins a file, or continues one that is of the same topic.
func (c *export) open(file string, h archive.Header) (*target, error) {
	o := &target{state: archive.State{Header: h}}
	if file == "-" {
		o.buf = bufio.NewWriterSize(c.Out, 256<<10)
		return o, o.begin(h)
	}
	part := file + partSuffix
	var err error
	if !c.force {
		if o.file, err = os.OpenFile(part, os.O_RDWR, 0); err == nil {
			return o, o.resume(part, h)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if o.file, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, err
	}
	o.buf = bufio.NewWriterSize(o.file, 256<<10)
	return o, o.begin(h)
}

func (o *target) begin(h archive.Header) (err error) {
	o.archive, err = archive.NewWriter(o, h)
	return err
}

// resume continues a file behind what is whole of it.
func (o *target) resume(part string, h archive.Header) error {
	s, err := archive.Scan(o.file)
	if err != nil {
		return fmt.Errorf("continue %s: %w: remove it, or use --force", part, err)
	}
	if s.Header.ID != h.ID {
		return cli.Usagef("%s is of another topic (%s, id %s): remove it, or use --force", part, s.Header.Topic, s.Header.ID)
	}
	if s.Whole {
		return cli.Usagef("%s is whole: rename it, or use --force", part)
	}
	if err := o.file.Truncate(s.Size); err != nil {
		return err
	}
	if _, err := o.file.Seek(s.Size, io.SeekStart); err != nil {
		return err
	}
	o.state, o.bytes = s, s.Size
	o.buf = bufio.NewWriterSize(o.file, 256<<10)
	o.archive, err = archive.Continue(o, s)
	return err
}

// keep writes out what is there, for the next command.
func (o *target) keep() error {
	return errors.Join(o.archive.Flush(), o.buf.Flush())
}

// finish makes the file whole, and gives it its name.
func (o *target) finish(file string) error {
	if err := errors.Join(o.archive.Close(), o.buf.Flush()); err != nil {
		return err
	}
	if o.file == nil {
		return nil
	}
	if err := errors.Join(o.file.Sync(), o.file.Close()); err != nil {
		return err
	}
	return os.Rename(file+partSuffix, file)
}

func (o *target) close() {
	if o.file != nil {
		o.file.Close()
	}
}
