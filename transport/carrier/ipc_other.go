//go:build !unix

package carrier

// Unix sockets, where there are none with the permissions that they need.

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

var errNoIPC = errors.New("this system has no ipc: use tcp, or inproc in one process")

func listenIPC(_ context.Context, u address.URL, _ *TLS) (net.Listener, error) {
	return nil, fmt.Errorf("listen on %s: %w: %w", u, messages.ErrInvalid, errNoIPC)
}

func dialIPC(context.Context, address.URL, string, Target) (net.Conn, error) { return nil, errNoIPC }
