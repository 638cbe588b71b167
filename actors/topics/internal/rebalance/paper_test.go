package rebalance

// An etcd on paper: the keys of one group, how a view is told of them, and how
// tables write what a view decides.

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	paperSpace       = keys.Space("/paper")
	paperTopic       = "0123456789abcdef"
	paperGroup       = "billing"
	paperRevoke      = 30 * time.Second
	paperOutOfTime   = 40 // rounds until a group has to be quiet
	paperQuietRounds = 8  // and for as long it has to stay so
)

func paperMemberKey(id string) string { return paperSpace.ConsumerMember(paperTopic, paperGroup, id) }
func paperClaimKey(p int) string      { return paperSpace.Claim(paperTopic, paperGroup, p) }

var (
	paperPlanKey     = paperSpace.Assignment(paperTopic, paperGroup)
	paperSettingsKey = paperSpace.ConsumerGroupMeta(paperTopic, paperGroup)
)

// paperKV is a key of etcd.
type paperKV struct {
	Key                         string
	Value                       []byte
	CreateRevision, ModRevision int64
}

// paperChange is what one revision, or several, changed.
type paperChange struct {
	Revision int64
	Puts     []paperKV
	Deletes  []paperKV
}

func (c paperChange) show(v *View, now time.Time) {
	var gone []keys.Key
	for _, f := range factsOf(c.Deletes) {
		gone = append(gone, f.Key)
	}
	v.Change(c.Revision, gone, factsOf(c.Puts), now)
}

// paperSnapshot is all keys.
type paperSnapshot struct {
	Revision int64
	KVs      []paperKV
}

func (s paperSnapshot) show(v *View, now time.Time) { v.Begin(s.Revision, factsOf(s.KVs), now) }

func factsOf(kvs []paperKV) (facts []Fact) {
	for _, kv := range kvs {
		k, _ := paperSpace.Parse(kv.Key)
		facts = append(facts, Fact{Key: k, Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision})
	}
	return facts
}

// marshal is the value of a key.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// paperEtcd is the keys of one group, with the guards of commitlog.
type paperEtcd struct {
	revision int64
	kvs      map[string]paperKV
	history  []paperChange
}

func newPaperEtcd() *paperEtcd {
	e := &paperEtcd{revision: 99, kvs: make(map[string]paperKV)}
	e.put(paperSettingsKey, nil)
	return e
}

// put and drop write one revision each; in a transaction they are drawn together
// by txn.
func (e *paperEtcd) put(key string, value []byte) int64 { return e.txn([]string{key}, value, nil) }

func (e *paperEtcd) drop(gone ...string) { e.txn(nil, nil, gone) }

func (e *paperEtcd) txn(puts []string, value []byte, gone []string) int64 {
	gone = slices.DeleteFunc(slices.Clone(gone), func(k string) bool { return e.kvs[k].CreateRevision == 0 })
	if len(puts)+len(gone) == 0 {
		return e.revision
	}
	e.revision++
	d := paperChange{Revision: e.revision}
	for _, k := range gone {
		d.Deletes = append(d.Deletes, e.kvs[k])
		delete(e.kvs, k)
	}
	for _, k := range puts {
		kv := paperKV{Key: k, Value: value, CreateRevision: cmp.Or(e.kvs[k].CreateRevision, e.revision), ModRevision: e.revision}
		e.kvs[k] = kv
		d.Puts = append(d.Puts, kv)
	}
	e.history = append(e.history, d)
	return e.revision
}

func (e *paperEtcd) snapshot() paperSnapshot {
	s := paperSnapshot{Revision: e.revision}
	for _, k := range slices.Sorted(maps.Keys(e.kvs)) {
		s.KVs = append(s.KVs, e.kvs[k])
	}
	return s
}

func (e *paperEtcd) member(id string) int64 { return e.kvs[paperMemberKey(id)].CreateRevision }

func (e *paperEtcd) claim(p int) (*pb.Claim, int64) {
	kv := e.kvs[paperClaimKey(p)]
	c, err := format.ParseClaim(kv.Key, kv.Value)
	if err != nil {
		c = &pb.Claim{}
	}
	return c, kv.CreateRevision
}

func (e *paperEtcd) join(id string, leaving bool) int64 {
	return e.put(paperMemberKey(id), marshal(&pb.ConsumerMember{Id: id, Leaving: leaving}))
}

// joinFrom is join of a member whose process can be watched.
func (e *paperEtcd) joinFrom(id, process string) int64 {
	return e.put(paperMemberKey(id), marshal(&pb.ConsumerMember{Id: id, Watched: &pb.WatchedProcess{
		Token: []byte(process), Addresses: []string{process + ":1"},
	}}))
}

func (e *paperEtcd) claimFor(p int, id string, memberRevision, generation int64) int64 {
	return e.put(paperClaimKey(p), marshal(&pb.Claim{Member: id, MemberRevision: memberRevision, Generation: generation}))
}

// plan writes an assignment: shares are "member:0,1".
func (e *paperEtcd) plan(generation int64, partitions int, shares ...string) int64 {
	a := &pb.Assignment{Generation: generation, Partitions: uint32(partitions), By: "a"}
	for _, s := range shares {
		m, ps, _ := strings.Cut(s, ":")
		share := &pb.Share{Member: m}
		for p := range strings.SplitSeq(ps, ",") {
			var n uint32
			if _, err := fmt.Sscan(p, &n); err == nil {
				share.Partitions = append(share.Partitions, n)
			}
		}
		a.Shares = append(a.Shares, share)
	}
	return e.put(paperPlanKey, marshal(a))
}

// actionsOf writes Actions as a table can hold them.
func actionsOf(s Actions) string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if s.RestoreSettings {
		say("put settings back")
	}
	if s.Assign != nil {
		var shares []string
		for _, share := range s.Assign.Shares {
			shares = append(shares, fmt.Sprint(share.Member, share.Partitions))
		}
		say("assign %d of %d moving %d: %s", s.Assign.Generation, s.Assign.Partitions, s.Moved, strings.Join(shares, " "))
	}
	if len(s.Lost) > 0 {
		say("lost %v", s.Lost)
	}
	if len(s.Release) > 0 {
		say("release %v", s.Release)
	}
	if len(s.Claim) > 0 {
		say("claim %v", s.Claim)
	}
	for _, p := range slices.Sorted(maps.Keys(s.Revoke)) {
		word := "gone"
		if s.Revoke[p].Overdue {
			word = "overdue"
		}
		say("revoke %d %s %s", p, word, s.Revoke[p].Holder.Member)
	}
	for _, o := range s.Orphans {
		say("orphan %d", o.Partition)
	}
	if len(s.Bury) > 0 {
		say("bury %v", s.Bury)
	}
	if s.Again > 0 {
		say("again in %s", s.Again)
	}
	return strings.Join(out, "; ")
}
