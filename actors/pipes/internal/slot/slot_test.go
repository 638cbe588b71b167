package slot_test

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/actors/pipes/internal/slot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Promise: a connection is closed whether it came before the end or after it.
func TestSlotClosesWhatComes(t *testing.T) {
	var closed []string
	s := slot.Of(func(name string) { closed = append(closed, name) })
	if got := s.Get(); got != "" {
		t.Errorf("an empty slot has %q", got)
	}
	if !s.Put("early") || s.Get() != "early" || len(closed) > 0 {
		t.Errorf("it has %q, and closed %v", s.Get(), closed)
	}
	s.Close()
	if s.Put("late") {
		t.Error("a closed slot takes a connection")
	}
	if want := []string{"early", "late"}; !slices.Equal(closed, want) {
		t.Errorf("closed %v, want %v", closed, want)
	}
	slot.Of(func(string) { t.Error("an empty slot closes something") }).Close()
}
