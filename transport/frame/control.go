package frame

// The frames that are not hot: the generated code writes and reads them.

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// AppendControl appends any frame by the generated code. The error wraps
// messages.ErrInvalid.
func AppendControl(b []byte, f *pb.Frame) ([]byte, error) {
	out, err := proto.MarshalOptions{}.MarshalAppend(b, f)
	if err != nil {
		return b, fmt.Errorf("frame: %w: %w", err, messages.ErrInvalid)
	}
	return out, nil
}

func decodeControl(kind Kind, b []byte, m proto.Message) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return corrupt("%s: %v", kind, err)
	}
	return nil
}

// KindOf is the kind of a frame that the generated code decoded; 0 for none.
func KindOf(f *pb.Frame) Kind {
	switch f.GetKind().(type) {
	case *pb.Frame_Hello:
		return KindHello
	case *pb.Frame_Challenge:
		return KindChallenge
	case *pb.Frame_Proof:
		return KindProof
	case *pb.Frame_Welcome:
		return KindWelcome
	case *pb.Frame_Data:
		return KindData
	case *pb.Frame_Ack:
		return KindAck
	case *pb.Frame_Nack:
		return KindNack
	case *pb.Frame_Ping:
		return KindPing
	case *pb.Frame_Drain:
		return KindDrain
	case *pb.Frame_Bye:
		return KindBye
	case *pb.Frame_Reply:
		return KindReply
	}
	return 0
}

// Wire is the Hello frame of a member that drew nonce.
func (h *Hello) Wire(nonce []byte) *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Hello{Hello: &pb.Hello{
		Version:     h.Version,
		Destination: h.Destination,
		Group:       h.Group,
		Member:      h.Member,
		Nonce:       nonce,
		Mode:        h.Mode,
		Window:      h.Window,
		WindowBytes: h.WindowBytes,
		Concurrency: h.Concurrency,
		Url:         h.URL,
		Policy:      h.Policy,
		KeepForMs:   Millis(h.KeepFor),
		Level:       uint32(h.Level),
		Zone:        h.Zone,
		Own:         h.Own,
	}}}
}

// HelloOf reads the Hello of a member; Check says whether it may be.
func HelloOf(m *pb.Hello) Hello {
	return Hello{
		Version:     m.GetVersion(),
		Destination: m.GetDestination(),
		Group:       m.GetGroup(),
		Member:      m.GetMember(),
		Mode:        m.GetMode(),
		Window:      m.GetWindow(),
		WindowBytes: m.GetWindowBytes(),
		Concurrency: m.GetConcurrency(),
		URL:         m.GetUrl(),
		Policy:      m.GetPolicy(),
		KeepFor:     duration(m.GetKeepForMs()),
		Level:       pb.Level(m.GetLevel()),
		Zone:        m.GetZone(),
		Own:         m.GetOwn(),
	}
}

// Wire is the Nack frame.
func (n Nack) Wire() *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Nack{Nack: &pb.Nack{
		Seq:    n.Seq,
		Reason: strings.ToValidUTF8(Clip(n.Reason), "?"),
		Kind:   n.Kind, AfterMs: Millis(n.After),
	}}}
}

// after is the delay that a peer asks for.
func after(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), messages.MaxRetryAfter.Milliseconds())) * time.Millisecond
}

// decodePing reads what a ping says.
func decodePing(b []byte, p *Ping) error {
	var m pb.Ping
	if err := decodeControl(KindPing, b, &m); err != nil {
		return err
	}
	*p = Ping{Number: m.GetNumber(), Heard: m.GetHeard(), Nacks: m.GetNacks()}
	return nil
}

// Wire is the Ping frame.
func (p Ping) Wire() *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Ping{Ping: &pb.Ping{Number: p.Number, Heard: p.Heard, Nacks: p.Nacks}}}
}

// Wire is the Drain frame.
func (d Drain) Wire() *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Drain{Drain: &pb.Drain{Last: d.Last, Reply: d.Reply}}}
}

// Wire is the Bye frame.
func (b Bye) Wire() *pb.Frame {
	return &pb.Frame{Kind: &pb.Frame_Bye{Bye: &pb.Bye{Code: b.Code, Reason: strings.ToValidUTF8(Clip(b.Reason), "?")}}}
}

// Millis is how a time that may be without end goes over the wire: -1 is without
// end, and a short time does not become none.
func Millis(d time.Duration) int64 {
	switch {
	case d < 0:
		return -1
	case d > 0 && d < time.Millisecond:
		return 1
	}
	return d.Milliseconds()
}

// duration is what Millis wrote.
func duration(ms int64) time.Duration {
	if ms < 0 {
		return -1
	}
	return pb.Milliseconds(ms)
}

// Clip shortens text that people wrote, so that it cannot blow up a frame.
func Clip(s string) string {
	if len(s) > maxReason {
		return s[:maxReason]
	}
	return s
}
