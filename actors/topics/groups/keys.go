package groups

// What a subscription has in etcd besides its claims: its group's settings and
// its member's key, and where it begins where the group has never been.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/peers"
	"github.com/penstock-io/penstock/actors/topics/internal/prefetch"
	"github.com/penstock-io/penstock/actors/topics/internal/rebalance"
	"github.com/penstock-io/penstock/actors/topics/internal/topiclog"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/commitlog"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// writeKeys agrees on the group's mode and beginning, and keeps the member's key, for as
// long as the topic lives.
func (s *Subscription) writeKeys(ctx context.Context) error {
	if s.written.Load() {
		return nil
	}
	delayed := func(err error) {
		s.env.Events.Emit(messages.CommitDelayed{Topic: s.cfg.Topic, Group: s.cfg.Group, Err: err})
	}
	if err := topiclog.Retry(ctx, delayed, func() error {
		_, err := s.ensureGroup(ctx)
		return err
	}); err != nil {
		return err
	}
	return s.putMember(ctx, false)
}

// ensureGroup agrees on the group's mode and on where it began, and reports whether
// anything of that was not there.
func (s *Subscription) ensureGroup(ctx context.Context) (made bool, err error) {
	began, made, err := s.env.Log.EnsureGroup(ctx, s.path.Info(), s.cfg.Group, commitlog.Joining{
		Manual: s.cfg.Partitions != nil, Named: s.cfg.Partitions, Shared: s.cfg.Shared, Start: s.cfg.Start, Began: s.began.Load(),
	})
	if err == nil {
		s.began.Store(&began)
	}
	return made, err
}

// putMember writes the member's key, for as long as the topic lives. One that is
// leaving gets no partitions, and gives none out.
func (s *Subscription) putMember(ctx context.Context, leaving bool) error {
	info := s.path.Info()
	member := &pb.ConsumerMember{
		Id: s.cfg.ID, Host: s.env.Host, SinceUnixMs: s.since.UnixMilli(), Incarnation: s.incarnation, Leaving: leaving,
		Watched: s.peers.Watched(ctx),
	}
	at := member.GetWatched().GetAddresses()
	for _, p := range s.cfg.Partitions {
		member.Partitions = append(member.Partitions, uint32(p))
	}
	err := s.env.PutWhenFree(ctx, &s.wait, registry.Entry{
		Key: s.env.Keys.ConsumerMember(info.ID, s.cfg.Group, s.cfg.ID), Value: node.Marshal(member), Leased: true,
		Guard: []discovery.Guard{discovery.SameKey(s.env.Keys.Topic(info.Name), info.CreateRevision)},
	})
	if errors.Is(err, discovery.ErrGuard) {
		return messages.ErrTopicDeleted
	}
	if err == nil {
		s.listed.Store(&at)
	}
	return err
}

// strayed reports whether the member's key says other addresses than those at which others
// find this process.
func (s *Subscription) strayed() bool {
	at, listed := s.peers.At(), s.listed.Load()
	return at != nil && listed != nil && !slices.Equal(at, *listed)
}

// relisted: the key of a member whose process has moved is written again, or why it is not.
type relisted struct{ err error }

// moveAgain is after how long a move is tried that could not be done.
const moveAgain = time.Second

// move writes where others find this process, who would wait for its lease else. Of a
// member that leaves it is not said any more.
func (a *subscription) move() {
	if !a.sub.written.Load() || a.state == subLeaving || a.leaving != nil || a.moving != nil || !a.sub.strayed() {
		return
	}
	sub, write := a.sub, node.BeginWrite(a.host.Context())
	a.moving = write
	supervisor.Call(&a.host, "say where it is found", func(context.Context) relisted {
		return relisted{write.Do(func(ctx context.Context) error { return sub.putMember(ctx, false) })}
	})
}

func (a *subscription) relisted(m relisted) {
	a.moving = nil
	if m.err != nil || a.sub.strayed() {
		a.host.After(moveAgain, &peers.Moved{})
	}
}

// groupFacts are keys and values as the group's view takes them. A key of another
// form has the kind None, which the view ignores.
func groupFacts(space keys.Space, kvs []discovery.KV) []rebalance.Fact {
	facts := make([]rebalance.Fact, len(kvs))
	for i, kv := range kvs {
		k, _ := space.Parse(kv.Key)
		facts[i] = rebalance.Fact{Key: k, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision}
	}
	return facts
}

// groupGone are the keys of what was deleted.
func groupGone(space keys.Space, kvs []discovery.KV) []keys.Key {
	ks := make([]keys.Key, len(kvs))
	for i, kv := range kvs {
		ks[i], _ = space.Parse(kv.Key)
	}
	return ks
}

