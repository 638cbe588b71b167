package socket

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/frame"
)

func goldenTranscript() transcript {
	return transcript{
		hello: frame.Hello{
			Version: 1, Destination: "orders", Group: "billing", Member: "m-1",
			Mode: pb.Mode_FAILOVER, Window: 256, WindowBytes: 1 << 20, Concurrency: 4,
			Policy: pb.QueuePolicy_ERROR, KeepFor: time.Minute, URL: "tcp://10.0.0.1:7000", Level: pb.LevelNow,
		},
		memberNonce: bytes.Repeat([]byte{1}, nonceSize),
		senderNonce: bytes.Repeat([]byte{2}, nonceSize),
		incarnation: "life-1",
		sender:      "s-1",
		maxMessage:  4 << 20,
		level:       pb.LevelNow,
	}
}

var goldenToken = []byte("0123456789abcdef0123456789abcdef")

// The golden values are the wire: a change of theirs locks out every process of
// another version, and must come with a new protocolVersion.
func TestProofGolden(t *testing.T) {
	tr := goldenTranscript()
	old, level1 := tr, tr
	old.level, old.hello.Level = 0, 0 // as releases without levels make it
	mixed := old
	mixed.level = 5 // and as others do with them
	level1.level, level1.hello.Level = 1, 2
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"mixed member":      {mixed.memberProof(goldenToken), "061c4b8e2ebaef610c390ec4b09ad2757466ea34775e466ea583e6426f189ae5"},
		"member of level 1": {level1.memberProof(goldenToken), "6acaa208435fdfe95d0fde6d060c66ca42043c9e2d9c8695b9203f216d512c0d"},
		"sender of level 1": {level1.senderProof(goldenToken), "6a877835942effd6fa5270e6786ceac722565bda33596f30cb3e84bf5df8f80a"},
		"member":            {old.memberProof(goldenToken), "061c4b8e2ebaef610c390ec4b09ad2757466ea34775e466ea583e6426f189ae5"},
		"sender":            {old.senderProof(goldenToken), "6ffea5d1f4d6af85873684313a54101d2ffb71840f6f2afd8d903a99a610b4ce"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("the %s's proof is %s, want %s", name, got, c.want)
		}
	}
}

// Every field, found by reflection so that a new one cannot be forgotten.
func TestProofCoversEveryField(t *testing.T) {
	base := goldenTranscript()
	fields := 0
	try := func(name string, f func(*transcript)) {
		fields++
		tr := goldenTranscript()
		f(&tr)
		if bytes.Equal(tr.senderProof(goldenToken), base.senderProof(goldenToken)) {
			t.Errorf("the sender's proof does not cover %s", name)
		}
		same := bytes.Equal(tr.memberProof(goldenToken), base.memberProof(goldenToken))
		if later := name == "sender" || name == "maxMessage"; same != later {
			t.Errorf("the member's proof, with another %s: same %v", name, same)
		}
	}
	h := reflect.TypeFor[frame.Hello]()
	for i := range h.NumField() {
		try("hello."+h.Field(i).Name, func(tr *transcript) {
			v := reflect.ValueOf(&tr.hello).Elem().Field(i)
			switch v.Kind() {
			case reflect.String:
				v.SetString(v.String() + "x")
			case reflect.Uint32, reflect.Uint64:
				v.SetUint(v.Uint() + 1)
			case reflect.Int32:
				v.SetInt(v.Int() + 1)
			case reflect.Int64:
				v.SetInt(v.Int() + int64(time.Millisecond))
			default:
				t.Fatalf("no way to change %s", h.Field(i).Name)
			}
		})
	}
	try("memberNonce", func(tr *transcript) { tr.memberNonce[31] ^= 1 })
	try("senderNonce", func(tr *transcript) { tr.senderNonce[0] ^= 1 })
	try("incarnation", func(tr *transcript) { tr.incarnation = "life-2" })
	try("level", func(tr *transcript) { tr.level++ })
	try("sender", func(tr *transcript) { tr.sender = "s-2" })
	try("maxMessage", func(tr *transcript) { tr.maxMessage++ })
	try("exporter", func(tr *transcript) { tr.exporter = []byte{1} })
	if want := reflect.TypeFor[transcript]().NumField() - 1 + h.NumField(); fields != want {
		t.Errorf("%d fields were changed, a transcript has %d", fields, want)
	}
}

func TestProofIsUnambiguous(t *testing.T) {
	a, b := goldenTranscript(), goldenTranscript()
	a.hello.Destination, a.hello.Group = "ab", "c"
	b.hello.Destination, b.hello.Group = "a", "bc"
	if bytes.Equal(a.memberProof(goldenToken), b.memberProof(goldenToken)) {
		t.Error("moving a byte from one name to the next leaves the proof the same")
	}
	c := goldenTranscript()
	c.sender, c.maxMessage = "", 0
	if bytes.Equal(c.memberProof(goldenToken), c.senderProof(goldenToken)) {
		t.Error("a member's proof is a sender's")
	}
	if bytes.Equal(c.memberProof(goldenToken), c.memberProof(append([]byte{0}, goldenToken...))) {
		t.Error("another token makes the same proof")
	}
}

func TestSameMAC(t *testing.T) {
	mac := bytes.Repeat([]byte{3}, macSize)
	other := bytes.Clone(mac)
	other[31]++
	if !sameMAC(mac, bytes.Clone(mac)) || sameMAC(mac, other) || sameMAC(nil, nil) || sameMAC(mac[:31], mac[:31]) {
		t.Error("sameMAC is wrong")
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	secret := Secret{Token: []byte("the-secret-token"), Incarnation: "life-1"}
	dial := DialConfig{URL: "tcp://h:1", Token: secret.Token}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "dial", dial)
	for _, s := range []string{
		log.String(), fmt.Sprint(secret), fmt.Sprintf("%+v %#v %s", secret, secret, &secret),
		fmt.Sprint(dial), fmt.Sprintf("%+v %#v %s", dial, dial, &dial),
	} {
		if strings.Contains(s, "the-secret") || strings.Contains(s, hex.EncodeToString(secret.Token)) || strings.Contains(s, "116 104 101") {
			t.Errorf("%q tells the token", s)
		}
	}
}

func TestNewSecret(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if len(a.Token) < minToken || bytes.Equal(a.Token, b.Token) || a.Incarnation == b.Incarnation {
		t.Error("two secrets are alike")
	}
	l := &Listener{}
	decoy, again := l.decoy("x"), l.decoy("x")
	if len(decoy.Incarnation) != len(a.Incarnation) || len(decoy.Token) != len(a.Token) {
		t.Error("a decoy does not look like a secret")
	}
	if decoy.Incarnation != again.Incarnation || decoy.Incarnation == l.decoy("y").Incarnation {
		t.Error("a decoy is not one destination's, always the same")
	}
}
