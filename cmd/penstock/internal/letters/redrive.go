package letters

// Putting dead letters back where they are from.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// redriven is the group that stands for what was put back.
const redriven = "penstock-redrive"

// mostAtOnce is how many dead letters one transaction puts back.
const mostAtOnce = 16

// idle is how long one waits for a dead letter. What is left then was deleted, or is
// another redrive's.
const idle = time.Second

type redrive struct {
	*cli.App
	rate float64
	json bool
}

func redriveCommand(a *cli.App) *cobra.Command {
	c := redrive{App: a}
	cmd := &cobra.Command{
		Use:   "redrive TOPIC",
		Short: "Put dead letters back where they are from",
		Long: `Redrive puts the dead letters in the topic TOPIC back into the topics that they are from,
without the headers that say so, up to the end that TOPIC has when it begins. A record
with a key goes to the partition of its key. All groups of that topic get it again, also
those that have handled it. A dead letter that lacks a part of its record, which was too
large, is skipped when the record itself was deleted, and so is one from a topic that
does not exist any more.

How far it is, is the place of the group "penstock-redrive" of TOPIC, which moves in the
transaction that puts the records back: each is put back once, and after an end in the
middle the next redrive continues. The dead letters stay in TOPIC until "dlq purge".
To put all back again, delete that group.`,
		Example: `  penstock dlq redrive audit-letters
  penstock dlq redrive audit-letters --rate 50`,
		Args: cli.Between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().Float64Var(&c.rate, "rate", 0, "`records` a second at most; 0 is no limit")
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object in the end")
	return cmd
}

// redrivenView is what is printed in the end.
type redrivenView struct {
	Topic    string `json:"topic"`
	Redriven int    `json:"redriven"`
	Skipped  int    `json:"skipped"` // that are no dead letters, lack what is gone, or are from no topic
	// NoTopic is how many of those skipped are from a topic that does not exist.
	NoTopic int `json:"no_topic"`
}

func (c *redrive) run(ctx context.Context, topic string) error {
	if c.rate < 0 {
		return cli.Usagef("--rate cannot be negative")
	}
	rt, err := c.Start(ctx)
	if err != nil {
		return err
	}
	v := redrivenView{Topic: topic}
	err = c.all(ctx, rt, topic, &v)
	err = errors.Join(err, c.Stop(ctx, rt))
	if c.json {
		return errors.Join(err, cli.PrintJSON(c.Out, v))
	}
	c.Say("redrove %d of %s, skipped %d", v.Redriven, topic, v.Skipped)
	return err
}

// all puts back what there is.
func (c *redrive) all(ctx context.Context, rt *penstock.Runtime, topic string, v *redrivenView) (err error) {
	d, err := rt.DescribeTopic(ctx, topic)
	if err != nil {
		return err
	}
	t, err := rt.Topic(ctx, topic)
	if err != nil {
		return err
	}
	sub, err := t.Subscribe(ctx, redriven, penstock.CommitEvery(idle/4)) // which passes over what was deleted
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sub.Unsubscribe(context.WithoutCancel(ctx))) }()
	origins := map[string]*penstock.Topic{}
	for {
		g, err := rt.DescribeConsumerGroup(ctx, topic, redriven)
		if err != nil {
			return err
		}
		if !left(d, g) {
			return nil
		}
		began, had := time.Now(), v.Redriven
		if err := c.some(ctx, rt, sub, origins, v); err != nil {
			return err
		}
		if c.rate > 0 {
			rest := time.Duration(float64(v.Redriven-had)/c.rate*float64(time.Second)) - time.Since(began)
			select {
			case <-time.After(rest):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// left reports whether the group is before the end that the topic had.
func left(d penstock.TopicDescription, g penstock.GroupInfo) bool {
	for _, p := range g.Partitions {
		if p.Partition < len(d.Partitions) && max(p.Committed, p.Start) < d.Partitions[p.Partition].End {
			return true
		}
	}
	return false
}

// some puts back some dead letters, in one transaction. None within idle is no error.
func (c *redrive) some(ctx context.Context, rt *penstock.Runtime, sub *penstock.Subscription, origins map[string]*penstock.Topic, v *redrivenView) error {
	most := mostAtOnce
	if c.rate > 0 {
		most = max(1, min(most, int(c.rate)))
	}
	for {
		err := c.transact(ctx, rt, sub, most, origins, v)
		switch {
		case errors.Is(err, penstock.ErrTopicDeleted):
			clear(origins) // one of them was deleted just now: it is looked for again
			if _, gone := rt.DescribeTopic(ctx, v.Topic); gone != nil {
				return errors.Join(err, gone)
			}
		case errors.Is(err, penstock.ErrTooLarge) && most > 1:
			most /= 2
		default:
			return err
		}
	}
}

// transact puts back up to most dead letters.
func (c *redrive) transact(ctx context.Context, rt *penstock.Runtime, sub *penstock.Subscription, most int, origins map[string]*penstock.Topic, v *redrivenView) error {
	var done, skipped, noTopic int
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	wait := time.AfterFunc(idle, func() { stop(errIdle) })
	_, err := sub.Transact(waiting, most, func(tx *penstock.Tx, recs []penstock.Record) error {
		if !wait.Stop() {
			return errIdle
		}
		for _, r := range recs {
			letter, ok := messages.DeadRecordOf(r.Payload)
			if !ok {
				skipped++
				continue
			}
			if origins[letter.Topic] == nil {
				t, err := rt.Topic(ctx, letter.Topic)
				if errors.Is(err, penstock.ErrNoTopic) {
					c.Say("partition %d, offset %d is from topic %s, which does not exist: skipped", r.Partition, r.Offset, letter.Topic)
					skipped++
					noTopic++
					continue
				}
				if err != nil {
					return fmt.Errorf("the dead letter at offset %d of partition %d: %w", r.Offset, r.Partition, err)
				}
				origins[letter.Topic] = t
			}
			m := r.Message()
			if letter.Omitted != "" {
				whole, err := original(ctx, origins[letter.Topic], letter, &r)
				if err != nil {
					return err
				}
				if whole == nil {
					c.Say("partition %d, offset %d lacks %s, and its record was deleted: skipped", r.Partition, r.Offset, letter.Omitted)
					skipped++
					continue
				}
				m = whole.Message()
			}
			tx.Put(origins[letter.Topic], messages.Unmarked(m))
			done++
		}
		return nil
	})
	switch {
	case err == nil:
		v.Redriven, v.Skipped, v.NoTopic = v.Redriven+done, v.Skipped+skipped, v.NoTopic+noTopic
	case errors.Is(err, errIdle) && ctx.Err() == nil:
		return nil
	}
	return err
}

// original is the record that the dead letter is from which says d, nil when it was
// deleted: a topic of that name that was made since has another, if any, of another time.
func original(ctx context.Context, from *penstock.Topic, d messages.DeadRecord, letter *penstock.Record) (*penstock.Record, error) {
	for r, err := range from.ReadTo(ctx, d.Partition, penstock.FromOffset(d.Offset), d.Offset+1) {
		switch {
		case errors.Is(err, penstock.ErrOffsetOutOfRange):
			return nil, nil
		case err != nil:
			return nil, err
		case r.Offset == d.Offset && r.UnixNano == letter.UnixNano:
			return &r, nil
		}
	}
	return nil, nil
}

// errIdle ends a wait for dead letters.
var errIdle = errors.New("no dead letter came")
