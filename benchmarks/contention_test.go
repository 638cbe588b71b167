package benchmarks

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// Many processes that append to one partition.

const (
	// appendTo in the environment makes this binary one of those processes:
	// the endpoint of etcd. The others are its namespace and how many
	// producers.
	appendTo        = "PENSTOCK_BENCHMARKS_APPEND_TO"
	appendPrefix    = "PENSTOCK_BENCHMARKS_APPEND_PREFIX"
	appendProducers = "PENSTOCK_BENCHMARKS_APPEND_PRODUCERS"

	contended    = "contended"
	appendWarm   = time.Second // until all know of each other
	appendFor    = 4 * time.Second
	appendRecord = 1 << 10
	appendBatch  = 480 // records: nearly the largest append
	appendAhead  = 3   // batches of each producer: on its way, next, being filled
)

// appended is what one loop of a producer saw.
type appended struct {
	Took  []time.Duration `json:"took"` // of each append
	Bytes int             `json:"bytes"`
}

// appendAll is such a process. It says when it is ready, begins when its
// standard input ends, and prints what each producer's loops saw.
func appendAll() error {
	n, err := strconv.Atoi(os.Getenv(appendProducers))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var topics []*penstock.Topic
	for range n {
		rt, err := penstock.Start(ctx, penstock.Etcd(os.Getenv(appendTo)), penstock.Prefix(os.Getenv(appendPrefix)))
		if err != nil {
			return err
		}
		defer rt.Stop(ctx)
		topic, err := rt.Topic(ctx, contended)
		if err != nil {
			return err
		}
		topics = append(topics, topic)
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	type outcome struct {
		appended
		err error
	}
	outcomes := make(chan outcome)
	for i, topic := range topics {
		for j := range appendAhead {
			go func() {
				a, err := appendMany(ctx, topic, uint64(os.Getpid()*n+i)*appendAhead+uint64(j))
				outcomes <- outcome{a, err}
			}()
		}
	}
	for range n * appendAhead {
		o := <-outcomes
		if o.err != nil {
			return o.err
		}
		if err := json.NewEncoder(os.Stdout).Encode(o.appended); err != nil {
			return err
		}
	}
	return nil
}

// appendMany appends one batch after the other.
func appendMany(ctx context.Context, topic *penstock.Topic, seed uint64) (appended, error) {
	var a appended
	batch := make([]penstock.Message, appendBatch)
	for i := range batch {
		batch[i].Value = make([]byte, appendRecord)
		load.Fill(batch[i].Value, seed<<16|uint64(i), 0)
	}
	start := time.Now().Add(appendWarm)
	for end := start.Add(appendFor); time.Now().Before(end); {
		began := time.Now()
		if _, err := topic.PutBatch(ctx, batch); err != nil {
			return a, err
		}
		if began.Before(start) {
			continue
		}
		a.Took = append(a.Took, time.Since(began))
		a.Bytes += appendBatch * appendRecord
	}
	return a, nil
}

// appenders runs processes with so many producers each, and answers what all
// saw.
func appenders(t *testing.T, prefix string, processes, producers int) (all []appended) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type process struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	var running []process
	for range processes {
		p := process{cmd: exec.CommandContext(t.Context(), self)}
		p.cmd.Env = append(os.Environ(), appendTo+"="+etcd.Endpoints[0], appendPrefix+"="+prefix, appendProducers+"="+strconv.Itoa(producers))
		p.cmd.Stderr = os.Stderr
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.out = bufio.NewReader(out)
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, p)
	}
	for _, p := range running {
		if line, err := p.out.ReadString('\n'); err != nil {
			t.Fatalf("a process is not ready: %q, %v", line, err)
		}
	}
	for _, p := range running {
		p.in.Close()
	}
	for _, p := range running {
		for results := json.NewDecoder(p.out); ; {
			var a appended
			if err := results.Decode(&a); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := len(all), processes*producers*appendAhead; got != want {
		t.Fatalf("%d of %d answered", got, want)
	}
	return all
}

// Sixteen producers share a partition fairly, and do not get in one another's
// way much: together they put at least 0.6 times what one does alone. Whatever
// else the machine does falls upon one of the two measurements, so it has three
// chances.
func TestScaleContendedPartition(t *testing.T) {
	skipUnlessMeasurable(t)
	const processes, producers, slowest, share = 4, 4, 10, 0.6
	rt := start(t)
	create(t, rt, contended, 1)
	prefix := "/" + t.Name()
	sum := func(all []appended) (bytes int, took []time.Duration) {
		for _, a := range all {
			bytes += a.Bytes
			took = append(took, a.Took...)
		}
		slices.Sort(took)
		return bytes, took
	}
	rate := func(bytes int) float64 { return float64(bytes) / appendFor.Seconds() / 1e6 }
	for range 3 {
		alone, _ := sum(appenders(t, prefix, 1, 1))
		all := appenders(t, prefix, processes, producers)
		together, took := sum(all)
		p50, p99 := took[len(took)/2], took[len(took)*99/100]
		least, most := len(took), 0
		for _, a := range all {
			least, most = min(least, len(a.Took)), max(most, len(a.Took))
		}
		t.Logf("one producer: %.0f MB/s; %d in %d processes: %.0f MB/s (%.2f times), p50 %s, p99 %s, worst %s, %d to %d appends each loop",
			rate(alone), processes*producers, processes, rate(together), float64(together)/float64(alone), p50, p99, took[len(took)-1], least, most)
		if p99 <= slowest*p50 && float64(together) >= share*float64(alone) {
			return
		}
	}
	t.Errorf("they put less than %g times what one alone does, or p99 is more than %d times the median", share, slowest)
}
