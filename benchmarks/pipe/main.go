// Pipe measures pipes end to end: senders and members in this process, each
// sender in a runtime of its own, over tcp on loopback.
//
//	go run ./benchmarks/pipe -size 64,1024 -groups 2 -members 3 -seconds 5
//	go run ./benchmarks/pipe -rate 20000 -json
//
// Without -rate senders send as fast as pipes take it, and speed is the result.
// With -rate they keep to a timetable, whatever becomes of the messages, and
// latency is the result: from the moment a message was due, so that waiting
// counts even while it holds up the messages behind.
//
// Every message is checked: a lost, repeated, reordered or damaged one ends the
// program with status 1. Results go to standard output, as a table or with -json
// one object a line; progress goes to standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

type settings struct {
	scenario
	sizes string
	mode  string
	etcd  string
	json  bool
}

func main() {
	var s settings
	flag.StringVar(&s.sizes, "size", "64,1024,16384,65536", "message `sizes` in bytes, one scenario each; at least 24")
	flag.IntVar(&s.Senders, "senders", 1, "how many senders")
	flag.IntVar(&s.Groups, "groups", 1, "how many groups; each gets every message")
	flag.IntVar(&s.Members, "members", 1, "how many members in each group")
	flag.StringVar(&s.mode, "mode", string(penstock.AtLeastOnce), "the groups' `mode`: at-least-once or at-most-once")
	flag.IntVar(&s.Window, "window", 0, "`messages` each sender may have out to a member; 0 for the default")
	flag.Float64Var(&s.Rate, "rate", 0, "`messages` per second of all senders together, with latencies; 0 for full speed")
	flag.Float64Var(&s.Seconds, "seconds", 3, "how long senders send, for each size")
	flag.StringVar(&s.etcd, "etcd", "", "`endpoints` of an etcd to use; one in the process when not given")
	flag.BoolVar(&s.json, "json", false, "print results as JSON, one object a line")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipe:", err)
		os.Exit(1)
	}
}

// scenarios are what the flags ask for, or all that is wrong with them.
func (s settings) scenarios() ([]scenario, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Senders < 1 || s.Groups < 1 || s.Members < 1 {
		fault("%d senders, %d groups, %d members: there must be one of each at least", s.Senders, s.Groups, s.Members)
	}
	if s.Seconds <= 0 || s.Rate < 0 || s.Window < 0 {
		fault("%g seconds, a rate of %g, a window of %d: they cannot be negative, and some time is needed", s.Seconds, s.Rate, s.Window)
	}
	s.Mode = penstock.Mode(s.mode)
	if s.Mode != penstock.AtLeastOnce && s.Mode != penstock.AtMostOnce {
		fault("mode %q: there are %s and %s", s.mode, penstock.AtLeastOnce, penstock.AtMostOnce)
	}
	var out []scenario
	for text := range strings.SplitSeq(s.sizes, ",") {
		size, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || size < stampSize || size > 64<<20 {
			fault("size %q: it must be a number from %d to %d", text, stampSize, 64<<20)
			continue
		}
		one := s.scenario
		one.Size = size
		out = append(out, one)
	}
	return out, errors.Join(faults...)
}

func run(ctx context.Context, s settings) error {
	scenarios, err := s.scenarios()
	if err != nil {
		return err
	}
	etcd := clientv3.Config{Endpoints: strings.Split(s.etcd, ",")}
	if s.etcd == "" {
		srv, err := embedded.Start(ctx, "", embedded.UnsafeNoFsync()) // no message passes through it
		if err != nil {
			return err
		}
		defer srv.Close()
		etcd = srv.Config()
	}
	var reports []report
	for i, one := range scenarios {
		r, err := one.run(ctx, etcd, fmt.Sprintf("/penstock-bench-%d-%d", os.Getpid(), i), func(sent, received uint64) {
			fmt.Fprintf(os.Stderr, "%d bytes: %d sent, %d received\n", one.Size, sent, received)
		})
		if err != nil {
			return fmt.Errorf("%d bytes: %w", one.Size, err)
		}
		reports = append(reports, r)
		if s.json {
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				return err
			}
		}
	}
	if s.json {
		return nil
	}
	return table(reports)
}

func table(reports []report) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "size\tsent\tmsg/s\tMB/s\tCPU ns/msg\tredelivered\t")
	if reports[0].Latency != nil {
		fmt.Fprint(w, "p50 µs\tp99\tp99.9\tmax\t")
	}
	fmt.Fprintln(w)
	for _, r := range reports {
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.1f\t%.0f\t%d\t", r.Size, r.Sent, r.PerSecond, r.Bytes, r.CPU, r.Redelivered)
		if l := r.Latency; l != nil {
			fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%.0f\t", l.P50, l.P99, l.P999, l.Max)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
