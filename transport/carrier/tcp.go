package carrier

// Plain tcp.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

// listenTCP tries the ports in order.
func listenTCP(ctx context.Context, u address.URL, _ *TLS) (net.Listener, error) {
	// The beats of links do what TCP's keep-alive would.
	lc := net.ListenConfig{KeepAlive: -1}
	for port := u.PortLow; ; port++ {
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(u.Host, strconv.Itoa(port)))
		switch {
		case err == nil:
			return ln, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("listen on %s: %w", u, context.Cause(ctx))
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, fmt.Errorf("listen on %s: %w", u, err)
		case port == u.PortHigh:
			return nil, fmt.Errorf("listen on %s: %w: ports %d to %d", u, messages.ErrAddrInUse, u.PortLow, u.PortHigh)
		}
	}
}

func dialTCP(ctx context.Context, _ address.URL, at string, _ Target) (net.Conn, error) {
	return (&net.Dialer{KeepAlive: -1}).DialContext(ctx, "tcp", at)
}