// removeKeys takes the member's key away, and then what claims it still
// has: none can be made any more.
func (s *Subscription) removeKeys(ctx context.Context, me commitlog.Me) error {
	if err := s.env.Registry.Remove(ctx, s.env.Keys.ConsumerMember(s.path.ID, s.cfg.Group, s.cfg.ID)); err != nil || errors.Is(s.path.Ended(), messages.ErrTopicDeleted) {
		return err
	}
	kvs, _, err := discovery.List(ctx, s.env.Etcd.Control, s.env.Keys.Claims(s.path.ID, s.cfg.Group))
	if err != nil {
		return err
	}
	var left []format.Position
	for _, kv := range kvs {
		k, ok := s.env.Keys.Parse(kv.Key)
		if c, err := format.ParseClaim(kv.Key, kv.Value); ok && err == nil && c.Member == s.cfg.ID {
			left = append(left, format.Position{Partition: k.Partition, Fence: kv.CreateRevision, Offset: -1, Base: -1})
		}
	}
	if len(left) > 0 {
		_, err = s.env.Log.Release(ctx, me, left)
	}
	return err
}

// firstPositions fills in where to begin in partitions that the group has never
// committed anything in: where the group began, in those that there were then, and
// at the earliest record of others. Unless that is the earliest record, it is
// committed at once. It returns the partitions whose position was not. Where the owner
// before has ended without a release that is counted, and committed. got is left as it is,
// for another try.
func (s *Subscription) firstPositions(ctx context.Context, me commitlog.Me, got []commitlog.Claimed) (made []commitlog.Claimed, unwritten []int, err error) {
	made = slices.Clone(got)
	at := make(map[int]messages.Start)
	var fresh []int
	for _, c := range made {
		if c.Err != nil || c.Held != nil || c.Offset >= 0 {
			continue
		}
		start, decided := s.began.Load().In(c.Partition)
		if !decided {
			start = s.cfg.Start
		}
		at[c.Partition] = start
		fresh = append(fresh, c.Partition)
	}
	places, err := s.places(ctx, fresh, at)
	if err != nil {
		return nil, nil, err
	}
	var first []format.Position
	for i := range made {
		c := &made[i]
		place, isNew := places[c.Partition]
		if isNew {
			c.Offset, c.Base = place.Offset, place.Base
		}
		if c.Ungraceful && c.Err == nil && c.Held == nil && place.Err == nil {
			c.Progress = prefetch.TakenOver(c.Offset, c.Progress)
			first = append(first, format.Position{
				Partition: c.Partition, Fence: c.Fence, Offset: c.Offset, Base: max(c.Base, 0), Known: c.Known, Progress: c.Progress,
			})
			continue
		}
		if !isNew {
			continue
		}
		switch {
		case errors.Is(place.Err, messages.ErrOffsetOutOfRange):
			c.Err = fmt.Errorf("begin at %s in partition %d: %w", at[c.Partition], c.Partition, place.Err)
		case place.Err != nil:
			c.Err = place.Err
		case at[c.Partition] == messages.Earliest():
			unwritten = append(unwritten, c.Partition)
		default:
			first = append(first, format.Position{Partition: c.Partition, Fence: c.Fence, Offset: c.Offset, Base: c.Base})
		}
	}
	if len(first) == 0 {
		return made, unwritten, nil
	}
	errs, err := s.env.Log.Commit(ctx, me, first)
	if err != nil {
		return nil, nil, err
	}
	for i, ferr := range errs { // one that is fenced already is found out at its first commit
		at := slices.IndexFunc(made, func(c commitlog.Claimed) bool { return c.Partition == first[i].Partition })
		if made[at].Known = first[i].Known; ferr != nil {
			unwritten = append(unwritten, first[i].Partition)
		}
	}
	return made, unwritten, nil
}

// places are where partitions begin, by their starts in at. Where the group began
// outside of a log, that is not the one that was: it is read from its first record, and
// at says so from then on.
func (s *Subscription) places(ctx context.Context, partitions []int, at map[int]messages.Start) (map[int]commitlog.Place, error) {
	places := make(map[int]commitlog.Place)
	for len(partitions) > 0 {
		found, err := s.env.Log.ResolveEach(ctx, s.path.Info(), partitions, func(p int) messages.Start { return at[p] })
		if err != nil {
			return nil, err
		}
		var again []int
		for i, p := range partitions {
			_, decided := s.began.Load().In(p)
			if decided && errors.Is(found[i].Err, messages.ErrOffsetOutOfRange) && at[p] != messages.Earliest() {
				at[p], again = messages.Earliest(), append(again, p)
				continue
			}
			places[p] = found[i]
		}
		partitions = again
	}
	return places, nil
}
