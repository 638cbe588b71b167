package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
)

// What is advised fits what went wrong: an etcd is to be started only where
// nothing listens on this machine.
func TestWayOut(t *testing.T) {
	fault := func(f discovery.Fault) error {
		return fmt.Errorf("start: %w", &discovery.ConnectError{Fault: f, Cause: "cause"})
	}
	for _, c := range []struct {
		endpoint string
		err      error
		says     string
	}{
		{"127.0.0.1:1", fault(discovery.FaultRefused), "penstock serve"},
		{"localhost:1", fault(discovery.FaultRefused), "penstock serve"},
		{"http://[::1]:1", fault(discovery.FaultRefused), "penstock serve"},
		{"etcd.example:1", fault(discovery.FaultRefused), "nothing listens"},
		{"http://10.0.0.1:1", fault(discovery.FaultRefused), "nothing listens"},
		{"127.0.0.1:1", fault(discovery.FaultNoHost), "--etcd"},
		{"127.0.0.1:1", fault(discovery.FaultUnknownCA), "--etcd-cacert"},
		{"127.0.0.1:1", fault(discovery.FaultOtherName), "certificate"},
		{"127.0.0.1:1", fault(discovery.FaultExpired), "renew"},
		{"127.0.0.1:1", fault(discovery.FaultClientCert), "--etcd-cert"},
		{"127.0.0.1:1", fault(discovery.FaultPlain), "http://"},
		{"127.0.0.1:1", fault(discovery.FaultTLS), "https://"},
		{"127.0.0.1:1", fault(discovery.FaultOtherServer), "no etcd"},
		{"127.0.0.1:1", fault(discovery.FaultOther), "check"},
		{"127.0.0.1:1", &discovery.ConnectError{Fault: discovery.FaultRefused, Proxy: "proxy:3128"}, "NO_PROXY"},
		{"127.0.0.1:1", fmt.Errorf("%w: %w", penstock.ErrUnavailable, status.Error(codes.Unimplemented, "unexpected HTTP status code")), "no etcd"},
		{"127.0.0.1:1", errors.New("context deadline exceeded"), "--etcd-timeout"},
	} {
		err := &unreachableError{[]string{c.endpoint}, c.err}
		if s := err.Error(); !strings.Contains(s, c.says) || strings.Contains(s, "penstock serve") != (c.says == "penstock serve") {
			t.Errorf("%s, %v: %q, want %q", c.endpoint, c.err, s, c.says)
		}
	}
}
