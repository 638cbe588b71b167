package pipes_test

// Links through a reverse proxy that ends TLS.

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// idleTimeout is after how long without a byte the front closes a connection.
const idleTimeout = 2500 * time.Millisecond

// front is a reverse proxy with a certificate, as an ingress is.
type front struct {
	net.Listener
	server *http.Server

	mu   sync.Mutex
	open []net.Conn
	cut  int // by idleTimeout
}

// idleConn is closed by the front when nothing comes over it.
type idleConn struct {
	net.Conn
	front *front
}

func (c idleConn) Read(p []byte) (int, error) {
	began := time.Now()
	_ = c.SetReadDeadline(began.Add(idleTimeout))
	n, err := c.Conn.Read(p)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() && time.Since(began) >= idleTimeout { // HTTP sets earlier ones

		c.front.mu.Lock()
		c.front.cut++
		c.front.mu.Unlock()
	}
	return n, err
}

func (f *front) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.open = append(f.open, c)
	f.mu.Unlock()
	return idleConn{c, f}, nil
}

// startFront passes requests below /penstock on to a sender.
func startFront(t *testing.T, at, to string, files carriertest.Files) *front {
	t.Helper()
	ln, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: to})
		r.SetXForwarded()
	}}
	mux.Handle("/penstock", proxy)
	f := &front{Listener: ln, server: &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.server.ServeTLS(f, "", "")
	}()
	t.Cleanup(func() {
		f.stop()
		<-done
	})
	return f
}

// stop ends the front as a restart does: with all of its connections.
func (f *front) stop() {
	_ = f.server.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.open {
		_ = c.Close()
	}
	f.open = nil
}

// freeAddr is an address of the loopback that nobody has.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// Promise: a sender behind a reverse proxy is reached at the proxy's URL, with the
// proxy's certificate; beats keep an idle link from the proxy's time-out; a proxy that
// restarts costs the link and no message. Who requires TLS does not take it.
func TestBehindAReverseProxy(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	to, at := freeAddr(t), freeAddr(t)
	_, port, _ := net.SplitHostPort(at)
	files := ca.Issue(t, time.Hour, "localhost")
	front := startFront(t, at, to, files)
	listen := "ws://" + to + "/penstock?advertise=wss://localhost:" + port
	sender := s.Begin(t, func(c *actors.Config) { c.Listen = listen + "/penstock" })
	d := enginetest.Register(t, sender, senders.Config{})
	if want := "wss://localhost:" + port + "/penstock?via=proxy"; d.URL() != want {
		t.Fatalf("it is dialled at %s, want %s", d.URL(), want)
	}
	e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted))
	events := eventsOf(t, e)
	m := enginetest.Join(t, e, members.Config{})
	got := make(chan struct{}, 1000)
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { got <- struct{}{}; return nil })
	flow := func() {
		t.Helper()
		enginetest.Send(t, d, 100)
		for range 100 {
			enginetest.Await(t, "a message", got)
		}
	}
	flow()
	time.Sleep(idleTimeout * 3 / 2) // that nothing happens takes its time
	flow()
	front.mu.Lock()
	if front.cut > 0 {
		t.Errorf("%d idle links were cut", front.cut)
	}
	front.mu.Unlock()

	front.stop()
	for {
		if _, ok := enginetest.Await(t, "SenderUnlinked", events).(messages.SenderUnlinked); ok {
			break
		}
	}
	enginetest.Send(t, d, 100)
	startFront(t, at, to, files)
	for range 100 {
		enginetest.Await(t, "a message after the proxy's restart", got)
	}

	strict := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted, require))
	refused := eventsOf(t, strict)
	enginetest.Join(t, strict, members.Config{Group: "strict"})
	if e := delayed(t, refused, "up to itself"); !errors.Is(e.Err, messages.ErrInsecure) {
		t.Errorf("it says %v", e.Err)
	}
	lost := s.Begin(t, func(c *actors.Config) { c.Listen = "ws://127.0.0.1:0?advertise=wss://localhost:" + port + "/elsewhere" })
	enginetest.Register(t, lost, senders.Config{Name: "lost"})
	events = eventsOf(t, e)
	enginetest.Join(t, e, members.Config{Destination: "lost"})
	delayed(t, events, "404 Not Found")
}

// Promise: who takes the place of a proxy at which TLS ends needs a certificate for its name
// of an authority that the member trusts. With one he is as the proxy, who reads along.
func TestInPlaceOfAProxy(t *testing.T) {
	t.Parallel()
	ca, other := carriertest.NewCA(t), carriertest.NewCA(t)
	for name, c := range map[string]struct {
		files  carriertest.Files
		passes bool
	}{
		"of another authority":          {other.Issue(t, time.Hour, "localhost"), false},
		"of the authority, by its name": {ca.Issue(t, time.Hour, "localhost"), true},
		"of the authority, of another":  {ca.Issue(t, time.Hour, "elsewhere.example"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := enginetest.NewSpace(t)
			to, at := freeAddr(t), freeAddr(t)
			_, port, _ := net.SplitHostPort(at)
			startFront(t, at, to, c.files)
			sender := s.Begin(t, func(c *actors.Config) {
				c.Listen = "ws://" + to + "/penstock?advertise=wss://localhost:" + port + "/penstock"
			})
			d := enginetest.Register(t, sender, senders.Config{DropWithoutGroup: true})
			e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted))
			events := eventsOf(t, e)
			m := enginetest.Join(t, e, members.Config{})
			if c.passes {
				flows(t, d, m)
				return
			}
			delayed(t, events, "TLS")
		})
	}
}
