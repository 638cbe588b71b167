package pulse

// The side that watches.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"time"
)

// Peer is a process to watch.
type Peer struct {
	// Addresses are host:port, tried in turn.
	Addresses []string
	// Token is that of its listener.
	Token []byte
}

// Equal reports whether two peers are one.
func (p Peer) Equal(q Peer) bool {
	return bytes.Equal(p.Token, q.Token) && slices.Equal(p.Addresses, q.Addresses)
}

// dialTimeout bounds the opening of a connection, and then its handshake.
const dialTimeout = 2 * time.Second

// Watch blocks until there is evidence that the process has ended, and returns nil; or
// until ctx ends, and returns its cause. It says nothing of a process that it could
// never reach, nor of one without a token.
func (p Peer) Watch(ctx context.Context) error {
	return p.watch(ctx, (&net.Dialer{Timeout: dialTimeout}).DialContext)
}

// dialing opens connections, as net.Dialer does.
type dialing func(ctx context.Context, network, to string) (net.Conn, error)

func (p Peer) watch(ctx context.Context, dial dialing) error {
	if len(p.Addresses) == 0 || len(p.Token) != tokenSize {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	var j judge
	met := "" // where it has just proved itself: a name may stand for other hosts, which refuse
	for at := 0; ; {
		o, where := p.attempt(ctx, dial, cmp.Or(met, p.Addresses[at]))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		met = cmp.Or(where, met)
		next, wait := j.sees(o)
		switch next {
		case dead:
			return nil
		case later:
			met = ""
			if at = (at + 1) % len(p.Addresses); at != 0 {
				wait = 0 // the others first
			}
		case again:
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// attempt dials, and keeps a connection on which the peer proves itself. It also returns
// the address where it did, or "".
func (p Peer) attempt(ctx context.Context, dial dialing, to string) (o outcome, met string) {
	conn, err := dial(ctx, "tcp", to)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return refused, ""
	}
	if err != nil {
		return unclear, ""
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if !p.meets(conn) {
		return unclear, ""
	}
	since := time.Now()
	var more [1]byte
	n, _ := conn.Read(more[:])
	switch {
	case n > 0:
		return unclear, "" // not a listener of ours
	case time.Since(since) < while:
		return brief, conn.RemoteAddr().String()
	}
	return kept, conn.RemoteAddr().String()
}

// meets performs a handshake, and reports whether the peer knows the token.
func (p Peer) meets(conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	if _, err := conn.Write(slices.Concat(nonce, prove(p.Token, "watch", nonce))); err != nil {
		return false
	}
	var proof [sha256.Size]byte
	if _, err := io.ReadFull(conn, proof[:]); err != nil {
		return false
	}
	return hmac.Equal(proof[:], prove(p.Token, "alive", nonce)) && conn.SetDeadline(time.Time{}) == nil
}
