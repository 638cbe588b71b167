package socket

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

var rewrite = flag.Bool("rewrite", false, "write testdata again from what the code does; review the diff")

// The transcripts in testdata/handshake are the behaviour of both sides: blocks
// of frames that arrive, then, under ----, what each leads to. The first line
// of a block says which side it is about.
func TestHandshakeTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/handshake/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for i, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				input, want, _ := strings.Cut(block, "\n----")
				got := play(t, input)
				if i > 0 {
					out.WriteString("\n")
				}
				fmt.Fprintf(&out, "%s\n----\n%s\n", input, got)
				if !*rewrite && strings.TrimSpace(want) != got {
					t.Errorf("%s\n---- got\n%s\n---- want\n%s", input, got, want)
				}
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func play(t *testing.T, input string) string {
	t.Helper()
	var side interface {
		play(t *testing.T, cmd string, args map[string]string) string
	}
	level := func(args map[string]string, name string, def pb.Level) pb.Level {
		if v, ok := args[name]; ok {
			n, _ := strconv.Atoi(v)
			return pb.Level(n)
		}
		return def
	}
	var out []string
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		args := map[string]string{}
		for _, w := range words[1:] {
			name, value, _ := strings.Cut(w, "=")
			args[name] = value
		}
		switch words[0] {
		case "sender":
			side = newSenderPlay(pb.Levels{Oldest: level(args, "oldest", 0), Own: level(args, "own", 2)})
		case "member":
			side = newMemberPlay(&out, pb.Levels{Oldest: level(args, "oldest", 0), Own: level(args, "own", 2)}, level(args, "listed", 0))
		default:
			out = append(out, words[0]+" ⇒ "+side.play(t, words[0], args))
		}
	}
	return strings.Join(out, "\n")
}

var (
	playMemberNonce = bytes.Repeat([]byte{1}, nonceSize)
	playSenderNonce = bytes.Repeat([]byte{2}, nonceSize)
)

func playHello() frame.Hello {
	return frame.Hello{Version: protocolVersion, Destination: "orders", Group: "billing", Member: "m-1", Window: 256, URL: "tcp://10.0.0.1:7000"}
}

// frameOf is a frame that neither side's play makes in a special way.
func frameOf(t *testing.T, cmd string, args map[string]string) *pb.Frame {
	t.Helper()
	switch cmd {
	case "hello":
		h := playHello()
		nonce := playMemberNonce
		for name, v := range args {
			switch name {
			case "version":
				n, _ := strconv.Atoi(v)
				h.Version = uint32(n)
			case "destination":
				h.Destination = v
			case "member":
				h.Member = v
			case "group":
				h.Group = strings.Repeat("g", len(v)*100)
			case "url":
				h.URL = v
			case "level":
				n, _ := strconv.Atoi(v)
				h.Level = pb.Level(n)
			case "nonce":
				nonce = []byte(v)
			default:
				t.Fatalf("hello has no %s", name)
			}
		}
		return h.Wire(nonce)
	case "challenge":
		c := &pb.Challenge{Nonce: playSenderNonce, Incarnation: "life-1", Version: protocolVersion}
		if v, ok := args["version"]; ok {
			n, _ := strconv.Atoi(v)
			c.Version = uint32(n)
		}
		if v, ok := args["nonce"]; ok {
			c.Nonce = []byte(v)
		}
		if v, ok := args["level"]; ok {
			n, _ := strconv.Atoi(v)
			c.Level = uint32(n)
		}
		return &pb.Frame{Kind: &pb.Frame_Challenge{Challenge: c}}
	case "bye":
		return frame.Bye{Code: pb.Code(pb.Code_value[args["code"]]), Reason: args["reason"]}.Wire()
	case "ping":
		return &pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{}}}
	case "data":
		return &pb.Frame{Kind: &pb.Frame_Data{Data: &pb.Data{First: 1}}}
	case "ack":
		return &pb.Frame{Kind: &pb.Frame_Ack{Ack: &pb.Ack{}}}
	case "empty":
		return &pb.Frame{}
	}
	t.Fatalf("unknown command %q", cmd)
	return nil
}

// senderPlay plays a member against a greeting.
type senderPlay struct {
	g *greeting
	// agreed is what the member believes.
	agreed transcript
}

func newSenderPlay(levels pb.Levels) *senderPlay {
	lookup := func(name string) (Secret, bool) {
		switch name {
		case "orders":
			return Secret{Token: goldenToken, Incarnation: "life-1"}, true
		case "tokenless":
			return Secret{Incarnation: "life-1"}, true
		}
		return Secret{}, false
	}
	decoy := func(name string) Secret {
		return Secret{Token: bytes.Repeat([]byte{9}, 32), Incarnation: "decoy-of-" + name}
	}
	return &senderPlay{g: newGreeting(playSenderNonce, []string{"tcp://10.0.0.1:7000"}, levels, lookup, decoy)}
}

