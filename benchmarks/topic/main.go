// Topic measures topics end to end: producers and the members of consumer
// groups in this process, each in a runtime of its own, over an etcd that is
// spoken to over tcp.
//
//	go run ./benchmarks/topic -size 64,1024 -partitions 4 -producers 2 -consumers 3 -seconds 5
//	go run ./benchmarks/topic -rate 20000 -json
//	go run ./benchmarks/topic -catch-up
//
// Without -rate producers put as fast as topics take it, and speed is the
// result. With -rate they keep to a timetable, whatever becomes of the records,
// and latency is the result: from the moment a record was due until it was
// committed, and until its consumer had it, so that waiting counts even while
// it holds up the records behind. With -catch-up the consumers begin when
// everything was put.
//
// Values do not compress. The etcd in this process syncs to disk, as a user's
// would, unless -no-fsync is given. At full speed it grows by 2.3 times what is
// put: mind the disk.
//
// Every record is checked: a lost, repeated, reordered or damaged one ends the
// program with status 1, and so does an offset that was not committed at the
// end. Results go to standard output, as a table or with -json one object a
// line; progress goes to standard error.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"text/tabwriter"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/discovery/embedded"
)

type settings struct {
	scenario
	sizes       string
	compression string
	etcd        string
	noFsync     bool
	json        bool
	cpuProfile  string
}

func main() {
	var s settings
	flag.StringVar(&s.sizes, "size", "64,1024,16384", "record `sizes` in bytes, one scenario each; at least 24")
	flag.IntVar(&s.Partitions, "partitions", 4, "how many partitions")
	flag.IntVar(&s.Producers, "producers", 1, "how many producers")
	flag.IntVar(&s.Keys, "keys", 0, "how many different keys; 0 for records without")
	flag.IntVar(&s.Groups, "groups", 1, "how many groups; each gets every record")
	flag.IntVar(&s.Consumers, "consumers", 1, "how many members in each group; those of different groups share runtimes")
	flag.StringVar(&s.compression, "compression", string(penstock.CompressS2), "of batches: s2, zstd or none")
	flag.Float64Var(&s.Rate, "rate", 0, "`records` per second of all producers together, with latencies; 0 for full speed")
	flag.Float64Var(&s.Seconds, "seconds", 3, "how long producers put, for each size")
	flag.BoolVar(&s.CatchUp, "catch-up", false, "consume when everything was put, not meanwhile")
	flag.StringVar(&s.etcd, "etcd", "", "`endpoints` of an etcd to use; one in the process when not given")
	flag.BoolVar(&s.noFsync, "no-fsync", false, "let the etcd in the process answer before it is on disk")
	flag.BoolVar(&s.json, "json", false, "print results as JSON, one object a line")
	flag.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile to this `file`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "topic:", err)
		os.Exit(1)
	}
}

// scenarios are what the flags ask for, or all that is wrong with them.
func (s settings) scenarios() ([]scenario, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Producers < 1 || s.Groups < 0 || s.Consumers < 1 {
		fault("%d producers, %d groups, %d consumers: a producer is needed, and a consumer in each group", s.Producers, s.Groups, s.Consumers)
	}
	if s.Seconds <= 0 || s.Rate < 0 || s.Keys < 0 {
		fault("%g seconds, a rate of %g, %d keys: they cannot be negative, and some time is needed", s.Seconds, s.Rate, s.Keys)
	}
	if s.CatchUp && s.Rate > 0 {
		fault("a rate and -catch-up: the latencies would be those of waiting")
	}
	s.Compression = penstock.Compression(s.compression)
	topic := s.topic()
	topic.EnsureDefaults()
	if err := topic.Validate(); err != nil {
		faults = append(faults, err)
	}
	var out []scenario
	for text := range strings.SplitSeq(s.sizes, ",") {
		size, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || size < load.MinRecord || size > largest {
			fault("size %q: it must be a number from %d to %d", text, load.MinRecord, largest)
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
		var opts []embedded.Option
		if s.noFsync {
			opts = append(opts, embedded.UnsafeNoFsync())
		}
		srv, err := embedded.Start(ctx, "", opts...)
		if err != nil {
			return err
		}
		defer srv.Close()
		etcd = srv.Config()
	}
	if s.cpuProfile != "" {
		f, err := os.Create(s.cpuProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var reports []report
	for i, one := range scenarios {
		r, err := one.run(ctx, etcd, fmt.Sprintf("/penstock-bench-%d-%d", os.Getpid(), i), func(put, consumed uint64) {
			fmt.Fprintf(os.Stderr, "%d bytes: %d put, %d consumed\n", one.Size, put, consumed)
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
	fmt.Fprint(w, "size\tput\tput/s\tMB/s\tconsumed/s\tMB/s\tCPU ns/record\t")
	if reports[0].Committed != nil {
		fmt.Fprint(w, "committed p50 µs\tp99\tmax\thandled p50 µs\tp99\tp99.9\tmax\t")
	}
	fmt.Fprintln(w)
	for _, r := range reports {
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.1f\t%.0f\t%.1f\t%.0f\t", r.Size, r.Put, r.PutRate, r.PutRate*float64(r.Size)/1e6, r.ConsumeRate, r.ConsumeRate*float64(r.Size)/1e6, r.CPU)
		if c, h := r.Committed, r.Handled; c != nil {
			fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t", c.P50, c.P99, c.Max, h.P50, h.P99, h.P999, h.Max)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
