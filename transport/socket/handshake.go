package socket

// The handshake, decided: which frame in which state leads where. Nothing here
// reads, writes, waits or draws random numbers.
//
//	greeting (sender)                         joining (member)
//
//	expectHello ──Hello──▶ expectProof        begin ─▶ expectChallenge
//	     │                     │                            │ Challenge
//	     │ anything else       │ Proof                      ▼
//	     ▼                     ▼                      expectWelcome
//	  refused ◀──wrong──── proved                           │ Welcome
//	                           │ welcome()                  ▼
//	                           ▼                       welcomed │ refused
//	                        welcomed

import (
	"errors"
	"fmt"
	"slices"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

type handshakeState uint8

const (
	expectHello handshakeState = iota
	expectProof
	proved
	expectChallenge
	expectWelcome
	welcomed
	refused
)

var handshakeStateNames = [...]string{
	expectHello:     "expecting hello",
	expectProof:     "expecting proof",
	proved:          "proved",
	expectChallenge: "expecting challenge",
	expectWelcome:   "expecting welcome",
	welcomed:        "welcomed",
	refused:         "refused",
}

func (s handshakeState) String() string { return handshakeStateNames[s] }

// handshakeFault is why a greeting refuses: what is counted, and what the
// other side is told, which is less.
type handshakeFault struct {
	reason Reason
	code   pb.Code
	// say goes out in the Bye.
	say string
	err error
}

func (f *handshakeFault) Error() string { return f.err.Error() }
func (f *handshakeFault) Unwrap() error { return f.err }

// greeting is the sender's side.
type greeting struct {
	state handshakeState
	// urls are the addresses under which members may have dialled this
	// listener.
	urls []string
	// lookup finds a destination's secret.
	lookup func(destination string) (Secret, bool)
	// tokens finds those that admit to one group; nil where there are no others.
	tokens func(destination, group string) [MostTokens][]byte
	// allow judges the member once its proof is right; nil allows everybody.
	allow func(frame.Hello) error
	// levels are what this side can do.
	levels pb.Levels
	// decoy stands in for the secret of a destination that does not exist, so
	// that asking does not tell which do.
	decoy func(destination string) Secret

	agreed transcript
	secret Secret
	known  bool
}

// newGreeting starts with a nonce that must be fresh for each connection.
func newGreeting(nonce []byte, urls []string, levels pb.Levels, lookup func(string) (Secret, bool), decoy func(string) Secret) *greeting {
	return &greeting{
		state:  expectHello,
		urls:   urls,
		levels: levels,
		lookup: lookup,
		decoy:  decoy,
		agreed: transcript{senderNonce: nonce, level: levels.Own},
	}
}

// step takes the member's next frame. It returns a frame to send, or a
// fault that ends the connection; in the state proved there is nothing to say
// until welcome.
func (g *greeting) step(f *pb.Frame) (reply *pb.Frame, fault *handshakeFault) {
	switch {
	case g.state == expectHello && f.GetHello() != nil:
		return g.onHello(f.GetHello())
	case g.state == expectProof && f.GetProof() != nil:
		return nil, g.onProof(f.GetProof())
	}
	return nil, g.refuse(ReasonProtocol, pb.Code_PROTOCOL_ERROR, "frame out of place",
		fmt.Errorf("%w: %s while %s", frame.ErrProtocol, frame.KindOf(f), g.state))
}

func (g *greeting) onHello(m *pb.Hello) (*pb.Frame, *handshakeFault) {
	// The version goes first: of another one nothing else is understood.
	if m.GetVersion() != protocolVersion {
		say := fmt.Sprintf("version %d is not spoken here, %d is", m.GetVersion(), protocolVersion)
		return nil, g.refuse(ReasonVersion, pb.Code_VERSION, say, errors.New(say))
	}
	hello := frame.HelloOf(m)
	err := hello.Check()
	if len(m.GetNonce()) != nonceSize {
		err = errors.Join(err, fmt.Errorf("hello: nonce has %d bytes, not %d", len(m.GetNonce()), nonceSize))
	}
	if err != nil {
		return nil, g.refuse(ReasonMalformed, pb.Code_PROTOCOL_ERROR, "malformed hello", err)
	}
	if err := g.levels.Refuse("the member", hello.Level, ""); err != nil {
		return nil, g.refuse(ReasonVersion, pb.Code_VERSION, err.Error(), err)
	}
	decoy := g.decoy(hello.Destination) // always made, so that time does not tell either
	g.secret, g.known = g.lookup(hello.Destination)
	if len(g.secret.Token) < minToken {
		g.secret, g.known = decoy, false
	}
	if g.levels.With(hello.Level) < pb.LevelZones {
		hello.Zone = "" // nothing covers it
	}
	g.agreed.hello = hello
	g.agreed.memberNonce = m.GetNonce()
	g.agreed.incarnation = g.secret.Incarnation
	g.state = expectProof
	return &pb.Frame{Kind: &pb.Frame_Challenge{Challenge: &pb.Challenge{
		Nonce:       g.agreed.senderNonce,
		Incarnation: g.secret.Incarnation,
		Version:     protocolVersion,
		Level:       uint32(g.levels.Own),
	}}}, nil
}

// wrongProof is what a member is told that may not join, whatever the reason.
const wrongProof = "the proof is wrong for this destination and listener"

func (g *greeting) onProof(m *pb.Proof) *handshakeFault {
	right := sameMAC(m.GetMac(), g.agreed.memberProof(g.secret.Token))
	if g.tokens != nil {
		// All are tried, so that the time it takes is the same without one.
		for _, token := range g.tokens(g.agreed.hello.Destination, g.agreed.hello.Group) {
			if sameMAC(m.GetMac(), g.agreed.memberProof(token)) && len(token) >= minToken {
				right, g.secret.Token = true, token
			}
		}
	}
	dest := g.agreed.hello.Destination
	const say = wrongProof
	switch {
	case !g.known:
		return g.refuse(ReasonUnknownDestination, pb.Code_BAD_PROOF, say,
			fmt.Errorf("destination %q is not served here", dest))
	case !right:
		return g.refuse(ReasonBadProof, pb.Code_BAD_PROOF, say,
			fmt.Errorf("destination %q: the member's proof is wrong", dest))
	case !slices.Contains(g.urls, g.agreed.hello.URL):
		return g.refuse(ReasonAddress, pb.Code_BAD_PROOF, say,
			fmt.Errorf("destination %q: dialled as %q, which is not this listener", dest, g.agreed.hello.URL))
	}
	if g.allow != nil {
		if err := g.allow(g.agreed.hello); err != nil {
			return g.refuse(ReasonNotAllowed, pb.Code_BAD_PROOF, say, err)
		}
	}
	g.state = proved
	return nil
}

// welcome is the sender's last word of the handshake.
func (g *greeting) welcome(sender string, maxMessage uint64) (*pb.Frame, error) {
	if g.state != proved {
		return nil, fmt.Errorf("%w: welcome while %s", frame.ErrProtocol, g.state)
	}
	g.agreed.sender, g.agreed.maxMessage = sender, maxMessage
	g.state = welcomed
	return &pb.Frame{Kind: &pb.Frame_Welcome{Welcome: &pb.Welcome{
		Mac:        g.agreed.senderProof(g.secret.Token),
		Sender:     sender,
		MaxMessage: maxMessage,
	}}}, nil
}

func (g *greeting) refuse(reason Reason, code pb.Code, say string, err error) *handshakeFault {
	g.state = refused
	return &handshakeFault{reason: reason, code: code, say: say, err: err}
}

// joining is the member's side.
type joining struct {
	state handshakeState
	token []byte
	// largest is the largest record this side can take.
	largest uint64
	// levels are what this side can do, listed what the sender can, as etcd says.
	levels pb.Levels
	listed pb.Level
	agreed transcript
}

// begin starts a join and gives the first frame to send. The nonce must be
// fresh for each connection.
func begin(hello frame.Hello, nonce, token []byte, largest uint64, levels pb.Levels, listed pb.Level) (*joining, *pb.Frame) {
	if hello.Level = levels.Own; levels.With(listed) < pb.LevelZones {
		hello.Zone = "" // the proofs of an older sender do not cover it
	}
	j := &joining{
		state:   expectChallenge,
		token:   token,
		largest: largest,
		levels:  levels,
		listed:  listed,
		agreed:  transcript{hello: hello, memberNonce: nonce},
	}
	return j, hello.Wire(nonce)
}

// step takes the sender's next frame. It returns a frame to send, or nil
// once welcomed. After an error the connection is of no use.
func (j *joining) step(f *pb.Frame) (reply *pb.Frame, err error) {
	switch {
	case f.GetBye() != nil:
		j.state = refused
		return nil, &RefusedError{Code: f.GetBye().GetCode(), Reason: frame.Clip(f.GetBye().GetReason())}
	case j.state == expectChallenge && f.GetChallenge() != nil:
		return j.onChallenge(f.GetChallenge())
	case j.state == expectWelcome && f.GetWelcome() != nil:
		return nil, j.onWelcome(f.GetWelcome())
	}
	err = fmt.Errorf("%w: %s while %s", frame.ErrProtocol, frame.KindOf(f), j.state)
	j.state = refused
	return nil, err
}

func (j *joining) onChallenge(m *pb.Challenge) (*pb.Frame, error) {
	switch {
	case m.GetVersion() != j.agreed.hello.Version:
		j.state = refused
		return nil, fmt.Errorf("%w: the sender chose version %d, %d was offered", frame.ErrProtocol, m.GetVersion(), j.agreed.hello.Version)
	case len(m.GetNonce()) != nonceSize:
		j.state = refused
		return nil, fmt.Errorf("frame: %w: challenge: nonce has %d bytes, not %d", messages.ErrCorrupt, len(m.GetNonce()), nonceSize)
	}
	level := pb.Level(m.GetLevel())
	if err := j.levels.Refuse("the sender", level, ""); err != nil {
		j.state = refused
		return nil, fmt.Errorf("%w: %w", ErrLevel, err)
	}
	if level < j.listed {
		j.state = refused
		return nil, fmt.Errorf("%w: the sender is listed with level %d and says %d: something between changes what it says", ErrLevel, j.listed, level)
	}
	j.agreed.level = level
	j.agreed.senderNonce = m.GetNonce()
	j.agreed.incarnation = m.GetIncarnation()
	j.state = expectWelcome
	return &pb.Frame{Kind: &pb.Frame_Proof{Proof: &pb.Proof{Mac: j.agreed.memberProof(j.token)}}}, nil
}

func (j *joining) onWelcome(m *pb.Welcome) error {
	j.state = refused
	j.agreed.sender, j.agreed.maxMessage = m.GetSender(), m.GetMaxMessage()
	switch {
	case !sameMAC(m.GetMac(), j.agreed.senderProof(j.token)):
		return ErrPeerProof
	case m.GetMaxMessage() > j.largest:
		return fmt.Errorf("the sender's messages have up to %d bytes, frames here hold %d: %w",
			m.GetMaxMessage(), j.largest, messages.ErrTooLarge)
	}
	j.state = welcomed
	return nil
}

// peer is what the member learnt; it holds once welcomed.
func (j *joining) peer() Peer {
	return Peer{
		ID: j.agreed.sender, Incarnation: j.agreed.incarnation, MaxMessage: j.agreed.maxMessage,
		Level: j.levels.With(j.agreed.level),
	}
}
