package topics

// Where a producer with ids of its own goes on.

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/actors/topics/internal/window"
	"github.com/penstock-io/penstock/messages"
)

// LastID is penstock.Topic.LastID.
func (t *Topic) LastID(ctx context.Context, producer string) (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("last id of %q in %q: %w", producer, t.path.Name, err)
	}
	if err := node.ContextGiven(ctx); err != nil {
		return fail(err)
	}
	if err := t.ended(); err != nil {
		return fail(err)
	}
	info := t.path.Info()
	switch {
	case info.Config.DedupeWindow <= 0:
		return fail(fmt.Errorf("the topic has no window of ids, see TopicConfig.DedupeWindow: %w", messages.ErrInvalid))
	case producer == "":
		return fail(fmt.Errorf("the producer has no name: %w", messages.ErrInvalid))
	}
	var last string
	var newest int64
	for p := range info.Config.Partitions {
		look := window.NewLast(producer, info.Config, time.Now())
		err := topiclog.Retry(ctx, func(err error) {
			t.path.Env.Events.Emit(messages.ReadDelayed{Topic: t.path.Name, Partition: p, Err: err})
		}, func() error { return t.path.Env.Log.Partition(info, p).Back(ctx, look) })
		if err != nil {
			return fail(err)
		}
		id, nano, err := look.Found()
		if err != nil {
			return fail(err)
		}
		if id != "" && (last == "" || nano > newest) {
			last, newest = id, nano
		}
	}
	return last, nil
}
