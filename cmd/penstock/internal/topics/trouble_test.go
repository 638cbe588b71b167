package topics

import (
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

func TestTrouble(t *testing.T) {
	for _, e := range []penstock.Event{
		messages.AppendDelayed{Topic: "audit"}, messages.ReadDelayed{Topic: "audit"}, messages.CommitDelayed{Topic: "audit"},
		messages.PartitionLost{Topic: "audit"}, messages.BatchCorrupt{Topic: "audit"}, messages.LogRolledBack{Topic: "audit"},
	} {
		if got := troubleOf(e); got.topic != "audit" || got.what == "" || got.text == "" {
			t.Errorf("%T: %+v", e, got)
		}
	}
	if got := troubleOf(messages.SessionLost{}); got != (trouble{}) {
		t.Errorf("%+v", got)
	}
}
