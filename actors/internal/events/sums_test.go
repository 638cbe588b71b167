package events

import (
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// A subscriber that does not read keeps room for what is told once.
func TestSumsLeaveRoom(t *testing.T) {
	h := New()
	events := h.Events(t.Context())
	for range 2 * eventBuffer {
		h.Emit(messages.LateAck{Group: "g"})
		h.TellSums()
		h.TellSums()
	}
	h.Emit(messages.SessionLost{})
	h.Close(messages.RuntimeStopped{})
	seen := false
	for e := range events {
		_, ok := e.(messages.SessionLost)
		seen = seen || ok
	}
	if !seen {
		t.Error("sums pushed another event out")
	}
}
