package commitlog

// Writing where a member is. A request can reach etcd long after it was given up
// and made again, so each write compares exactly what its writer knows: its claim
// and the revision of the offset that stands there. It is applied once, and never
// after a newer one.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// positionGuards let a position be written, over exactly what is known.
func positionGuards(p format.Position, claim, committed string) []clientv3.Cmp {
	guards := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(claim), "=", p.Fence)}
	if p.Offset >= 0 {
		guards = append(guards, clientv3.Compare(clientv3.ModRevision(committed), "=", p.Known))
	}
	return guards
}

// committedValue is a position as etcd keeps it. producer and sequence are the identity
// of the transaction that writes it, 0 for none.
func committedValue(p format.Position, producer, sequence uint64) string {
	return format.CommittedValue(p, producer, sequence, time.Now())
}

// says reports whether a value says what p does.
func says(c *pb.Committed, p format.Position) bool {
	progress, ok := format.ProgressOf(c)
	return ok && c.Offset == p.Offset && progress.Equal(p.Progress)
}

func fenced(op string, p format.Position) error {
	return fmt.Errorf("%s: partition %d: %w", op, p.Partition, messages.ErrFenced)
}

// writing is what is written with a position.
type writing uint8

const (
	commits  writing = iota // the offset
	releases                // the offset, unless it is negative, and the end of the claim
)

// standing is what a write found whose guards did not hold.
type standing struct {
	// claim is the claim's CreateRevision, 0 for none.
	claim int64
	// modRevision is the committed offset's, 0 for none. value is nil when it
	// does not decode.
	modRevision int64
	value       *pb.Committed
	// revision is etcd's.
	revision int64
}

// isUnheard reports whether a transaction stands there that the member of p made, and of
// which it does not know.
func (s standing) isUnheard(p format.Position) bool {
	return s.modRevision > p.Known && s.value.GetFence() == p.Fence && s.value.GetProducer() != 0
}

// ruling says what becomes of a write.
type ruling uint8

const (
	written ruling = iota // it stands there
	refused               // it must not be written
	rewrite               // it may be, over what stands there
)

// judge decides about a write that found s. What has the fence of p was written
// under its claim, so by its own member: by an attempt at this write, or by an
// earlier write whose outcome was never heard.
func judge(w writing, p format.Position, s standing) ruling {
	mine := s.claim == p.Fence
	newer := s.modRevision > p.Known
	under := s.value != nil && s.value.Fence == p.Fence
	switch {
	case w == releases && p.Offset < 0:
		return written // there is no claim of that fence any more
	case newer && under && says(s.value, p) && (w != releases || !mine):
		return written
	case !mine:
		return refused
	case p.Sought:
		return rewrite
	case s.isUnheard(p):
		return refused // what it knows is old
	case s.modRevision == 0: // it was deleted
		if s.revision < p.Known {
			return refused // no: etcd was set back to before there was any
		}
		return rewrite
	case newer && (under || s.value == nil):
		return rewrite
	default:
		return refused
	}
}

// Commit writes where the member is, in each partition that it still has. The
// errors are in the order of ps: nil, and then Known is what was written, or
// messages.ErrFenced when the claim is no longer the one with that fence, etcd
// was set back to before Known, or another member has written there; the others
// are written all the same. A commit that reaches etcd after its member knows of
// a newer one changes nothing. The second error means that nothing is known of
// those it stands at; the call can be made again. It wraps
// messages.ErrUnavailable, ErrDenied, ErrNoSpace or ErrInvalid.
func (l *Log) Commit(ctx context.Context, me Me, ps []format.Position) ([]error, error) {
	op := "commit offsets of " + me.group()
	for _, p := range ps {
		if p.Offset < 0 {
			return nil, fmt.Errorf("%s: %w: partition %d: offset %d", op, messages.ErrInvalid, p.Partition, p.Offset)
		}
	}
	return l.writePositions(ctx, op, me, commits, ps)
}

