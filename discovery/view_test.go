package discovery

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"
)

func kv(key string, create, mod int64) KV {
	return KV{Key: key, Value: fmt.Appendf(nil, "%s@%d", key, mod), CreateRevision: create, ModRevision: mod}
}

// show is an event on one line.
func show(evs ...WatchEvent) string {
	names := func(kvs []KV) string {
		var out []string
		for _, kv := range kvs {
			out = append(out, fmt.Sprintf("%s:%d:%d", kv.Key, kv.CreateRevision, kv.ModRevision))
		}
		return strings.Join(out, " ")
	}
	var out []string
	for _, ev := range evs {
		switch ev := ev.(type) {
		case Snapshot:
			line := fmt.Sprintf("snapshot %d [%s]", ev.Revision, names(ev.KVs))
			if ev.Reset {
				line += " reset"
			}
			out = append(out, line)
		case Delta:
			out = append(out, fmt.Sprintf("delta %d -[%s] +[%s]", ev.Revision, names(ev.Deletes), names(ev.Puts)))
		default:
			out = append(out, fmt.Sprintf("%T", ev))
		}
	}
	return strings.Join(out, "; ")
}

func TestRelist(t *testing.T) {
	before := listing{cluster: 1, revision: 10, kvs: []KV{kv("a", 2, 2), kv("b", 3, 9), kv("c", 4, 4)}}
	for _, c := range []struct {
		name string
		next listing
		want string
	}{
		{"nothing new", listing{1, 12, before.kvs}, ""},
		{"put, delete, change", listing{1, 12, []KV{kv("b", 3, 11), kv("c", 4, 4), kv("d", 12, 12)}}, "delta 12 -[a:2:2] +[b:3:11 d:12:12]"},
		{"created again", listing{1, 12, []KV{kv("a", 12, 12), kv("b", 3, 9), kv("c", 4, 4)}}, "delta 12 -[a:2:2] +[a:12:12]"},
		{"all gone", listing{1, 12, nil}, "delta 12 -[a:2:2 b:3:9 c:4:4] +[]"},
		{"rolled back", listing{1, 5, []KV{kv("a", 2, 2), kv("c", 4, 4)}}, "delta 5 -[b:3:9] +[]; snapshot 5 [a:2:2 c:4:4] reset"},
		{"wiped", listing{2, 1, nil}, "delta 1 -[a:2:2 b:3:9 c:4:4] +[]; snapshot 1 [] reset"},
		{"replaced by one further on", listing{2, 99, []KV{kv("a", 50, 50)}}, "delta 99 -[a:2:2 b:3:9 c:4:4] +[]; snapshot 99 [a:50:50] reset"},
		{"replaced, nothing missed", listing{2, 99, before.kvs}, "snapshot 99 [a:2:2 b:3:9 c:4:4] reset"},
	} {
		var v view
		if got := show(v.relist(before)...); got != "snapshot 10 [a:2:2 b:3:9 c:4:4]" {
			t.Fatal(got)
		}
		if got := show(v.relist(c.next)...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func event(del bool, key string, create, mod int64) *clientv3.Event {
	ev := &clientv3.Event{Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: mod}}
	if del {
		ev.Type = clientv3.EventTypeDelete
		return ev
	}
	ev.Kv.CreateRevision, ev.Kv.Value = create, kv(key, create, mod).Value
	return ev
}

func TestHeard(t *testing.T) {
	for _, c := range []struct {
		name     string
		cluster  uint64
		revision int64
		events   []*clientv3.Event
		want     string
		odd      bool
	}{
		{"progress", 1, 12, nil, "", false},
		{"old events", 1, 12, []*clientv3.Event{event(false, "a", 2, 10), event(true, "a", 0, 10)}, "", false},
		{"one transaction", 1, 11, []*clientv3.Event{event(true, "a", 0, 11), event(false, "b", 11, 11)}, "delta 11 -[a:2:2] +[b:11:11]", false},
		{"two revisions", 1, 12, []*clientv3.Event{event(true, "a", 0, 11), event(false, "a", 12, 12)}, "delta 11 -[a:2:2] +[]; delta 12 -[] +[a:12:12]", false},
		{"a delete of what was not there", 1, 11, []*clientv3.Event{event(true, "x", 0, 11)}, "", false},
		{"revision back", 1, 9, nil, "", true},
		{"another cluster", 2, 20, []*clientv3.Event{event(false, "b", 20, 20)}, "", true},
	} {
		var v view
		v.relist(listing{1, 10, []KV{kv("a", 2, 2)}})
		got, err := v.heard(c.cluster, c.revision, c.events)
		if show(got...) != c.want || (err != nil) != c.odd {
			t.Errorf("%s: got %q, %v", c.name, show(got...), err)
		}
		// What is odd leaves the copy alone, for the list that follows.
		if c.odd && (len(v.kvs) != 1 || v.revision != 10 || v.cluster != 1) {
			t.Errorf("%s: the copy became %+v", c.name, v)
		}
	}
}

// To a watch that is far behind, etcd tells a part of what happened under the header of
// where it is itself. The rest comes later, and is heard.
func TestHeardInParts(t *testing.T) {
	var v view
	v.relist(listing{1, 10, []KV{kv("a", 2, 2)}})
	for revision := int64(11); revision <= 13; revision++ {
		got, err := v.heard(1, 13, []*clientv3.Event{event(false, "a", 2, revision)})
		if want := fmt.Sprintf("delta %d -[] +[a:2:%d]", revision, revision); err != nil || show(got...) != want {
			t.Errorf("got %q, %v, want %q", show(got...), err, want)
		}
	}
}

// etcd confirms a watch with a revision that it reads after the watch has begun, so what
// it tells may be older than that. Where it is before that with nothing to tell, it is
// another one.
func TestHeardFromBeforeTheConfirmation(t *testing.T) {
	var v view
	v.relist(listing{1, 12, []KV{kv("a", 2, 10)}})
	v.opened = 11
	if got, err := v.heard(1, 10, []*clientv3.Event{event(false, "a", 2, 10)}); len(got) > 0 || err != nil {
		t.Errorf("what the list has: %q, %v", show(got...), err)
	}
	if _, err := v.heard(1, 10, nil); err == nil {
		t.Error("etcd was rolled back")
	}
}

// apply is what a listener does.
func apply(t *rapid.T, copy map[string]KV, evs []WatchEvent) map[string]KV {
	for _, ev := range evs {
		switch ev := ev.(type) {
		case Snapshot:
			copy = map[string]KV{}
			for _, kv := range ev.KVs {
				copy[kv.Key] = kv
			}
		case Delta:
			for _, kv := range ev.Deletes {
				if old, there := copy[kv.Key]; !there || !same(old, kv) {
					t.Fatalf("deletes %+v, which was %+v", kv, old)
				}
				delete(copy, kv.Key)
			}
			for _, kv := range ev.Puts {
				if old, there := copy[kv.Key]; there && old.CreateRevision != kv.CreateRevision {
					t.Fatalf("%+v replaces %+v without a delete", kv, old)
				}
				copy[kv.Key] = kv
			}
		}
	}
	return copy
}

// model is an etcd as far as a prefix shows it.
type model struct {
	cluster  uint64
	revision int64
	kvs      map[string]KV
}

func (m *model) list() listing {
	l := listing{cluster: m.cluster, revision: m.revision}
	for _, k := range slices.Sorted(maps.Keys(m.kvs)) {
		l.kvs = append(l.kvs, m.kvs[k])
	}
	return l
}

// However lists, events, lost events and replaced clusters follow each other, a
// listener that applies what it is told has what etcd has after each list.
func TestListenerEndsUpWithWhatEtcdHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		etcd := &model{cluster: 1, revision: 1, kvs: map[string]KV{}}
		var v view
		var pending []*clientv3.Event
		copy := apply(t, nil, v.relist(etcd.list()))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			switch rapid.SampledFrom([]string{"put", "put", "delete", "hear", "hear", "list", "wipe"}).Draw(t, "what") {
			case "put":
				etcd.revision++
				create := etcd.revision
				if old, there := etcd.kvs[key]; there {
					create = old.CreateRevision
				}
				etcd.kvs[key] = kv(key, create, etcd.revision)
				pending = append(pending, event(false, key, create, etcd.revision))
			case "delete":
				if _, there := etcd.kvs[key]; there {
					etcd.revision++
					delete(etcd.kvs, key)
					pending = append(pending, event(true, key, 0, etcd.revision))
				}
			case "hear":
				n := rapid.IntRange(0, len(pending)).Draw(t, "n")
				if n == 0 {
					continue
				}
				evs, err := v.heard(etcd.cluster, pending[n-1].Kv.ModRevision, pending[:n])
				if err == nil {
					copy = apply(t, copy, evs)
				}
				pending = pending[n:]
			case "list":
				pending = nil
				copy = apply(t, copy, v.relist(etcd.list()))
				if !maps.EqualFunc(copy, etcd.kvs, same) {
					t.Fatalf("the listener has %v, etcd %v", copy, etcd.kvs)
				}
			case "wipe":
				etcd.revision = rapid.Int64Range(1, etcd.revision+2).Draw(t, "revision")
				etcd.cluster++
				etcd.kvs = map[string]KV{}
				pending = nil
			}
			// At any time the listener has what the copy has.
			if !maps.EqualFunc(copy, v.kvs, same) {
				t.Fatalf("the listener has %v, the copy %v", copy, v.kvs)
			}
		}
	})
}
