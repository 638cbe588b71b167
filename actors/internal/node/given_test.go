package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

func TestArgumentsThatAreMissing(t *testing.T) {
	var none context.Context
	if err := ContextGiven(none); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("no context: %v", err)
	}
	if err := ContextGiven(t.Context()); err != nil {
		t.Errorf("a context: %v", err)
	}
	if err := HandlerGiven(true); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("no handler: %v", err)
	}
	if err := HandlerGiven(false); err != nil {
		t.Errorf("a handler: %v", err)
	}
}

// Promise: a configuration's faults are told all at once.
func TestFaults(t *testing.T) {
	var f Faults
	f.Join(nil)
	if err := f.Err(); err != nil {
		t.Fatalf("no fault: %v", err)
	}
	f.Add("window %d", -1)
	f.Join(messages.ErrDenied)
	err := f.Err()
	if !errors.Is(err, messages.ErrInvalid) || !errors.Is(err, messages.ErrDenied) || !strings.Contains(err.Error(), "window -1") {
		t.Error(err)
	}
}
