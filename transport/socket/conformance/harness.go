package conformance

// What the tests are written in: a sender that listens, members that dial it,
// strangers with bare streams, and a proxy that can hold bytes back.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// patience is how long a test waits for what must come. It is generous: it
// only costs time when the test fails.
const patience = 20 * time.Second

const (
	destination = "orders"
	group       = "billing"
	senderID    = "sender-1"
	maxMessage  = 4 << 20
)

var token = []byte("0123456789abcdef0123456789abcdef")

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// sender is a listener and what it refused.
type sender struct {
	*socket.Listener
	cfg     socket.ListenerConfig
	refused chan socket.Refusal
}

func (s *suite) listen(t *testing.T, adjust ...func(*socket.ListenerConfig)) *sender {
	t.Helper()
	u, err := address.Parse(s.url(t))
	if err != nil {
		t.Fatal(err)
	}
	snd := &sender{refused: make(chan socket.Refusal, 4096)}
	snd.cfg = socket.ListenerConfig{
		URLs: []address.URL{u},
		TLS:  s.features.TLS,
		Lookup: func(name string) (socket.Secret, bool) {
			return socket.Secret{Token: token, Incarnation: "life-1"}, name == destination
		},
		Refused: func(r socket.Refusal) { snd.refused <- r },
	}
	for _, f := range adjust {
		f(&snd.cfg)
	}
	if snd.Listener, err = socket.Listen(within(t), snd.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := snd.Close(); err != nil {
			t.Error(err)
		}
	})
	return snd
}

// welcomeAll welcomes every member until the listener closes.
func (snd *sender) welcomeAll(t *testing.T, serve func(*socket.Conn)) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := snd.Accept(context.Background())
			if err != nil {
				return
			}
			if c.Welcome(senderID, maxMessage) != nil {
				continue
			}
			if serve != nil {
				wg.Go(func() { serve(c) })
			}
		}
	})
	t.Cleanup(func() {
		_ = snd.Close()
		wg.Wait()
	})
}

// expectRefusal waits for the next refusal of that reason; others may come
// before it.
func (snd *sender) expectRefusal(t *testing.T, want socket.Reason) socket.Refusal {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case r := <-snd.refused:
			if r.Reason == want {
				if r.Remote == "" || r.Err == nil {
					t.Errorf("refusal %+v lacks the peer or the cause", r)
				}
				return r
			}
			t.Logf("also refused: %s %s %v", r.Remote, r.Reason, r.Err)
		case <-timeout:
			t.Fatalf("no connection was refused for %s; stats %+v", want, snd.Stats())
		}
	}
}

func (snd *sender) member() socket.DialConfig {
	return socket.DialConfig{
		URL:   snd.URL(),
		Token: token,
		TLS:   snd.cfg.TLS, Identities: snd.Identities(),
		Hello:     frame.Hello{Destination: destination, Group: group, Member: "member-1", Window: 256, WindowBytes: 1 << 20, Concurrency: 1},
		Timeout:   patience,
		Beat:      snd.cfg.Beat,
		DeadAfter: snd.cfg.DeadAfter,
	}
}

// link is a welcomed connection, both ends.
func (snd *sender) link(t *testing.T, adjust ...func(*socket.DialConfig)) (s, m *socket.Conn) {
	t.Helper()
	cfg := snd.member()
	for _, f := range adjust {
		f(&cfg)
	}
	ctx := within(t)
	accepted := make(chan error, 1)
	go func() {
		var err error
		if s, err = snd.Accept(ctx); err == nil {
			err = s.Welcome(senderID, maxMessage)
		}
		accepted <- err
	}()
	m, err := socket.Dial(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	return s, m
}

// records is a run of n records of that size, and a sum to know them by.
func records(n, size int, fill byte) []byte {
	value := make([]byte, size)
	for i := range value {
		value[i] = fill + byte(i)
	}
	var b []byte
	for range n {
		b = messages.AppendRecord(b, &messages.Message{Value: value})
	}
	return b
}

// drop reads and forgets everything until the connection ends.
func drop(c *socket.Conn) error {
	var f frame.Frame
	for {
		if err := c.Recv(&f); err != nil {
			return err
		}
	}
}

// expectEnd waits for c to end with want.
func expectEnd(t *testing.T, c *socket.Conn, want error) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatalf("the connection did not end; want %v", want)
	}
	if err := c.Err(); !errors.Is(err, want) {
		t.Fatalf("ended with %v, want %v", err, want)
	}
}

