package main

// What an error means to whoever started the command.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
)

// exitCode is what the process ends with.
type exitCode int

const (
	exitDone        exitCode = 0
	exitFailed      exitCode = 1
	exitUsage       exitCode = 2
	exitUnreachable exitCode = 3
	exitIncomplete  exitCode = 4
	exitDenied      exitCode = 5
)

// exitCodes is for --help.
const exitCodes = `Exit codes:
  0  done
  1  failed
  2  used wrongly: a flag, a name, an address
  3  etcd cannot be reached
  4  not finished: time ran out or a signal came first
  5  etcd denies the rights`

// usageError is the caller's fault.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// incompleteError says what was left undone when time ran out or a signal came.
type incompleteError struct{ text string }

func (e *incompleteError) Error() string { return e.text }

func incompletef(format string, args ...any) error {
	return &incompleteError{fmt.Sprintf(format, args...)}
}

// saidError was told to the user already.
type saidError struct{ err error }

func (e *saidError) Error() string { return e.err.Error() }
func (e *saidError) Unwrap() error { return e.err }

// unreachableError names the etcd that did not answer, and a way out.
type unreachableError struct {
	endpoints []string
	err       error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("no etcd answers at %s: %s\n  (%v)", strings.Join(e.endpoints, ","), wayOut(e.endpoints, e.err), e.err)
}
func (e *unreachableError) Unwrap() error { return e.err }

// wayOut is what to do about an etcd that did not answer, as its error says.
func wayOut(endpoints []string, err error) string {
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

// codeOf decides the exit code. What the command itself says of its end comes
// before what it is made of.
func codeOf(err error) exitCode {
	var usage *usageError
	var unreachable *unreachableError
	var incomplete *incompleteError
	var abandoned *penstock.AbandonedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.Is(err, penstock.ErrInvalid), errors.Is(err, penstock.ErrNoPartition):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnreachable
	case errors.Is(err, errLost):
		return exitFailed
	case errors.As(err, &incomplete):
		return exitIncomplete
	case errors.Is(err, penstock.ErrDenied):
		return exitDenied
	case errors.Is(err, penstock.ErrUnavailable):
		return exitUnreachable
	case errors.As(err, &abandoned), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return exitIncomplete
	}
	return exitFailed
}
