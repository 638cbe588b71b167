package demo

// The child processes of the demo of topics: a producer
// that puts as many records as it is told to, and a member that reports each
// record before it counts as finished. What a killed member reported and had
// not committed is handled again; what it had not reported was not committed.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

// Producer returns the hidden command demo-producer.
func Producer(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo-producer TOPIC INDEX OF [FILE]",
		Short:   "Be a producer of the demo",
		Example: "  penstock demo-producer lines 0 2 --etcd 127.0.0.1:2379",
		Hidden:  true,
		Args:    cli.Between(3, 4),
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := strconv.Atoi(args[1])
			if err != nil {
				return cli.Usagef("INDEX: %w", err)
			}
			of, err := strconv.Atoi(args[2])
			if err != nil || of < 1 {
				return cli.Usagef("OF %q: want a number of producers", args[2])
			}
			lines, err := readLines(strings.Join(args[3:], ""))
			if err != nil {
				return err
			}
			return runProducer(cmd.Context(), a, args[0], index, of, lines)
		},
	}
	a.Etcd.Add(cmd.Flags())
	return cmd
}

// runProducer puts its share of the records below each number that it
// reads, every of-th from index on, and writes how many etcd has committed.
func runProducer(ctx context.Context, a *cli.App, topic string, index, of int, lines []string) error {
	ctx = context.WithoutCancel(ctx)
	return runChild(ctx, a, func(rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, topic)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.Out, readyLine); err != nil {
			return err
		}
		putting, fail := context.WithCancelCause(ctx)
		defer fail(nil)
		var committed atomic.Int64
		done := func(r penstock.PutResult) {
			if r.Err != nil {
				fail(r.Err)
				return
			}
			committed.Add(1)
		}
		next := index
		goals := bufio.NewScanner(a.In)
		for goals.Scan() {
			goal, err := numberOf(goals.Bytes())
			if err != nil {
				return err
			}
			for ; next < goal; next += of {
				m := penstock.Message{Key: strconv.AppendInt(nil, int64(next%len(lines)), 10), Value: numbered(lines, next)}
				if err := t.PutAsync(putting, m, done); err != nil {
					return err
				}
			}
			if _, err := fmt.Fprintln(a.Out, committed.Load()); err != nil {
				return err
			}
		}
		if err := t.Flush(putting); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.Out, committed.Load()); err != nil {
			return err
		}
		return context.Cause(putting)
	})
}

// Consumer returns the hidden command demo-consumer.
func Consumer(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "demo-consumer TOPIC GROUP",
		Short:   "Be a member of the demo's consumer group",
		Example: "  penstock demo-consumer lines readers --etcd 127.0.0.1:2379",
		Hidden:  true,
		Args:    cli.Between(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConsumer(cmd.Context(), a, args[0], args[1])
		},
	}
	a.Etcd.Add(cmd.Flags())
	return cmd
}

func runConsumer(ctx context.Context, a *cli.App, topic, group string) error {
	ctx, cancel := untilInputEnds(ctx, a)
	defer cancel(nil)
	return runChild(ctx, a, func(rt *penstock.Runtime) error {
		t, err := rt.Topic(ctx, topic)
		if err != nil {
			return err
		}
		s, err := t.Subscribe(ctx, group)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(a.Out, readyLine); err != nil {
			return err
		}
		p := lines.RecordPump{From: s, Out: a.Out, Encode: func(dst []byte, r *penstock.Record) []byte {
			n, err := numberOf(r.Value)
			if err != nil {
				return append(dst, "a record that is none\n"...) // the parent says so
			}
			return appendHandled(dst, handled{n, r.Partition, r.Offset})
		}}
		_, err = p.Run(ctx)
		return err
	})
}

// sayGoal tells a producer how far to go.
func sayGoal(w io.Writer, goal int) error {
	_, err := fmt.Fprintln(w, goal)
	return err
}
