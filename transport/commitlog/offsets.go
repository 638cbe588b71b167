package commitlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

// Where groups are. Records of a partition are handled one after the other, so
// one offset says it all.

// Position is where a member is in a partition it has claimed.
type Position struct {
	Partition int
	// Fence is that of its claim.
	Fence int64
	// Offset is the next to be handled; Base is that of a batch at or before
	// it, where reading is to begin.
	Offset, Base int64
	// Known is the ModRevision of what the member last wrote or found there, 0
	// for none. An etcd that has something older was restored from a backup:
	// its log may not reach to Offset.
	Known int64
}

// guards let a position be written.
func (p Position) guards(claim, committed string) []clientv3.Cmp {
	guards := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(claim), "=", p.Fence)}
	if p.Known > 0 {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(committed), ">", p.Known-1))
	}
	return guards
}

func (p Position) value() string {
	return encode(&pb.Committed{Offset: p.Offset, Base: p.Base, Fence: p.Fence, UnixMs: time.Now().UnixMilli()})
}

func (p Position) fenced(op string) error {
	return fmt.Errorf("%s: partition %d: %w", op, p.Partition, messages.ErrFenced)
}

// Commit writes where the member is, in each partition that it still has. The
// errors are in the order of ps: nil, and then Known is what was written, or
// messages.ErrFenced when the claim is no longer the one with that fence or etcd
// was set back to before Known; the others are written all the same. The
// second error means that nothing is known of those it stands at; the call can
// be made again. It wraps messages.ErrUnavailable, ErrDenied, ErrNoSpace or
// ErrInvalid.
func (l *Log) Commit(ctx context.Context, me Me, ps []Position) ([]error, error) {
	op := "commit offsets of " + me.group()
	for _, p := range ps {
		if p.Offset < 0 {
			return nil, fmt.Errorf("%s: %w: partition %d: offset %d", op, messages.ErrInvalid, p.Partition, p.Offset)
		}
	}
	return l.nestedWrites(ctx, op, ps, func(p Position) clientv3.Op {
		claim, committed := l.space.Claim(me.Topic.ID, me.Group, p.Partition), l.space.Committed(me.Topic.ID, me.Group, p.Partition)
		return clientv3.OpTxn(p.guards(claim, committed),
			[]clientv3.Op{clientv3.OpPut(committed, p.value())}, []clientv3.Op{clientv3.OpGet(committed)})
	}, func(p Position, resp *clientv3.TxnResponse) error {
		if resp.Succeeded {
			return nil
		}
		return p.fenced(op)
	})
}

// ParseCommitted reads the value of a committed offset. The error wraps
// messages.ErrCorrupt and names the key.
func ParseCommitted(key string, value []byte) (*pb.Committed, error) {
	var c pb.Committed
	if err := proto.Unmarshal(value, &c); err != nil {
		return nil, corrupt(key, "%v", err)
	}
	if c.Offset < 0 || c.Base < 0 || c.Base > c.Offset {
		return nil, corrupt(key, "offset %d in a batch at %d", c.Offset, c.Base)
	}
	return &c, nil
}

