package pulse

// The side that is watched.

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-io/penstock/transport/address"
)

const (
	tokenSize = 32
	nonceSize = 16
	helloSize = nonceSize + sha256.Size
	// handshakeTimeout bounds a handshake.
	handshakeTimeout = 5 * time.Second
	// mostPending and mostHeld are how many connections may be before and after it.
	mostPending, mostHeld = 64, 8192
	// acceptPause is how long a listener waits that cannot accept.
	acceptPause = time.Second
)

// Listener is what a process is watched by. Its methods are safe for concurrent use.
// It is to be closed after the process has ended for everybody else: a watcher takes
// its end for that of the process.
type Listener struct {
	ln    *net.TCPListener
	url   address.URL
	token []byte
	limit time.Duration // of a handshake

	mu            sync.Mutex
	pending, held int
}

// Listen binds a port that the system chooses, on the host of the first of urls that
// goes over a network, or else on 127.0.0.1; they are those of a listener as
// address.Listening takes them. ctx bounds Listen only. The error wraps
// messages.ErrInvalid for a URL that is none, or is that of the system.
func Listen(ctx context.Context, urls string) (*Listener, error) {
	all, err := address.Listening(urls)
	if err != nil {
		return nil, err
	}
	u := bindOf(all).Behind() // no proxy passes this on
	var lc net.ListenConfig   // keep-alives of the kernel clean up after hosts that vanish
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort(u.Host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen on %s for who watches this process: %w", u.Host, err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: it is %T", u.Host, ln), ln.Close())
	}
	l := &Listener{ln: tcp, url: u, token: make([]byte, tokenSize), limit: handshakeTimeout}
	rand.Read(l.token)
	return l, nil
}

// bindOf is the first of urls that goes over a network. A process whose links stay in its
// machine is watched from there only.
func bindOf(urls []address.URL) address.URL {
	for _, u := range urls {
		if u.Network() {
			return u
		}
	}
	return address.URL{Scheme: address.TCP, Host: "127.0.0.1"}
}

// Token tells the process apart, and is known to who may watch it. It is not to be
// changed.
func (l *Listener) Token() []byte { return l.token }

// Peer is what others watch the process by. It asks the system for the addresses of
// this machine, unless the URL says them.
func (l *Listener) Peer() Peer {
	port := "0"
	if at, ok := l.ln.Addr().(*net.TCPAddr); ok {
		port = strconv.Itoa(at.Port)
	}
	p := Peer{Token: l.token}
	for _, url := range l.url.Advertised(port, address.Hosts) {
		if u, _, err := address.Dial(url); err == nil { // a port that is forwarded is another listener's
			p.Addresses = append(p.Addresses, net.JoinHostPort(u.Host, port))
		}
	}
	return p
}

// Serve takes watchers until ctx ends, and then closes their connections, waits for
// that and returns. One Serve runs at a time; between two of them watchers wait.
func (l *Listener) Serve(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.ln.SetDeadline(time.Unix(1, 0)) })()
	for ctx.Err() == nil {
		conn, err := l.ln.Accept()
		switch {
		case err == nil && l.enter(&l.pending, mostPending):
			all.Go(func() { l.hold(ctx, conn) })
		case err == nil:
			_ = conn.Close()
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			_ = l.ln.SetDeadline(time.Time{}) // of the Serve before, unless ctx has ended
		default: // too many open files, for one
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
		}
	}
}

// hold keeps a connection for as long as the watcher does, or until ctx ends.
func (l *Listener) hold(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	nonce := l.hears(conn)
	l.leave(&l.pending)
	if nonce == nil || !l.enter(&l.held, mostHeld) {
		return
	}
	defer l.leave(&l.held)
	if _, err := conn.Write(prove(l.token, "alive", nonce)); err != nil || conn.SetDeadline(time.Time{}) != nil {
		return
	}
	var more [1]byte
	_, _ = conn.Read(more[:]) // a watcher says nothing more
}

// hears reads a watcher's hello, and returns its nonce when it knows the token.
func (l *Listener) hears(conn net.Conn) (nonce []byte) {
	_ = conn.SetDeadline(time.Now().Add(l.limit))
	var hello [helloSize]byte
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return nil
	}
	if nonce = hello[:nonceSize]; !hmac.Equal(hello[nonceSize:], prove(l.token, "watch", nonce)) {
		return nil
	}
	return nonce
}

// prove is the proof of one side.
func prove(token []byte, side string, nonce []byte) []byte {
	mac := hmac.New(sha256.New, token)
	mac.Write([]byte(side))
	mac.Write(nonce)
	return mac.Sum(nil)
}

func (l *Listener) enter(count *int, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *count >= most {
		return false
	}
	*count++
	return true
}

func (l *Listener) leave(count *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*count--
}

// Close ends the listener. The error is that of the system.
func (l *Listener) Close() error { return l.ln.Close() }
