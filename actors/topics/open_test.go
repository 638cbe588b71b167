package topics_test

import (
	"context"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/messages"
)

// Promise: who has not waited for a handle is no user of the topic, and with the
// last Close it ends.
func TestOpeningGivenUp(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	for range 20 {
		if h, err := topic.OpenAgain(gone, topics.ProducerConfig{}); err == nil { // the answer was there at once
			if err := h.Close(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := topic.Close(ctx); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the topic has ended", func() bool { return topic.Ended() != nil })
}
