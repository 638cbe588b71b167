package topics

// What holds up a topic, said while it does.

import (
	"fmt"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// reportTrouble says what goes wrong with a topic until rt stops. With --verbose the
// log does.
func reportTrouble(a *cli.App, rt *penstock.Runtime, topic string) {
	a.ReportTroubles(rt, func(e penstock.Event) cli.Trouble {
		if t := troubleOf(e); t.topic == topic {
			return cli.Trouble{What: t.what, Text: t.text}
		}
		return cli.Trouble{}
	})
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
