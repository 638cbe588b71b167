package cli

// An etcd that did not reply, and what to do about it.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock/discovery"
)

// unreachableError names the etcd that did not reply, and a way out.
type unreachableError struct {
	endpoints []string
	err       error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no etcd answers at %s: %s\n  (%v)", strings.Join(e.endpoints, ","), WayOut(e.endpoints, e.err), e.err)
}
func (e *unreachableError) Unwrap() error { return e.err }

// WayOut returns what to do about an etcd that did not reply, as its error says.
func WayOut(endpoints []string, err error) string {
	var connect *discovery.ConnectError
	if !errors.As(err, &connect) {
		if status.Code(err) == codes.Unimplemented {
			return "what listens there is no etcd: check --etcd or PENSTOCK_ETCD"
		}
		return "check that it runs and can be reached, or give it longer with --etcd-timeout"
	}
	if connect.Proxy != "" {
		return fmt.Sprintf("HTTPS_PROXY puts the proxy %s before it: name it in NO_PROXY to go past that", connect.Proxy)
	}
	switch connect.Fault {
	case discovery.FaultRefused:
		if slices.ContainsFunc(endpoints, elsewhere) {
			return "nothing listens there: check --etcd or PENSTOCK_ETCD, and that it runs"
		}
		return "start one with \"penstock serve\", or name yours with --etcd or PENSTOCK_ETCD"
	case discovery.FaultNoHost:
		return "its name is not known: check --etcd or PENSTOCK_ETCD"
	case discovery.FaultUnknownCA:
		return "give the CA of its certificate with --etcd-cacert"
	case discovery.FaultOtherName:
		return "name it with --etcd as its certificate does"
	case discovery.FaultExpired:
		return "renew its certificate, or set the clock"
	case discovery.FaultClientCert:
		return "give a certificate that it takes with --etcd-cert and --etcd-key"
	case discovery.FaultPlain:
		return "it may not speak TLS: name it with http:// and leave out certificates"
	case discovery.FaultTLS:
		return "it may want TLS: name it with https://"
	case discovery.FaultOtherServer:
		return "what listens there is no etcd, or wants https://: check --etcd or PENSTOCK_ETCD"
	}
	return "check that it runs and can be reached"
}

// elsewhere reports whether an endpoint may be on another machine.
func elsewhere(endpoint string) bool {
	scheme, hostport, cut := strings.Cut(endpoint, "://")
	if !cut {
		scheme, hostport = "", endpoint
	}
	if strings.HasPrefix(scheme, "unix") || strings.HasPrefix(hostport, "unix:") {
		return false
	}
	host, _, err := net.SplitHostPort(strings.TrimSuffix(hostport, "/"))
	if err != nil {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return host != "" && host != "localhost" && (err != nil || !ip.IsLoopback() && !ip.IsUnspecified())
}

// Exposed reports whether an address can be reached from elsewhere.
func Exposed(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil || host == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && !ip.IsLoopback()
}
