package socket

import (
	"testing"

	"github.com/penstock-io/penstock/transport/frame"
)

func TestWhoMaySendWhat(t *testing.T) {
	for kind := range frame.Kind(16) {
		sender, member := roleSender.expects(kind), roleMember.expects(kind)
		want := map[frame.Kind][2]bool{
			frame.KindData: {false, true}, frame.KindAck: {true, false}, frame.KindNack: {true, false}, frame.KindReply: {true, false},
			frame.KindPing: {true, true}, frame.KindDrain: {true, true}, frame.KindBye: {true, true},
		}[kind]
		if sender != want[0] || member != want[1] {
			t.Errorf("%s: sender expects %v, member %v", kind, sender, member)
		}
	}
}
