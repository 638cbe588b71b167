package messages

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestGroupSettingsOverTheWire(t *testing.T) {
	for _, want := range []GroupSettings{
		{AtLeastOnce, QueueBlock, time.Minute},
		{AtMostOnce, QueueDropOldest, Forever},
		{AtLeastOnce, QueueError, 1500 * time.Millisecond},
	} {
		m := want.Meta()
		got, err := GroupSettingsOf(m.Mode, m.Policy, m.KeepForMs)
		if err != nil || got != want || !got.Agrees(want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
	if got, err := GroupSettingsOf(modes[AtLeastOnce], policies[QueueBlock], math.MaxInt64); err != nil || got.KeepFor != math.MaxInt64 {
		t.Errorf("the longest that etcd can hold came as %s, %v", got.KeepFor, err)
	}
	if _, err := GroupSettingsOf(99, 1, 0); !errors.Is(err, ErrGroupMode) {
		t.Errorf("an unknown mode: %v", err)
	}
}
