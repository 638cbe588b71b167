package pipes_test

// A peer that holds a token and speaks the handshake as it should, and after that whatever
// bytes a test gives it. It shares no code with the runtime's own links but the generated
// frames.

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// push is how a nanomsg PUSH peer begins.
var push = []byte{0, 'S', 'P', 0, 0, 0x50, 0, 0}

// rawPeer is one end of a link. It shows that it lives until still.
type rawPeer struct {
	t *testing.T
	c net.Conn

	mu   sync.Mutex // one frame at a time
	over chan struct{}
	stop sync.Once
	done sync.WaitGroup
	// told is the Bye of the other side, once next has met it.
	told *pb.Bye
}

func newRawPeer(t *testing.T, c net.Conn) *rawPeer {
	p := &rawPeer{t: t, c: c, over: make(chan struct{})}
	_ = c.SetDeadline(time.Now().Add(harness.Patience))
	return p
}

// beats begins with the signs of life.
func (p *rawPeer) beats() {
	p.done.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.say(&pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}})
			case <-p.over:
				return
			}
		}
	})
}

// still ends the signs of life, so that a frame can stay unfinished.
func (p *rawPeer) still() {
	p.stop.Do(func() { close(p.over) })
	p.done.Wait()
}

func (p *rawPeer) close() {
	_ = p.c.Close()
	p.still()
}

// write writes bytes as they are. The other side may have hung up, which next tells.
func (p *rawPeer) write(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.c.Write(b)
}

// framed is a frame of any contents.
func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(len(body))), body...)
}

func (p *rawPeer) body(b []byte) { p.write(framed(b)) }

func encoded(f *pb.Frame) []byte {
	b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(f)
	if err != nil {
		panic(err)
	}
	return b
}

func (p *rawPeer) say(f *pb.Frame) { p.body(encoded(f)) }

// raw is a frame of a kind with contents that need not be any.
func raw(kind protowire.Number, contents []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, kind, protowire.BytesType), contents)
}

// next is the next frame that says something; nil at the end.
func (p *rawPeer) next() *pb.Frame {
	for {
		var head [8]byte
		if _, err := io.ReadFull(p.c, head[:]); err != nil {
			return nil
		}
		b := make([]byte, binary.BigEndian.Uint64(head[:]))
		if _, err := io.ReadFull(p.c, b); err != nil {
			return nil
		}
		f := &pb.Frame{}
		if err := proto.Unmarshal(b, f); err != nil {
			p.t.Errorf("a frame that does not decode: %v", err)
			return nil
		}
		if bye := f.GetBye(); bye != nil {
			p.told = bye
		}
		if ping := f.GetPing(); ping == nil || proto.Size(ping) > 0 {
			return f
		}
	}
}

// until reads until a frame is as wanted, and reports whether one came before the end.
func (p *rawPeer) until(wanted func(*pb.Frame) bool) bool {
	for f := p.next(); f != nil; f = p.next() {
		if wanted(f) {
			return true
		}
	}
	return false
}

// drained reads to the end.
func (p *rawPeer) drained() { p.until(func(*pb.Frame) bool { return false }) }

// rawAgreed is what both proofs are made of, as of level 0.
type rawAgreed struct {
	hello               *pb.Hello
	nonce               []byte // the sender's
	incarnation, sender string
	maxMessage          uint64
}

func (a *rawAgreed) proof(token []byte, role string) []byte {
	h := a.hello
	mac := hmac.New(sha256.New, token)
	for _, part := range []any{
		"penstock pipe proof", role, uint64(h.Version), h.Destination, h.Group, h.Member,
		uint64(h.Mode), uint64(h.Window), h.WindowBytes, uint64(h.Concurrency), uint64(h.Policy), uint64(h.KeepForMs),
		string(h.Nonce), string(a.nonce), a.incarnation, h.Url, a.sender, a.maxMessage, "",
	} {
		switch v := part.(type) {
		case string:
			mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(v))))
			mac.Write([]byte(v))
		case uint64:
			mac.Write(binary.BigEndian.AppendUint64(nil, 8))
			mac.Write(binary.BigEndian.AppendUint64(nil, v))
		}
	}
	return mac.Sum(nil)
}

// header exchanges what nanomsg's protocol begins with.
func (p *rawPeer) header(ours []byte) {
	p.t.Helper()
	if _, err := p.c.Write(ours); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.ReadFull(p.c, make([]byte, len(ours))); err != nil {
		p.t.Fatal(err)
	}
}

// rawHello is what an ordinary member asks for.
func rawHello(url, dest, group, member string) *pb.Hello {
	return &pb.Hello{
		Version: 1, Destination: dest, Group: group, Member: member, Nonce: bytes.Repeat([]byte{7}, 32),
		Window: 256, WindowBytes: 8 << 20, Concurrency: 1, Url: url, KeepForMs: 60_000,
	}
}

// rawMember joins with a hello, and is welcomed or refused: then told says why.
func rawMember(t *testing.T, token []byte, hello *pb.Hello) *rawPeer {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(hello.Url, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	p := newRawPeer(t, c)
	t.Cleanup(p.close)
	p.header(pull)
	p.say(&pb.Frame{Kind: &pb.Frame_Hello{Hello: hello}})
	challenge := p.next().GetChallenge()
	if challenge == nil {
		return p
	}
	a := &rawAgreed{hello: hello, nonce: challenge.Nonce, incarnation: challenge.Incarnation}
	p.say(&pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: a.proof(token, "member")}}})
	if p.next().GetWelcome() != nil {
		p.beats()
	}
	return p
}

// rawSender welcomes the next member that dials ln, and is the sender of that id.
func rawSender(t *testing.T, ln net.Listener, token []byte, id, incarnation string, maxMessage uint64) *rawPeer {
	t.Helper()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := newRawPeer(t, c)
	t.Cleanup(p.close)
	p.header(push)
	a := &rawAgreed{hello: p.next().GetHello(), nonce: bytes.Repeat([]byte{8}, 32), incarnation: incarnation, sender: id, maxMessage: maxMessage}
	if a.hello == nil {
		t.Fatal("the member says no hello")
	}
	p.say(&pb.Frame{Kind: &pb.Frame_Challenge{Challenge: &pb.Challenge{Nonce: a.nonce, Incarnation: incarnation, Version: 1}}})
	if p.next().GetProof() == nil {
		t.Fatalf("the member says no proof, and %v", p.told)
	}
	p.say(&pb.Frame{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{Mac: a.proof(token, "sender"), Sender: id, MaxMessage: maxMessage}}})
	p.beats()
	return p
}
