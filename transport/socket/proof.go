package socket

// Proofs: how each side shows that it holds the destination's token without
// sending it. Pure, but for NewSecret.

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

const (
	// protocolVersion is what this package speaks.
	protocolVersion = 1
	nonceSize       = 32
	macSize         = sha256.Size
	// minToken keeps an empty or guessable token from opening a destination:
	// HMAC takes any key, also none.
	minToken = 16
	// incarnationSize is in bytes, before they are written in hexadecimal.
	incarnationSize = 16
)

// The roles that make a proof one-way: a member's cannot be sent back to it as
// the sender's.
const (
	proofOfMember = "member"
	proofOfSender = "sender"
)

// Secret is what a listener knows of one destination.
type Secret struct {
	// Token is the shared key, 16 random bytes or more; a shorter one is
	// treated as no secret at all. It must not be changed afterwards.
	Token []byte
	// Incarnation names this life of the destination. Everybody who asks is
	// told; 32 hexadecimal digits look like the answer for a destination that
	// does not exist.
	Incarnation string
}

// NewSecret draws a secret: 32 random bytes, and an incarnation of 32 digits.
func NewSecret() Secret {
	s := Secret{Token: make([]byte, 32)}
	rand.Read(s.Token)
	var life [incarnationSize]byte
	rand.Read(life[:])
	s.Incarnation = hex.EncodeToString(life[:])
	return s
}

// String shows the incarnation and hides the token.
func (s Secret) String() string { return "secret of " + s.Incarnation + " [redacted]" }

// GoString hides the token from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the token from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// transcript is everything that both sides of a handshake have agreed on.
type transcript struct {
	hello       frame.Hello
	memberNonce []byte
	senderNonce []byte
	incarnation string
	// level is the sender's; the member's is in the Hello.
	level pb.Level
	// sender and maxMessage come with the Welcome: only the sender's proof
	// covers them.
	sender     string
	maxMessage uint64
	// exporter binds the proof to a TLS session; empty without TLS.
	exporter []byte
}

// memberProof is what the Proof frame holds.
func (t transcript) memberProof(token []byte) []byte {
	t.sender, t.maxMessage = "", 0
	return t.mac(token, proofOfMember)
}

// senderProof is what the Welcome frame holds.
func (t transcript) senderProof(token []byte) []byte {
	return t.mac(token, proofOfSender)
}

// mac is HMAC-SHA256 over the fields in a fixed order, each behind its length,
// so that no two transcripts look the same.
func (t *transcript) mac(token []byte, role string) []byte {
	b := make([]byte, 0, 512)
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n uint64) {
		b = binary.BigEndian.AppendUint64(b, 8)
		b = binary.BigEndian.AppendUint64(b, n)
	}
	h := &t.hello
	text("penstock pipe proof")
	text(role)
	number(uint64(h.Version))
	text(h.Destination)
	text(h.Group)
	text(h.Member)
	number(uint64(h.Mode))
	number(uint64(h.Window))
	number(h.WindowBytes)
	number(uint64(h.Concurrency))
	number(uint64(h.Policy))
	number(uint64(frame.Millis(h.KeepFor)))
	text(string(t.memberNonce))
	text(string(t.senderNonce))
	text(t.incarnation)
	text(h.URL)
	text(t.sender)
	number(t.maxMessage)
	text(string(t.exporter))
	if min(h.Level, t.level) >= pb.LevelProofs {
		number(uint64(h.Level))
		number(uint64(t.level))
	}
	// Fields of Hello and Challenge that came with a level join here, in the order of the
	// levels, each level under a condition of its own: sides of an older level make the
	// transcript that they know.
	if min(h.Level, t.level) >= pb.LevelZones {
		text(h.Zone)
	}
	if h.Own != "" { // both sides are of one process
		text(h.Own)
	}

	mac := hmac.New(sha256.New, token)
	mac.Write(b)
	return mac.Sum(nil)
}

// sameMAC compares in a time that does not depend on where they differ.
func sameMAC(a, b []byte) bool { return len(a) == macSize && hmac.Equal(a, b) }