// Release writes where the group is in partitions and gives them up, in one
// transaction for each. With Offset -1 nothing is written. The errors are in the
// order of ps: nil, or messages.ErrFenced as for Commit, and then nothing was
// written. It is nil, too, for a partition that an earlier call with an unknown
// outcome has released, as long as no other commit came since. The second error means that nothing is
// known of those it stands at; the call can be made again. It wraps
// messages.ErrUnavailable, ErrDenied, ErrNoSpace or ErrInvalid.
func (l *Log) Release(ctx context.Context, me Me, ps []format.Position) ([]error, error) {
	return l.writePositions(ctx, "release partitions of "+me.group(), me, releases, ps)
}

// writePositions sends one transaction for each position, many in a request, and
// again those that may be written over what they found.
func (l *Log) writePositions(ctx context.Context, op string, me Me, w writing, ps []format.Position) ([]error, error) {
	partitions, left := make([]int, len(ps)), make([]int, 0, len(ps))
	results := make([]error, len(ps))
	for i, p := range ps {
		partitions[i] = p.Partition
		// A fence of 0 would compare that there is no claim.
		if results[i] = fenced(op, p); p.Fence > 0 {
			left = append(left, i)
		}
	}
	if err := format.CheckPartitions(partitions, messages.MaxPartitions); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var unknown error
	for range tries {
		var again []int
		for rest := left; len(rest) > 0; {
			chunk := rest[:min(l.limits.of(nests), len(rest))]
			more, err := l.writeOnce(ctx, op, me, w, ps, chunk, results)
			if l.limits.fewer(nests, len(chunk), err) {
				continue
			}
			again, unknown = append(again, more...), errors.Join(unknown, err)
			rest = rest[len(chunk):]
		}
		if left = again; len(left) == 0 {
			break
		}
	}
	for _, i := range left {
		results[i] = fmt.Errorf("%s: partition %d: what is committed there does not stay as it is: %w", op, ps[i].Partition, messages.ErrUnavailable)
	}
	return results, unknown
}

// writeOnce is one request for the positions at some places. It returns those
// that are to be written once more, whose Known it has set.
func (l *Log) writeOnce(ctx context.Context, op string, me Me, w writing, ps []format.Position, at []int, results []error) (again []int, unknown error) {
	ops := make([]clientv3.Op, len(at))
	for i, n := range at {
		p := ps[n]
		claim, committed := l.space.Claim(me.Topic.ID, me.Group, p.Partition), l.space.Committed(me.Topic.ID, me.Group, p.Partition)
		var then []clientv3.Op
		if w == releases {
			then = append(then, clientv3.OpDelete(claim), clientv3.OpDelete(l.space.Owned(me.Topic.ID, me.Group, p.Partition)))
		}
		if p.Offset >= 0 {
			then = append(then, clientv3.OpPut(committed, committedValue(p, 0, 0)))
		}
		ops[i] = clientv3.OpTxn(positionGuards(p, claim, committed), then, []clientv3.Op{clientv3.OpGet(committed), exists(claim)})
	}
	resp, err := l.do(ctx, op, nil, ops, nil)
	for i, n := range at {
		p := &ps[n]
		if err != nil {
			results[n] = err
			continue
		}
		one := nested(resp, i)
		if one.Succeeded {
			if results[n] = nil; p.Offset >= 0 {
				p.Known = resp.Header.Revision
			}
			continue
		}
		found := standingIn(ranged(one, 0).Kvs, createRevision(ranged(one, 1)), resp.Header.Revision)
		switch judge(w, *p, found) {
		case written:
			p.Known, results[n] = found.modRevision, nil
		case rewrite:
			p.Known = found.modRevision
			again = append(again, n)
		default:
			results[n] = fenced(op, *p)
		}
	}
	return again, err
}

// standingIn is what ranges over a committed offset and its claim have found.
func standingIn(kvs []*mvccpb.KeyValue, claim, revision int64) standing {
	s := standing{claim: claim, revision: revision}
	if len(kvs) > 0 {
		s.modRevision = kvs[0].ModRevision
		s.value, _ = format.ParseCommitted(string(kvs[0].Key), kvs[0].Value)
	}
	return s
}
