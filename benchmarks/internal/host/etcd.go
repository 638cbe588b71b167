package host

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// EtcdCounts is what a member of etcd has counted since its process began.
type EtcdCounts struct {
	Fsyncs   float64 // of its log
	Requests float64 // messages of clients: calls, and what they send on streams
}

// Minus is what was counted since before.
func (c EtcdCounts) Minus(before EtcdCounts) EtcdCounts {
	return EtcdCounts{c.Fsyncs - before.Fsyncs, c.Requests - before.Requests}
}

// Etcd asks etcd at host:port for its metrics, without TLS.
func Etcd(ctx context.Context, endpoint string) (EtcdCounts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+"/metrics", nil)
	if err != nil {
		return EtcdCounts{}, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return EtcdCounts{}, fmt.Errorf("etcd's metrics: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return EtcdCounts{}, fmt.Errorf("etcd's metrics: %s", resp.Status)
	}
	return counts(resp.Body)
}

// counts reads the text format of Prometheus.
func counts(r io.Reader) (c EtcdCounts, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ = strings.Cut(name, "{")
		if _, after, ok := strings.Cut(lines.Text(), "} "); ok {
			value = after
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			continue // a comment
		}
		switch name {
		case "etcd_disk_wal_fsync_duration_seconds_count":
			c.Fsyncs += v
		case "grpc_server_msg_received_total":
			c.Requests += v
		}
	}
	return c, lines.Err()
}
