package benchmarks

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// etcdCounts are what etcd says of itself: all it was ever sent by gRPC, and the watches
// and streams of watches that there are.
type etcdCounts struct{ requests, watches, streams float64 }

func countsOfEtcd(t *testing.T) (c etcdCounts) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+etcd.Endpoints[0]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case strings.HasPrefix(name, "grpc_server_msg_received_total"):
			c.requests += n
		case name == "etcd_debugging_mvcc_watcher_total":
			c.watches = n
		case name == "etcd_debugging_mvcc_watch_stream_total":
			c.streams = n
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// An idle destination with a linked member: what both halves take here, and what they
// ask of etcd while nothing happens.
func TestIdleDestinationWithALink(t *testing.T) {
	skipUnlessMeasurable(t)
	const (
		n, watched        = 300, 6 * time.Second // the keeper of groups looks every 5 s
		heapLimit         = 60 << 10
		goroutineLimit    = 6
		streamLimit       = 20 // for both runtimes
		watchLimit        = 4
		requestsPerSecond = 0.35
	)
	senders, members := start(t), start(t)
	open := func(ctx context.Context, i int) error {
		name := fmt.Sprintf("d%d", i)
		if _, err := senders.Register(ctx, name); err != nil {
			return err
		}
		_, err := members.Join(ctx, name, "g") // it returns linked
		return err
	}
	each(t, 16, func(ctx context.Context, i int) error { return open(ctx, n+i) }) // what is shared is there
	before, goroutines, was := settled(), runtime.NumGoroutine(), countsOfEtcd(t)
	each(t, n, open)
	got := settled().minus(before).per(n)
	routines := float64(runtime.NumGoroutine()-goroutines) / n
	is := countsOfEtcd(t)
	<-time.After(watched)
	rate := (countsOfEtcd(t).requests - is.requests) / watched.Seconds() / n
	watches := (is.watches - was.watches) / n
	t.Logf("%d destinations with a link: %v, %.1f goroutines, %.1f watches, %.2f requests a second each; %.0f streams of watches",
		n, got, routines, watches, rate, is.streams)
	if got.heap > heapLimit {
		t.Errorf("it takes %v, the limit is %d KiB of heap", got, heapLimit>>10)
	}
	if routines > goroutineLimit {
		t.Errorf("it takes %.1f goroutines, the limit is %d", routines, goroutineLimit)
	}
	if watches > watchLimit || is.streams > streamLimit {
		t.Errorf("it takes %.1f watches, the limit is %d; there are %.0f streams, the limit is %d", watches, watchLimit, is.streams, streamLimit)
	}
	if rate > requestsPerSecond {
		t.Errorf("it asks etcd %.2f times a second, the limit is %.2f", rate, requestsPerSecond)
	}
}
