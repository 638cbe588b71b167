package socket

// What mangos sees of our transport. mangos makes dialers and listeners by
// URL from a registry of the whole process; the things they need of this call
// (a context, a guard) reach them as private options.

import (
	"context"
	"net"
	"sync"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/transport"
)

const (
	optionWire  = "PENSTOCK-WIRE"
	optionDial  = "PENSTOCK-DIAL"
	optionGuard = "PENSTOCK-GUARD"
)

// privateScheme is the name of a transport in mangos's registry. The registry
// belongs to the whole process, so taking "tcp" there would hijack the host
// program's own mangos sockets.
func privateScheme(scheme string) string { return "penstock+" + scheme }

// register puts the transports into mangos's registry, once and only when they
// are used.
var register = sync.OnceFunc(func() {
	transport.RegisterTransport(tcpTransport{})
})

type tcpTransport struct{}

func (tcpTransport) Scheme() string { return privateScheme("tcp") }

func (t tcpTransport) NewDialer(url string, sock mangos.Socket) (mangos.TranDialer, error) {
	address, err := transport.StripScheme(t, url)
	if err != nil {
		return nil, err
	}
	return &tcpDialer{address: address, info: sock.Info()}, nil
}

func (t tcpTransport) NewListener(string, mangos.Socket) (mangos.TranListener, error) {
	return &tcpListener{}, nil
}

// dialCall is one Dial's wishes.
type dialCall struct {
	ctx context.Context
	// ended tells the wire that ctx is over; forget takes that back.
	forget func() bool
}

// tcpDialer makes one connection in its life. mangos dials again whenever a
// pipe closes; it stops at ErrClosed.
type tcpDialer struct {
	address string
	info    mangos.ProtocolInfo

	mu   sync.Mutex
	call *dialCall
}

func (d *tcpDialer) Dial() (mangos.TranPipe, error) {
	d.mu.Lock()
	call := d.call
	d.call = nil
	d.mu.Unlock()
	if call == nil {
		return nil, mangos.ErrClosed
	}
	// Beats do what TCP's keep-alive would.
	c, err := (&net.Dialer{KeepAlive: -1}).DialContext(call.ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	w := newWire(c)
	call.forget = context.AfterFunc(call.ctx, func() { _ = w.end(context.Cause(call.ctx)) })
	if err := w.shake(d.info.Self, d.info.Peer); err != nil {
		return nil, err
	}
	return w, nil
}

func (d *tcpDialer) SetOption(name string, v any) error {
	if call, ok := v.(*dialCall); ok && name == optionDial {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.call = call
		return nil
	}
	return mangos.ErrBadOption
}

func (d *tcpDialer) GetOption(string) (any, error) { return nil, mangos.ErrBadOption }

// tcpListener hands mangos what its guard lets through.
type tcpListener struct{ guard *guard }

func (l *tcpListener) Listen() error {
	if l.guard == nil {
		return mangos.ErrBadOption
	}
	l.guard.start()
	return nil
}

func (l *tcpListener) Accept() (mangos.TranPipe, error) { return l.guard.next() }

// Close does nothing: Listener.Close stops the guard, before mangos is told.
func (l *tcpListener) Close() error { return nil }

func (l *tcpListener) Address() string {
	if l.guard == nil {
		return ""
	}
	return tcpTransport{}.Scheme() + "://" + l.guard.ln.Addr().String()
}

func (l *tcpListener) SetOption(name string, v any) error {
	if g, ok := v.(*guard); ok && name == optionGuard {
		l.guard = g
		return nil
	}
	return mangos.ErrBadOption
}

func (l *tcpListener) GetOption(string) (any, error) { return nil, mangos.ErrBadOption }
