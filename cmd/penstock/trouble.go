package main

// What holds up a topic, said while it does.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// tellTrouble says what goes wrong with a topic until rt stops. With --verbose
// the log says it.
func (a *app) tellTrouble(rt *penstock.Runtime, topic string) {
	if a.verbose > 0 {
		return
	}
	events := rt.Events(context.Background())
	go func() {
		for e := range events {
			if where, text := troubleOf(e); where == topic {
				a.say("%s", text)
			}
		}
	}()
}

// troubleOf is the topic and the trouble that an event tells of; no topic when
// it tells of none.
func troubleOf(e penstock.Event) (topic, text string) {
	switch e := e.(type) {
	case messages.AppendDelayed:
		return e.Topic, fmt.Sprintf("waiting to put into partition %d: %v", e.Partition, e.Err)
	case messages.ReadDelayed:
		return e.Topic, fmt.Sprintf("waiting to read partition %d: %v", e.Partition, e.Err)
	case messages.CommitDelayed:
		return e.Topic, fmt.Sprintf("waiting to commit: %v", e.Err)
	case messages.PartitionLost:
		return e.Topic, fmt.Sprintf("lost partition %d: what was not committed is handled again by another member", e.Partition)
	case messages.BatchCorrupt:
		return e.Topic, fmt.Sprintf("reading of partition %d stops at offset %d: %v", e.Partition, e.Offset, e.Err)
	case messages.LogRolledBack:
		return e.Topic, fmt.Sprintf("reading of partition %d stops: it ends at %d, and was read up to %d", e.Partition, e.End, e.Position)
	}
	return "", ""
}
