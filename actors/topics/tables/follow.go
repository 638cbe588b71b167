package tables

// What a table follows besides the log: where partitions begin, and the settings of the topic.

import (
	"context"
	"strconv"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/keyed"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// followStarts watches where the partitions begin.
func (a *table) followStarts() {
	tell, prefix := a.host.Teller(), a.env.Keys.Starts(a.t.path.ID)
	seen := func(kvs []discovery.KV) {
		m := startsSeen{make(map[int]int64, len(kvs))}
		for _, kv := range kvs {
			p, err := strconv.Atoi(strings.TrimPrefix(kv.Key, prefix))
			if at, ok := keys.ParseOffset(string(kv.Value)); ok && err == nil {
				m.starts[p] = at
			}
		}
		tell(m)
	}
	a.host.AtEnd(a.env.Watches.Watch(prefix, func(e discovery.WatchEvent) {
		switch e := e.(type) {
		case discovery.Snapshot:
			seen(e.KVs)
		case discovery.Delta:
			seen(e.Puts)
		}
	}))
}

// startsSeen takes out what was trimmed.
func (a *table) startsSeen(m startsSeen) {
	for p, start := range m.starts {
		a.each(func(v *keyed.View, tell func(keyed.Change)) {
			if p < v.Partitions() && v.Trim(p, start, tell) > 0 && v.Spread() {
				a.want("the newest records of keys were deleted")
			}
		})
	}
}

// changed takes in other settings of the topic, or its end.
func (a *table) changed(ctx actor.Context) {
	path := a.t.path
	if why := path.Ended(); why != nil {
		a.over(ctx, why)
		return
	}
	if ttl := path.TTL(); ttl != a.ttl {
		longer := ttl == 0 || a.ttl != 0 && ttl > a.ttl
		a.ttl = ttl
		a.each(func(v *keyed.View, _ func(keyed.Change)) { v.SetTTL(ttl) })
		if longer {
			a.want("records live longer")
		}
	}
	a.grow()
}

// grow begins to read partitions that came since.
func (a *table) grow() {
	path := a.t.path
	if a.live == nil || a.live.view.Partitions() >= path.Partitions() {
		return
	}
	of, from, env := a.live, a.live.view.Partitions(), a.env
	supervisor.Call(&a.host, "find where new partitions begin", func(ctx context.Context) grown {
		m := grown{of: of, from: from}
		info := path.Info()
		m.err = topiclog.Retry(ctx, a.delayed, func() (err error) {
			m.starts, _, _, err = env.Log.EndsAt(ctx, info, upTo(from, info.Config.Partitions), 0)
			return err
		})
		return m
	})
}

func (a *table) grown(ctx actor.Context, m grown) {
	switch {
	case m.of != a.live || m.from != a.live.view.Partitions():
		return // it knows them since
	case m.err != nil:
		a.refused(ctx, m.err)
		return
	}
	for i, start := range m.starts {
		a.t.mu.Lock()
		a.live.view.Add(start)
		a.t.wake()
		a.t.mu.Unlock()
		if !a.read(ctx, a.live, m.from+i, 0) {
			return
		}
	}
	// A tombstone that was passed over while there was one partition may be newer than what
	// comes from another.
	a.want("there are more partitions")
	if a.again != nil && a.again.view.Partitions() < a.live.view.Partitions() {
		a.load(ctx, a.again.why)
	}
}
