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

// privateScheme is the name of our transport in mangos's registry. The registry
// belongs to the whole process, so taking "tcp" there would hijack the host
// program's own mangos sockets. Which carrier a stream is of is nothing to mangos.
const privateScheme = "penstock+link"

// register puts the transport into mangos's registry, once and only when it is used.
var register = sync.OnceFunc(func() {
	transport.RegisterTransport(linkTransport{})
})

type linkTransport struct{}

func (linkTransport) Scheme() string { return privateScheme }

func (linkTransport) NewDialer(_ string, sock mangos.Socket) (mangos.TranDialer, error) {
	return &linkDialer{info: sock.Info()}, nil
}

func (linkTransport) NewListener(string, mangos.Socket) (mangos.TranListener, error) {
	return &linkListener{}, nil
}

// dialCall is one Dial's wishes.
type dialCall struct {
	ctx context.Context
	// open opens the stream.
	open func(context.Context) (net.Conn, error)
	// ended tells the wire that ctx is over; forget takes that back.
	forget func() bool
}

// linkDialer makes one connection in its life. mangos dials again whenever a
// pipe closes; it stops at ErrClosed.
type linkDialer struct {
	info mangos.ProtocolInfo

	mu   sync.Mutex
	call *dialCall
}

func (d *linkDialer) Dial() (mangos.TranPipe, error) {
	d.mu.Lock()
	call := d.call
	d.call = nil
	d.mu.Unlock()
	if call == nil {
		return nil, mangos.ErrClosed
	}
	c, err := call.open(call.ctx)
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

func (d *linkDialer) SetOption(name string, v any) error {
	if call, ok := v.(*dialCall); ok && name == optionDial {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.call = call
		return nil
	}
	return mangos.ErrBadOption
}

func (d *linkDialer) GetOption(string) (any, error) { return nil, mangos.ErrBadOption }

// linkListener hands mangos what its guard lets through.
type linkListener struct{ guard *guard }

func (l *linkListener) Listen() error {
	if l.guard == nil {
		return mangos.ErrBadOption
	}
	l.guard.start()
	return nil
}

func (l *linkListener) Accept() (mangos.TranPipe, error) { return l.guard.next() }

// Close does nothing: Listener.Close stops the guard, before mangos is told.
func (l *linkListener) Close() error { return nil }

func (l *linkListener) Address() string {
	if l.guard == nil {
		return ""
	}
	return privateScheme + "://" + l.guard.doors[0].ln.Addr().String()
}

func (l *linkListener) SetOption(name string, v any) error {
	if g, ok := v.(*guard); ok && name == optionGuard {
		l.guard = g
		return nil
	}
	return mangos.ErrBadOption
}

func (l *linkListener) GetOption(string) (any, error) { return nil, mangos.ErrBadOption }
