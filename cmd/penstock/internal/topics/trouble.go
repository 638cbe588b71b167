package topics

// What holds up a topic, said while it does.

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// troubleAgain is the time after which a trouble that persists is said again.
const troubleAgain = 30 * time.Second

// reportTrouble says what goes wrong with a topic until rt stops. With --verbose the
// log does.
func reportTrouble(a *cli.App, rt *penstock.Runtime, topic string) {
	if a.Verbose > 0 {
		return
	}
	events := rt.Events(context.Background())
	go func() {
		said := make(map[string]time.Time)
		for e := range events {
			t := troubleOf(e)
			if t.topic != topic || time.Since(said[t.what]) < troubleAgain {
				continue
			}
			said[t.what] = time.Now()
			a.Say("%s: %s", t.what, t.text)
		}
	}()
}

// trouble is what an event reports; an event that reports none has no topic.
type trouble struct{ topic, what, text string }

func troubleOf(e penstock.Event) trouble {
	switch e := e.(type) {
	case messages.AppendDelayed:
		return trouble{e.Topic, "waiting to put", fmt.Sprintf("partition %d: %v", e.Partition, e.Err)}
	case messages.ReadDelayed:
		return trouble{e.Topic, "waiting to read", fmt.Sprintf("partition %d: %v", e.Partition, e.Err)}
	case messages.CommitDelayed:
		return trouble{e.Topic, "waiting to commit", fmt.Sprint(e.Err)}
	case messages.PartitionLost:
		return trouble{e.Topic, fmt.Sprintf("lost partition %d", e.Partition), "what was not committed is handled again"}
	case messages.BatchCorrupt:
		return trouble{e.Topic, fmt.Sprintf("reading of partition %d stops", e.Partition), fmt.Sprintf("offset %d: %v", e.Offset, e.Err)}
	case messages.LogRolledBack:
		return trouble{
			e.Topic, fmt.Sprintf("reading of partition %d stops", e.Partition),
			fmt.Sprintf("it was read up to %d, and ends at %d now", e.Position, e.End),
		}
	}
	return trouble{}
}
