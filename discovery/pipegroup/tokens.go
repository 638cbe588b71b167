package pipegroup

// Which generation the tokens of a destination's groups are to be of: a key for each group,
// which senders obey. Rotating and revoking is one put, compared with what was read.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// AllGroups is the name of the tokens that admit to any group.
const AllGroups = ""

const (
	// rotateTries is how often a rotation begins again whose keys somebody else has changed.
	rotateTries = 16
	// rotateBatch is how many groups one transaction rotates, within what etcd takes.
	rotateBatch = 60
)

// Rotation is how tokens are replaced.
type Rotation struct {
	// Grace is how long the tokens before admit beside the new ones.
	Grace time.Duration
	// Revoke has them admit no more at once, whatever Grace is.
	Revoke bool

	every bool // the groups were listed: one that is gone by now was not asked for
}

// next is the generation after one, as its key is to be.
func (r Rotation) next(was *pb.TokenGeneration, now time.Time) *pb.TokenGeneration {
	g := &pb.TokenGeneration{
		Generation: was.GetGeneration() + 1, Least: was.GetLeast(),
		GraceMs: r.Grace.Milliseconds(), SinceUnixMs: now.UnixMilli(),
	}
	if r.Revoke {
		g.Least = g.Generation
	}
	return g
}

// Rotate has the senders of a destination draw tokens of the next generation: for one
// group, or for AllGroups and every group. It returns the generations by group. Errors:
// messages.ErrNoGroup, ErrNoDestination, ErrCorrupt, and those of discovery.Classify; after
// ErrUnavailable it may be done, or done for some groups.
func Rotate(ctx context.Context, client *clientv3.Client, space keys.Space, dest, group string, r Rotation) (map[string]uint64, error) {
	groups := []string{group}
	if group == AllGroups {
		r.every = true
		var err error
		if groups, err = groupsOf(ctx, client, space, dest); err != nil {
			return nil, err
		}
	}
	done := make(map[string]uint64)
	for some := range slices.Chunk(groups, rotateBatch) {
		if err := rotate(ctx, client, space, dest, some, r, done); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// groupsOf are AllGroups and the groups of a destination.
func groupsOf(ctx context.Context, client *clientv3.Client, space keys.Space, dest string) ([]string, error) {
	resp, err := timed(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, space.Dest(dest), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	})
	if err != nil {
		return nil, discovery.Classify("read "+space.Dest(dest)+" at "+discovery.Where(client), err)
	}
	if len(resp.Kvs) == 0 {
		return nil, messages.ErrNoDestination
	}
	groups := []string{AllGroups}
	for _, kv := range resp.Kvs {
		if k, ok := space.Parse(string(kv.Key)); ok && k.Kind == keys.KindGroupMeta {
			groups = append(groups, k.Group)
		}
	}
	return groups, nil
}

// rotate does some groups in one transaction, and notes their generations.
func rotate(ctx context.Context, client *clientv3.Client, space keys.Space, dest string, groups []string, r Rotation, done map[string]uint64) error {
	op := fmt.Sprintf("write %s at %s", space.Generation(dest, groups[0]), discovery.Where(client))
	for range rotateTries {
		txn, next, err := r.prepare(ctx, client, space, dest, groups)
		if err != nil {
			return err
		}
		resp, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
			return client.Txn(ctx).If(txn.cmps...).Then(txn.ops...).Commit()
		})
		if err != nil {
			return discovery.Classify(op, err)
		}
		if resp.Succeeded {
			for group, g := range next {
				done[group] = g.GetGeneration()
			}
			return nil
		}
	}
	return fmt.Errorf("%s: others change it all the time: %w", op, messages.ErrUnavailable)
}

// writes are a transaction in the making.
type writes struct {
	cmps []clientv3.Cmp
	ops  []clientv3.Op
}