func (p *senderPlay) play(t *testing.T, cmd string, args map[string]string) string {
	if cmd == "welcome!" {
		max, _ := strconv.Atoi(args["max"])
		f, err := p.g.welcome("s-1", uint64(max))
		if err != nil {
			return err.Error() + " ─ " + p.g.state.String()
		}
		agreed := p.agreed
		agreed.sender, agreed.maxMessage = f.GetWelcome().GetSender(), f.GetWelcome().GetMaxMessage()
		right := sameMAC(f.GetWelcome().GetMac(), agreed.senderProof(goldenToken))
		return fmt.Sprintf("Welcome{sender %s max %d proof right %v} ─ %s", agreed.sender, agreed.maxMessage, right, p.g.state)
	}
	var f *pb.Frame
	switch cmd {
	case "proof":
		agreed := p.agreed
		if v, ok := args["made-for"]; ok { // what it said was changed on the way
			n, _ := strconv.Atoi(v)
			agreed.hello.Level = pb.Level(n)
		}
		mac := agreed.memberProof(goldenToken)
		switch {
		case has(args, "wrong"):
			mac[0] ^= 1
		case has(args, "short"):
			mac = mac[:16]
		case has(args, "sender"):
			mac = p.agreed.senderProof(goldenToken)
		}
		f = &pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: mac}}}
	default:
		f = frameOf(t, cmd, args)
		if h := f.GetHello(); h != nil {
			p.agreed = transcript{hello: frame.HelloOf(h), memberNonce: h.GetNonce()}
		}
	}
	reply, fault := p.g.step(f)
	switch {
	case fault != nil:
		return fmt.Sprintf("refuse for %s, say %s %q; %v ─ %s", fault.reason, fault.code, fault.say, fault, p.g.state)
	case reply != nil:
		c := reply.GetChallenge()
		p.agreed.senderNonce, p.agreed.incarnation, p.agreed.level = c.GetNonce(), c.GetIncarnation(), pb.Level(c.GetLevel())
		return fmt.Sprintf("Challenge{%s version %d level %d} ─ %s", c.GetIncarnation(), c.GetVersion(), c.GetLevel(), p.g.state)
	}
	return "nothing ─ " + p.g.state.String()
}

func has(args map[string]string, name string) bool {
	_, ok := args[name]
	return ok
}

// memberPlay plays a sender against a joining.
type memberPlay struct {
	j *joining
	// agreed is what the sender believes.
	agreed transcript
}

func newMemberPlay(out *[]string, levels pb.Levels, listed pb.Level) *memberPlay {
	j, f := begin(playHello(), playMemberNonce, goldenToken, 1000, levels, listed)
	h := f.GetHello()
	*out = append(*out, fmt.Sprintf("begin ⇒ Hello{%s/%s/%s version %d level %d %s} ─ %s",
		h.GetDestination(), h.GetGroup(), h.GetMember(), h.GetVersion(), h.GetLevel(), h.GetUrl(), j.state))
	return &memberPlay{j, transcript{hello: frame.HelloOf(h), memberNonce: playMemberNonce, senderNonce: playSenderNonce, incarnation: "life-1"}}
}

func (p *memberPlay) play(t *testing.T, cmd string, args map[string]string) string {
	var f *pb.Frame
	switch cmd {
	case "welcome":
		max, _ := strconv.Atoi(args["max"])
		// The sender's own view of what was agreed.
		agreed := p.agreed
		agreed.sender, agreed.maxMessage = "s-1", uint64(max)
		mac := agreed.senderProof(goldenToken)
		switch {
		case has(args, "wrong"):
			mac[31] ^= 1
		case has(args, "reflected"):
			mac = agreed.memberProof(goldenToken)
		case has(args, "stranger"):
			mac = agreed.senderProof(bytes.Repeat([]byte{5}, 32))
		}
		f = &pb.Frame{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{Mac: mac, Sender: "s-1", MaxMessage: uint64(max)}}}
		if has(args, "renamed") {
			f.GetWelcome().Sender = "s-2"
		}
	default:
		f = frameOf(t, cmd, args)
		if c := f.GetChallenge(); c != nil {
			p.agreed.level = pb.Level(c.GetLevel())
			if v, ok := args["meant"]; ok { // what it says was changed on the way
				n, _ := strconv.Atoi(v)
				p.agreed.level = pb.Level(n)
			}
		}
	}
	reply, err := p.j.step(f)
	switch {
	case err != nil:
		return err.Error() + " ─ " + p.j.state.String()
	case reply != nil:
		return fmt.Sprintf("Proof{right %v} ─ %s", sameMAC(reply.GetProof().GetMac(), p.agreed.memberProof(goldenToken)), p.j.state)
	}
	return fmt.Sprintf("nothing, peer %+v ─ %s", p.j.peer(), p.j.state)
}

// Whatever bytes a stranger sends as frames, no welcome comes of it.
func FuzzGreeting(f *testing.F) {
	h := playHello()
	hello, err := frame.AppendControl(nil, h.Wire(playMemberNonce))
	if err != nil {
		f.Fatal(err)
	}
	proof, err := frame.AppendControl(nil, &pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: make([]byte, macSize)}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello, proof)
	f.Add(proof, hello)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		g := newSenderPlay(pb.LevelsNow()).g
		for _, b := range [][]byte{first, second} {
			var word pb.Frame
			if _, _, err := frame.Open(b); err != nil || proto.Unmarshal(b, &word) != nil {
				return
			}
			if _, fault := g.step(&word); fault != nil {
				if g.state != refused || fault.err == nil || fault.code == pb.Code_UNSPECIFIED {
					t.Fatalf("fault %+v in state %s", fault, g.state)
				}
				return
			}
			if g.state == proved {
				t.Fatalf("proved by %x", b)
			}
		}
	})
}
