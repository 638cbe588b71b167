package topiclog

// What the actor of a topic makes of what its watch shows.

import (
	"errors"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// watched performs a topic's actor that watches nothing, and returns what it told its
// parent of the topic and whether it has stopped.
func watched(t *testing.T, path *Topic, shown ...any) (changes int, stopped bool) {
	t.Helper()
	over := make(chan struct{})
	a := &topic{env: path.Env, path: path, follow: notFollowing}
	child := func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				a.state = topicMoves.To(ctx, a.state, topicOpen)
			case string:
				ctx.Send(ctx.Parent(), "over")
			default:
				a.Receive(ctx)
			}
		})
	}
	parent := func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				pid := ctx.Spawn(supervisor.Props(child))
				ctx.Watch(pid)
				for _, m := range shown {
					ctx.Send(pid, m)
				}
				ctx.Send(pid, "are you over")
			case *Changed:
				changes++
			case *actor.Terminated:
				stopped = true
				ctx.Send(ctx.Self(), "over") // behind what the child has told
			case string:
				close(over)
			}
		})
	}
	pid := path.Env.System.Root.Spawn(supervisor.Props(parent))
	<-over
	if err := supervisor.Stop(t.Context(), path.Env.System, pid); err != nil {
		t.Fatal(err)
	}
	return changes, stopped
}

// Promise: a topic's newest settings hold, but for those of an etcd that was set
// back; and another topic under its name, or none, is its end.
func TestTopicFollowsItsSettings(t *testing.T) {
	const key = "/test/topics/orders"
	kv := func(id string, partitions int, revision int64) discovery.KV {
		cfg := messages.TopicConfig{Partitions: partitions}
		cfg.EnsureDefaults()
		value := format.TopicValue(messages.TopicInfo{ID: id, Config: cfg})
		return discovery.KV{Key: key, Value: []byte(value), CreateRevision: 5, ModRevision: revision}
	}
	garbage := discovery.KV{Key: key, Value: []byte{0xff}, ModRevision: 9}
	other := kv("t1", 8, 9)
	other.Key += "2"
	for name, tt := range map[string]struct {
		shown      []any
		partitions int
		changes    int
		gone       bool
	}{
		"as known":                 {[]any{discovery.Snapshot{Revision: 7, KVs: []discovery.KV{kv("t1", 2, 5)}}}, 2, 0, false},
		"grown":                    {[]any{discovery.Snapshot{Revision: 7, KVs: []discovery.KV{kv("t1", 4, 6)}}}, 4, 1, false},
		"grown twice":              {[]any{discovery.Delta{Revision: 6, Puts: []discovery.KV{kv("t1", 4, 6)}}, discovery.Delta{Revision: 7, Puts: []discovery.KV{kv("t1", 6, 7)}}}, 6, 2, false},
		"of before what we know":   {[]any{discovery.Delta{Revision: 4, Puts: []discovery.KV{kv("t1", 1, 4)}}}, 2, 0, false},
		"of an etcd that was lost": {[]any{discovery.Snapshot{Reset: true, Revision: 4, KVs: []discovery.KV{kv("t1", 1, 4)}}}, 1, 1, false},
		"garbage":                  {[]any{discovery.Snapshot{Revision: 9, KVs: []discovery.KV{garbage}}}, 2, 0, false},
		"a key beside it":          {[]any{discovery.Delta{Revision: 9, Puts: []discovery.KV{other}, Deletes: []discovery.KV{other}}}, 2, 0, false},
		"another topic":            {[]any{discovery.Delta{Revision: 9, Puts: []discovery.KV{kv("t2", 8, 9)}}}, 2, 1, true},
		"deleted":                  {[]any{discovery.Delta{Revision: 9, Deletes: []discovery.KV{{Key: key}}}}, 2, 1, true},
		"deleted and made again":   {[]any{discovery.Delta{Revision: 9, Deletes: []discovery.KV{{Key: key}}, Puts: []discovery.KV{kv("t2", 8, 9)}}}, 2, 1, true},
		"not there":                {[]any{discovery.Snapshot{Revision: 9}}, 2, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := topicOf(t, 2)
			if k := path.Env.Keys.Topic("orders"); k != key {
				t.Fatalf("its key is %s", k)
			}
			changes, stopped := watched(t, path, tt.shown...)
			if path.Partitions() != tt.partitions || changes != tt.changes || stopped != tt.gone {
				t.Errorf("%d partitions, %d changes, stopped: %t", path.Partitions(), changes, stopped)
			}
			if gone := errors.Is(path.Ended(), messages.ErrTopicDeleted); gone != tt.gone {
				t.Errorf("it ended with %v", path.Ended())
			}
			events := path.Env.Events.Count()
			updated := uint64(tt.changes)
			deleted := uint64(0)
			if tt.gone {
				updated, deleted = 0, 1
			}
			if events["topic_updated"] != updated || events["topic_deleted"] != deleted {
				t.Errorf("there were %v", events)
			}
		})
	}
}
