package topics_test

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

// Promise: a closed handle takes no subscription. What is wrong with the call
// comes first, then the end of the topic, then that of the handle.
func TestSubscribeByAClosedHandle(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	closed, err := e.CreateTopic(ctx, "orders", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	open, err := e.Topic(ctx, "orders", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(ctx); err != nil {
		t.Fatal(err)
	}
	subscribe := func(what string, group string, want error) {
		t.Helper()
		if _, err := closed.Subscribe(ctx, groups.Config{Group: group}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	subscribe("no group", "", messages.ErrInvalid)
	subscribe("a group", "billing", messages.ErrClosed)
	if err := e.DeleteTopic(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, "the topic has ended", func() bool { return open.Ended() != nil })
	subscribe("a group of a deleted topic", "billing", messages.ErrTopicDeleted)
}
