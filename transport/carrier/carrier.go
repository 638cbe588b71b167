package carrier

// Carriers by scheme, and what a stream can have besides bytes.

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

// Carrier makes the streams of one scheme of URLs.
type Carrier struct {
	// Listen binds what u says. The error wraps messages.ErrAddrInUse when all that u
	// allows is taken, and messages.ErrInvalid when t is missing where the scheme needs
	// it.
	Listen func(ctx context.Context, u address.URL, t *TLS) (net.Listener, error)
	// Dial opens a stream to at, as address.Dial returns it. It does no handshake.
	Dial func(ctx context.Context, u address.URL, at string, to Target) (net.Conn, error)
}

// Target is what a dialler knows of whom it dials.
type Target struct {
	// TLS is the dialler's. Schemes without encryption do not use it.
	TLS *TLS
	// Identities are those under which the sender is listed, one of which it has to
	// prove.
	Identities []string
}

// Opener is a stream whose ends have something to agree on before the first byte.
type Opener interface {
	// Handshake does that, once. It obeys ctx up to the end of TLS, and the stream's Close;
	// after an error the stream is of no use.
	Handshake(ctx context.Context) error
}

// Session is a stream whose ends have proved who they are.
type Session interface {
	Opener
	// Identity is the peer's; the zero Identity when it has shown none.
	Identity() Identity
	// Exporter are 32 bytes that both ends of this session have and nobody else, not
	// even who stands between two sessions.
	Exporter() ([]byte, error)
	// Recheck returns an error when the peer's certificates are not trusted any more.
	Recheck() error
}

// Pieces is a stream that prefers to get a frame whole. Head and body are not kept.
type Pieces interface {
	WritePieces(head, body []byte) error
}

// Limited is a stream that has to know how long a message may be, besides its 4 KiB at
// first. Limit is called by who reads.
type Limited interface {
	Limit(n int)
}

// Counted is a stream that the system knows nothing of, and that says itself how many
// written bytes the peer has not taken.
type Counted interface {
	Unsent() int
}

// Refresher is a listener whose place can be taken away while it listens.
type Refresher interface {
	// Refresh takes the place again, or returns why members cannot dial it. It is
	// called now and then.
	Refresh() error
}

// carriers are what there is, by scheme.
var carriers = map[string]Carrier{
	address.TCP: {Listen: listenTCP, Dial: dialTCP},
	address.TLS: {Listen: listenTLS, Dial: dialTLS},
	address.WS:  {Listen: listenWS, Dial: dialWS},
	address.WSS: {Listen: listenWSS, Dial: dialWSS},
	address.IPC: {Listen: listenIPC, Dial: dialIPC},

	address.InProc: {Listen: listenInProc, Dial: dialInProc},
}

// Of returns the carrier of a scheme that address.Parse accepts.
func Of(scheme string) (Carrier, error) {
	c, ok := carriers[scheme]
	if !ok {
		return Carrier{}, fmt.Errorf("nothing carries scheme %q: %w", scheme, messages.ErrInvalid)
	}
	return c, nil
}

// Schemes are those that Of knows.
func Schemes() (all []string) {
	for s := range carriers {
		all = append(all, s)
	}
	return all
}

// errNoTLS says what is missing for an encrypted link.
var errNoTLS = errors.New("this runtime has no certificates for links: give LinkTLS")