// ResetOffsets moves a group to where to says, in the partitions given, or all
// when that is nil; a group that never was gets offsets, too. While a member has
// a claim (with partitions given, to one of those) it is refused with
// messages.ErrGroupLive; forced, it takes the claims away in the same
// transaction. Forty partitions go into one transaction: with an error, the
// changes answered were made. A dry run writes nothing; it answers what would
// be changed, with ErrGroupLive when it would be refused. Errors besides:
// messages.ErrNoPartition, ErrOffsetOutOfRange, ErrTopicDeleted, ErrNoTopic,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace.
func (l *Log) ResetOffsets(ctx context.Context, t messages.TopicInfo, group string, to messages.Start, partitions []int, dryRun, force bool) ([]messages.OffsetChange, error) {
	op := "reset offsets of group " + group + " of topic " + t.Name
	fail := func(err error) ([]messages.OffsetChange, error) { return nil, fmt.Errorf("%s: %w", op, err) }
	if err := keys.ValidateName("group", group); err != nil {
		return fail(err)
	}
	// The topic may have grown since the caller looked.
	now, err := l.Topic(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	if now.CreateRevision != t.CreateRevision {
		return fail(messages.ErrTopicDeleted)
	}
	r := resetting{l: l, op: op, topic: now, group: group, dryRun: dryRun, force: force, whole: partitions == nil}
	if r.whole {
		partitions = upTo(now.Config.Partitions)
	}
	if err := checkPartitions(partitions, now.Config.Partitions); err != nil {
		return fail(err)
	}
	partitions = slices.Sorted(slices.Values(partitions))
	targets, err := l.resolveAll(ctx, now, to, partitions)
	if err != nil {
		return nil, err
	}
	var changes []messages.OffsetChange
	var refused error
	for chunk := range slices.Chunk(targets, nestedInOne) {
		found, err := r.chunk(ctx, chunk)
		if err == nil || dryRun && errors.Is(err, messages.ErrGroupLive) {
			changes = append(changes, found...)
			refused = cmp.Or(refused, err)
			continue
		}
		return changes, err
	}
	return changes, refused
}

// resolveAll turns a start into an offset in each partition.
func (l *Log) resolveAll(ctx context.Context, t messages.TopicInfo, to messages.Start, partitions []int) ([]Position, error) {
	targets := make([]Position, len(partitions))
	_, atOffset := to.Offset()
	_, atTime := to.Time()
	if atOffset || atTime {
		for i, p := range partitions {
			offset, base, err := l.Partition(t, p).Resolve(ctx, to)
			if err != nil {
				return nil, err
			}
			targets[i] = Position{Partition: p, Offset: offset, Base: base}
		}
		return targets, nil
	}
	// Bounds are cheaper by the hundred.
	starts, ends, _, err := l.EndsAt(ctx, t, partitions, 0)
	if err != nil {
		return nil, err
	}
	bounds := starts
	if to.IsLatest() {
		bounds = ends
	}
	for i, p := range partitions {
		targets[i] = Position{Partition: p, Offset: bounds[i], Base: bounds[i]}
	}
	return targets, nil
}

// resetting is one call of ResetOffsets.
type resetting struct {
	l             *Log
	op            string
	topic         messages.TopicInfo
	group         string
	dryRun, force bool
	whole         bool // all partitions: any claim in the group counts
}

// chunk moves some partitions in one transaction. With messages.ErrGroupLive it
// answers what it would have changed.
func (r resetting) chunk(ctx context.Context, targets []Position) ([]messages.OffsetChange, error) {
	guards := []clientv3.Cmp{r.l.lives(r.topic)}
	if !r.force && r.whole {
		guards = append(guards, clientv3.Compare(clientv3.CreateRevision(r.l.space.Claims(r.topic.ID, r.group)).WithPrefix(), "=", 0))
	}
	var look, write []clientv3.Op
	for _, target := range targets {
		claim, committed := r.l.space.Claim(r.topic.ID, r.group, target.Partition), r.l.space.Committed(r.topic.ID, r.group, target.Partition)
		look = append(look, clientv3.OpGet(committed))
		write = append(write, clientv3.OpPut(committed, target.value()))
		if r.force {
			write = append(write, clientv3.OpDelete(claim))
		} else if !r.whole {
			guards = append(guards, clientv3.Compare(clientv3.CreateRevision(claim), "=", 0))
		}
	}
	if r.dryRun {
		write = nil
	}
	resp, err := r.l.do(ctx, r.op, guards, slices.Concat(look, write), slices.Concat(look, []clientv3.Op{exists(r.l.space.Topic(r.topic.Name))}))
	if err != nil {
		return nil, err
	}
	changes := make([]messages.OffsetChange, len(targets))
	for i, target := range targets {
		// One that cannot be read is as good as none: it is written anew.
		from, _, _ := committedIn(ranged(resp, i).Kvs)
		changes[i] = messages.OffsetChange{Partition: target.Partition, From: from, To: target.Offset}
	}
	switch {
	case resp.Succeeded:
		return changes, nil
	case createRevision(ranged(resp, len(targets))) != r.topic.CreateRevision:
		return nil, fmt.Errorf("%s: %w", r.op, messages.ErrTopicDeleted)
	default:
		return changes, fmt.Errorf("%s: %w", r.op, messages.ErrGroupLive)
	}
}