// Bare streams.

func (s *suite) raw(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	if s.features.RawDial == nil {
		t.Skip("the transport has no bare streams")
	}
	c, err := s.features.RawDial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// below is a stream under a listener's encryption, if it has any.
func (s *suite) below(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	if s.features.TapDial == nil {
		return s.raw(t, address)
	}
	c, err := s.features.TapDial(address)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

var pullHeader = []byte{0, 'S', 'P', 0, 0, 0x51, 0, 0}
var pushHeader = []byte{0, 'S', 'P', 0, 0, 0x50, 0, 0}

// rawMember has exchanged SP headers with a listener, and said nothing yet.
func (s *suite) rawMember(t *testing.T, snd *sender) net.Conn {
	t.Helper()
	c := s.raw(t, snd.Addr())
	if _, err := c.Write(pullHeader); err != nil {
		t.Fatal(err)
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		t.Fatal(err)
	}
	return c
}

func rawWrite(c io.Writer, f *pb.Frame) error {
	body, err := proto.Marshal(f)
	if err != nil {
		return err
	}
	_, err = c.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...))
	return err
}

func rawRead(c io.Reader) (*pb.Frame, error) {
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint64(head[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	f := new(pb.Frame)
	return f, proto.Unmarshal(body, f)
}

func helloFrame(url, dest string, version uint32) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Version: version, Destination: dest, Group: group, Member: "member-1", Nonce: make([]byte, 32), Url: url,
	}}}
}

// expectBye reads until Bye, and checks its code and that the stream ends.
func expectBye(t *testing.T, c net.Conn, want pb.Code) {
	t.Helper()
	for {
		f, err := rawRead(c)
		if err != nil {
			t.Fatalf("no bye: %v", err)
		}
		if bye := f.GetBye(); bye != nil {
			if bye.GetCode() != want {
				t.Fatalf("bye says %s, want %s", bye.GetCode(), want)
			}
			break
		}
	}
	expectEOF(t, c)
}

// expectEOF reads until the stream ends, which must not be by our deadline.
func expectEOF(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Fatal("the connection was not closed")
		}
	}
}

// proxy stands between a listener and its members.
type proxy struct {
	advertise string

	mu      sync.Mutex
	streams []*stream
	frozen  chan struct{}
}

// stream is one connection through a proxy.
type stream struct{ member, sender net.Conn }

// proxied is a listener that members reach through a proxy.
func (s *suite) proxied(t *testing.T, adjust ...func(*socket.ListenerConfig)) (*sender, *proxy) {
	t.Helper()
	listen, dial := s.features.RawListen, s.features.RawDial
	if s.features.TapListen != nil {
		listen, dial = s.features.TapListen, s.features.TapDial
	}
	if listen == nil || dial == nil {
		t.Skip("the transport has no bare streams")
	}
	ln, advertise := listen(t)
	p := &proxy{advertise: advertise, frozen: make(chan struct{})}
	adjust = append(adjust, func(cfg *socket.ListenerConfig) { cfg.URLs[0].Advertise = advertise })
	snd := s.listen(t, adjust...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			m, err := ln.Accept()
			if err != nil {
				return
			}
			c, err := dial(snd.Addr())
			if err != nil {
				_ = m.Close()
				return
			}
			p.mu.Lock()
			p.streams = append(p.streams, &stream{member: m, sender: c})
			p.mu.Unlock()
			wg.Go(func() { p.pump(c, m) })
			wg.Go(func() { p.pump(m, c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for _, s := range p.streams {
			_ = s.member.Close()
			_ = s.sender.Close()
		}
		p.mu.Unlock()
		wg.Wait()
	})
	return snd, p
}

// pump copies until an end, or until the proxy freezes: then it holds the
// streams open and moves nothing more.
func (p *proxy) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-p.frozen:
			return
		default:
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

func (p *proxy) freeze() { close(p.frozen) }

// only is the one stream of a proxy.
func (p *proxy) only(t *testing.T) *stream {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.streams) != 1 {
		t.Fatalf("%d streams, want 1", len(p.streams))
	}
	return p.streams[0]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls for what has no signal.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		<-tick.C
	}
}

func describe(f *frame.Frame) string { return fmt.Sprintf("%s %+v", f.Kind, *f) }
