package pipes

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// Promise: the last line of send accounts for every message, and what was lost
// is code 1 whatever else happened.
func TestOutcomeOfASend(t *testing.T) {
	for _, c := range []struct {
		outcome outcome
		ended   error
		line    string
		code    cli.ExitCode
	}{
		{outcome{sent: 5}, nil, "sent 5 acked 5", cli.ExitDone},
		{outcome{sent: 5, unacked: 2}, nil, "sent 5 acked 3", cli.ExitIncomplete},
		{outcome{sent: 5, dropped: 2}, nil, "sent 5 acked 3 dropped 2", cli.ExitFailed},
		{outcome{sent: 9, dropped: 2, givenUp: 3, unacked: 1}, nil, "sent 9 acked 3 dropped 2 given up 3", cli.ExitFailed},
		{outcome{sent: 5, givenUp: 5}, cli.Incompletef("a signal"), "sent 5 acked 0 given up 5", cli.ExitFailed},
		{outcome{sent: 5, givenUp: 9}, nil, "sent 5 acked 0 given up 9", cli.ExitFailed},
	} {
		if got := c.outcome.String(); got != c.line {
			t.Errorf("%+v: %q, want %q", c.outcome, got, c.line)
		}
		if got := cli.CodeOf(errors.Join(c.ended, c.outcome.err(c.ended))); got != c.code {
			t.Errorf("%+v: code %d, want %d", c.outcome, got, c.code)
		}
	}
}

func TestLossesTellKindsAndGroupsApart(t *testing.T) {
	var l losses
	l.hear(messages.MessagesDropped{Group: "billing", Count: 3})
	l.hear(messages.MessagesDropped{Group: "audit", Count: 2})
	l.hear(messages.MessagesDropped{Group: "billing", Count: 1})
	l.hear(messages.GroupRemoved{Group: "audit", Unsent: 7})
	if l.dropped.most() != 4 || l.givenUp.most() != 7 {
		t.Errorf("dropped %d, given up %d, want 4 and 7", l.dropped.most(), l.givenUp.most())
	}
}
