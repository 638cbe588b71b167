package topiclog

// What a transaction puts into topics.

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog"
)

// Outgoing are the records of a transaction, gathered by partition. Its zero value has
// none. One goroutine at a time uses it, and it is sent once.
type Outgoing struct{ parts []*outgoing }

// outgoing is for one partition.
type outgoing struct {
	part *Partition
	produce.Gathered
	end     int64 // where the partition has to end, or commitlog.AnyEnd
	entered uint64
	base    int64
}

// Add copies a message, to be put where a producer of the topic wants it. It returns the
// partition, or why the message cannot be put.
func (o *Outgoing) Add(t *Topic, from *produce.Producer, m *messages.Message) (int, error) {
	p, _, _, err := from.Place(m)
	if err != nil {
		return p, err
	}
	part, err := t.Partition(p)
	if err != nil {
		return p, fmt.Errorf("put to %q: %w", t.Name, err)
	}
	to := o.to(part)
	to.Add(m)
	return p, nil
}

func (o *Outgoing) to(part *Partition) *outgoing {
	if i := slices.IndexFunc(o.parts, func(to *outgoing) bool { return to.part == part }); i >= 0 {
		return o.parts[i]
	}
	to := &outgoing{part: part, end: commitlog.AnyEnd}
	o.parts = append(o.parts, to)
	return to
}

// ExpectEnd has the records put only if the one partition that they go to ends at an
// offset.
func (o *Outgoing) ExpectEnd(end int64) { o.parts[0].end = end }

// Base is the offset of the first record, of those for the first partition, once it was
// sent.
func (o *Outgoing) Base() int64 { return o.parts[0].base }

// Len is how many records there are.
func (o *Outgoing) Len() (n int) {
	for _, to := range o.parts {
		n += to.Len()
	}
	return n
}

// Send has t write the records too, and readers in this process get them at once. The
// error is that of commitlog.Log.Transact, or why a topic takes nothing any more.
func (o *Outgoing) Send(ctx context.Context, log *commitlog.Log, t *commitlog.Transaction) (err error) {
	slices.SortFunc(o.parts, func(a, b *outgoing) int {
		return cmp.Or(cmp.Compare(a.part.Topic.ID, b.part.Topic.ID), cmp.Compare(a.part.P, b.part.P))
	})
	for _, to := range o.parts {
		if to.entered, err = to.part.acc.Enter(&to.Gathered); err != nil {
			return err
		}
		defer func() { to.part.acc.Leave(to.entered, &to.Gathered, err) }()
	}
	for _, to := range o.parts {
		if gate := to.part.Topic.Env.Gate; gate != nil {
			if err := gate.Pass(ctx, to.Bytes()); err != nil {
				return fmt.Errorf("transact: put to %q: %w", to.part.Topic.Name, err)
			}
		}
	}
	for _, to := range o.parts {
		if err := to.part.turn.take(ctx); err != nil {
			return fmt.Errorf("transact: waiting for the turn to append to %q, partition %d: %w", to.part.Topic.Name, to.part.P, err)
		}
		defer to.part.turn.free()
	}
	for _, to := range o.parts {
		batch, err := to.Seal(to.part.Topic.Info().Config.Compression, t.Producer, t.Sequence)
		if err != nil {
			return fmt.Errorf("transact: put to %q: %w", to.part.Topic.Name, err)
		}
		t.Outputs = append(t.Outputs, commitlog.Output{Appender: to.part.turn.appender, End: to.end, Batch: batch})
	}
	if err := log.Transact(ctx, t); err != nil {
		return err
	}
	for i, to := range o.parts {
		to.landed(&t.Outputs[i])
	}
	return nil
}

// landed gives the batch to readers here.
func (to *outgoing) landed(out *commitlog.Output) {
	to.base = out.Batch.Way.Base
	p, env := to.part, to.part.Topic.Env
	if pid := p.PID.Load(); pid != nil && p.readers.Load() > 0 {
		if b, err := out.Batch.Batch(to.base); err == nil {
			env.Send(pid, appendedHere{out.Batch.Entry(to.base), b})
		}
	}
	out.Batch.Free()
}