// prepare reads generations and says what is to be written, under the condition that they
// stand as read.
func (r Rotation) prepare(ctx context.Context, client *clientv3.Client, space keys.Space, dest string, groups []string) (w writes, next map[string]*pb.TokenGeneration, err error) {
	var gets []clientv3.Op
	for _, group := range groups {
		gets = append(gets, clientv3.OpGet(space.Generation(dest, group)))
		if group != AllGroups {
			gets = append(gets, clientv3.OpGet(space.GroupMeta(dest, group), clientv3.WithKeysOnly()))
		}
	}
	resp, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return client.Txn(ctx).Then(gets...).Commit()
	})
	if err != nil {
		return w, nil, discovery.Classify(fmt.Sprintf("read %s at %s", space.Generation(dest, groups[0]), discovery.Where(client)), err)
	}
	next = make(map[string]*pb.TokenGeneration)
	answers := resp.Responses
	for _, group := range groups {
		key, was, revision := space.Generation(dest, group), &pb.TokenGeneration{}, int64(0)
		if kvs := answers[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			revision = kvs[0].ModRevision
			if err := proto.Unmarshal(kvs[0].Value, was); err != nil {
				return w, nil, fmt.Errorf("%s: %w: %w", key, messages.ErrCorrupt, err)
			}
		}
		answers = answers[1:]
		if group != AllGroups {
			there := len(answers[0].GetResponseRange().GetKvs()) > 0
			answers = answers[1:]
			switch {
			case !there && r.every:
				continue
			case !there:
				return w, nil, fmt.Errorf("%w: %q", messages.ErrNoGroup, group)
			}
			w.cmps = append(w.cmps, clientv3.Compare(clientv3.CreateRevision(space.GroupMeta(dest, group)), ">", 0))
		}
		next[group] = r.next(was, time.Now())
		value, err := proto.Marshal(next[group])
		if err != nil {
			return w, nil, err
		}
		w.cmps = append(w.cmps, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
		w.ops = append(w.ops, clientv3.OpPut(key, string(value)))
	}
	return w, next, nil
}

// Tokens returns which tokens the senders of a destination have, sorted by group, without
// the tokens. Errors: messages.ErrNoDestination (no sender has one), and those of
// discovery.Classify.
func Tokens(ctx context.Context, client *clientv3.Client, space keys.Space, dest string) ([]messages.TokenInfo, error) {
	kvs, _, err := discovery.List(ctx, client, space.Secrets(dest))
	if err != nil {
		return nil, err
	}
	if len(kvs) == 0 {
		return nil, messages.ErrNoDestination
	}
	byName := make(map[string]*messages.TokenInfo)
	of := func(group string) *messages.TokenInfo {
		if byName[group] == nil {
			byName[group] = &messages.TokenInfo{Group: group}
		}
		return byName[group]
	}
	for _, kv := range kvs {
		k, ok := space.Parse(kv.Key)
		if !ok {
			continue
		}
		switch k.Kind {
		case keys.KindGeneration:
			g, t := &pb.TokenGeneration{}, of(k.Group)
			if proto.Unmarshal(kv.Value, g) == nil {
				t.Generation, t.Least = g.GetGeneration(), g.GetLeast()
				t.Grace, t.Since = time.Duration(g.GetGraceMs())*time.Millisecond, pb.Time(g.GetSinceUnixMs())
			}
		case keys.KindSecret, keys.KindGroupSecret:
			s := &pb.Secret{}
			if proto.Unmarshal(kv.Value, s) != nil {
				continue
			}
			one := messages.SenderToken{Sender: k.ID, Generation: s.GetGeneration(), Since: pb.Time(s.GetSinceUnixMs())}
			if s.Before != nil {
				one.Two, one.Before = true, s.GetBefore()
			}
			of(k.Group).Senders = append(of(k.Group).Senders, one)
		}
	}
	all := make([]messages.TokenInfo, 0, len(byName))
	for _, t := range byName {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b messages.TokenInfo) int { return strings.Compare(a.Group, b.Group) })
	return all, nil
}

// ForgetGeneration deletes the key of a group's generation, if there is no such group.
// Errors are those of discovery.Classify.
func ForgetGeneration(ctx context.Context, client *clientv3.Client, space keys.Space, dest, group string) error {
	key := space.Generation(dest, group)
	_, err := timed(ctx, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		gone := discovery.Absent(space.GroupMeta(dest, group)).Cmp()
		there := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
		return client.Txn(ctx).If(gone, there).Then(clientv3.OpDelete(key)).Commit()
	})
	return discovery.Classify("delete "+key+" at "+discovery.Where(client), err)
}
