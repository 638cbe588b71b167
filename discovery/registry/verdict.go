package registry

// What to do about one key, given what stands there. The registry reads or
// guesses what stands there, decides here, and writes under the condition that
// the guess was right.

import (
	"bytes"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
)

// Entry is a key that a Registry keeps.
type Entry struct {
	Key string
	// Value is copied by the call it is given to.
	Value []byte
	// Leased puts the key under the session's lease, so that it ends with this
	// process, and makes it ours alone: see Registry about whose a key is.
	Leased bool
	// Guard is compared in the same transaction when the key is created, first
	// or later, not when it is changed. A guard about the key itself is
	// superfluous.
	Guard []discovery.Guard
}

// want is what shall be so.
type want struct {
	Entry
	gone  bool             // shall not be there, if it is ours
	lease clientv3.LeaseID // for a leased entry
	was   [][]byte         // earlier values of ours, for an entry without lease
}

// seen is what stands under a key, or is believed to.
type seen struct {
	kv    discovery.KV // zero ModRevision: nothing
	proof proof
}

type proof uint8

const (
	guessed proof = iota
	read
)

func (s seen) absent() bool { return s.kv.ModRevision == 0 }

type verdict uint8

const (
	settled verdict = iota // nothing to do
	create
	update
	remove
	taken // somebody else's
)

// decide says what to do. leases are those that this registry has used.
func decide(w want, s seen, leases map[clientv3.LeaseID]struct{}) verdict {
	mine := !s.absent() && ours(w, s.kv, leases)
	switch {
	case w.gone && mine:
		return remove
	case w.gone:
		return settled
	case s.absent():
		return create
	case !mine:
		return taken
	case bytes.Equal(s.kv.Value, w.Value) && (!w.Leased || s.kv.Lease == w.lease):
		return settled
	default:
		return update
	}
}

// ours tells whose a key is. A lease is granted to one process and never
// granted again, so a key under one of ours was written by this registry. A key
// without lease is ours when it has the value that we wrote.
func ours(w want, kv discovery.KV, leases map[clientv3.LeaseID]struct{}) bool {
	if w.Leased {
		_, mine := leases[kv.Lease]
		return mine && kv.Lease != 0
	}
	same := func(v []byte) bool { return bytes.Equal(v, kv.Value) }
	return kv.Lease == 0 && (same(w.Value) || slices.ContainsFunc(w.was, same))
}

// txn is a transaction in the making.
type txn struct {
	cmps []clientv3.Cmp
	ops  []clientv3.Op
}

// add puts what a verdict asks for into the transaction, under the condition
// that the key stands as seen. A settled key adds the condition alone.
func (t *txn) add(w want, s seen, v verdict) {
	t.cmps = append(t.cmps, clientv3.Compare(clientv3.ModRevision(w.Key), "=", s.kv.ModRevision))
	switch v {
	case create:
		for _, g := range w.Guard {
			t.cmps = append(t.cmps, g.Cmp())
		}
		t.ops = append(t.ops, w.put())
	case update:
		t.ops = append(t.ops, w.put())
	case remove:
		t.ops = append(t.ops, clientv3.OpDelete(w.Key))
	}
}

func (w want) put() clientv3.Op {
	if w.Leased {
		return clientv3.OpPut(w.Key, string(w.Value), clientv3.WithLease(w.lease))
	}
	return clientv3.OpPut(w.Key, string(w.Value))
}

// written is the key after a verdict was carried out at a revision.
func (w want) written(s seen, v verdict, revision int64) discovery.KV {
	switch v {
	case create, update:
		kv := discovery.KV{Key: w.Key, Value: w.Value, CreateRevision: revision, ModRevision: revision}
		if w.Leased {
			kv.Lease = w.lease
		}
		if v == update {
			kv.CreateRevision = s.kv.CreateRevision
		}
		return kv
	case remove:
		return discovery.KV{}
	default:
		return s.kv
	}
}
