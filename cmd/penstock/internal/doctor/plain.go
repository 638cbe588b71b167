package doctor

// Plain listeners of senders: what answers there, and what it lacks.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

var errNotPlain = errors.New("what answers there is no PUSH socket of nanomsg")

// listen connects to a plain listener and reads what it says first. It says nothing
// itself: who does is taken for a peer, and is given messages.
func listen(ctx context.Context, text string) error {
	u, at, err := address.Dial(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if u.Scheme == address.WS {
		return listenWS(ctx, u, at)
	}
	by, err := carrier.Of(u.Scheme)
	if err != nil {
		return err
	}
	conn, err := by.Dial(ctx, u, at, carrier.Target{})
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // a stream that cannot will fail below
	}
	var got [8]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil {
		return fmt.Errorf("%w: %w", errNotPlain, err)
	}
	switch {
	case got == pushHeader:
		return nil
	case string(got[:4]) == string(pushHeader[:4]):
		return fmt.Errorf("%w: it is a socket of protocol %#02x", errNotPlain, binary.BigEndian.Uint16(got[4:]))
	}
	return fmt.Errorf("%w: it says % x", errNotPlain, got)
}

// listenWS asks for a WebSocket of a kind that no plain listener has: it refuses that, and
// names the kind that it has. With the right one we were its peer.
func listenWS(ctx context.Context, u address.URL, at string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+u.Path, nil)
	if err != nil {
		return err
	}
	req.Host = u.HostHeader()
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "cGVuc3RvY2sgZG9jdG9yIQ==", "Sec-WebSocket-Protocol": "doctor.penstock",
	} {
		req.Header.Set(name, value)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		var refused *net.OpError
		if errors.As(err, &refused) && refused.Op == "dial" {
			return err
		}
		return fmt.Errorf("%w: %w", errNotPlain, err)
	}
	defer resp.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(why), "push.sp.nanomsg.org") {
		return fmt.Errorf("%w: it says %s", errNotPlain, resp.Status)
	}
	return nil
}

// judgePlain says that a plain listener answers, and that it has neither TLS nor tokens. It
// warns where others than its machine can reach it.
func judgePlain(name, url string, err error) check {
	name += " plain"
	if errors.Is(err, errNotPlain) {
		return check{Name: name, Status: verdictFail, Found: url + ": " + cli.Clean(err.Error()), Do: "something else has that port: look at --plain of the sender"}
	}
	c := judgeSocket(name, url, err)
	if err != nil {
		return c
	}
	c.Found = url + " answers, and has neither TLS nor tokens: whoever can connect takes messages"
	if u, at, err := address.Dial(url); err == nil && u.Network() && reachable(at) {
		c.Status, c.Do = verdictWarn, "have it listen on loopback or a unix socket, or let a firewall decide who connects"
	}
	return c
}

// reachable reports whether an address to dial may be that of another machine, or be
// dialled from one.
func reachable(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	return err != nil || cli.Exposed(hostport) || host != "localhost" && net.ParseIP(host) == nil
}
