package registry

// Making keys so: a transaction that starts from what is believed to stand in etcd,
// and is made again from what stood there when that was wrong.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/messages"
)

// converge makes all wants so in one transaction, starting from what is
// believed to stand there, and returns what stands there then. It repeats until
// that is settled, ctx ends, or there is no hope. The caller has the turn.
func (r *Registry) converge(ctx context.Context, wants []want, views []seen) ([]discovery.KV, error) {
	leases := r.ownLeases()
	unsure := false
	failed := func(err error) ([]discovery.KV, error) {
		if unsure {
			err = &unsureError{err}
		}
		return nil, err
	}
	for failures := 0; ; {
		verdicts := make([]verdict, len(wants))
		var t txn
		proven := true
		for i, w := range wants {
			verdicts[i] = decide(w, views[i], leases)
			proven = proven && views[i].proof == read
			t.add(w, views[i], verdicts[i])
		}
		if i := slices.Index(verdicts, taken); i >= 0 && proven {
			return nil, &discovery.TakenError{Key: wants[i].Key, Holder: views[i].kv}
		} else if i >= 0 {
			// A guess is no reason to refuse: this transaction only reads.
			t = txn{cmps: []clientv3.Cmp{never(wants[i].Key)}}
		}
		if proven && len(t.ops) == 0 {
			return stand(wants, views, verdicts, 0), nil
		}
		resp, err := r.commit(ctx, t, wants)
		if err == nil {
			r.progress()
		}
		switch {
		case err == nil && resp.Succeeded:
			return stand(wants, views, verdicts, resp.Header.Revision), nil
		case err == nil:
			found := readBack(resp, wants)
			if proven && unchanged(views, found) {
				return nil, fmt.Errorf("%w: for %s", discovery.ErrGuard, guarded(wants))
			}
			views = found
		case discovery.LoginExpired(err) && failures < 3:
			failures++
		case errors.Is(discovery.Classify("", err), messages.ErrUnavailable) && ctx.Err() == nil:
			// Whether it was written shows when it is sent again.
			unsure = true
			if retry.Sleep(ctx, retry.Pause(failures)) != nil {
				return failed(err)
			}
			failures++
		default:
			return failed(err)
		}
	}
}

// never is a condition that no key fulfils.
func never(key string) clientv3.Cmp { return clientv3.Compare(clientv3.ModRevision(key), "<", 0) }

// commit sends a transaction that reads all keys back when its conditions do
// not hold.
func (r *Registry) commit(ctx context.Context, t txn, wants []want) (*clientv3.TxnResponse, error) {
	gets := make([]clientv3.Op, len(wants))
	for i, w := range wants {
		gets[i] = clientv3.OpGet(w.Key)
	}
	return r.client.Txn(ctx).If(t.cmps...).Then(t.ops...).Else(gets...).Commit()
}

// readBack takes the keys from the answer of a transaction that read them.
func readBack(resp *clientv3.TxnResponse, wants []want) []seen {
	found := make([]seen, len(wants))
	for i := range wants {
		found[i].proof = read
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) == 1 {
			found[i].kv = discovery.KVOf(kvs[0])
		}
	}
	return found
}

func unchanged(a, b []seen) bool {
	return slices.EqualFunc(a, b, func(x, y seen) bool { return x.kv.ModRevision == y.kv.ModRevision })
}

func guarded(wants []want) string {
	var keys []string
	for _, w := range wants {
		if len(w.Guard) > 0 {
			keys = append(keys, w.Key)
		}
	}
	return fmt.Sprint(keys)
}

func stand(wants []want, views []seen, verdicts []verdict, revision int64) []discovery.KV {
	out := make([]discovery.KV, len(wants))
	for i, w := range wants {
		out[i] = w.written(views[i], verdicts[i], revision)
	}
	return out
}

func (r *Registry) ownLeases() map[clientv3.LeaseID]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[clientv3.LeaseID]struct{}, len(r.leases))
	for id := range r.leases {
		out[id] = struct{}{}
	}
	return out
}

// maybeWritten reports whether a write that failed so may have happened.
func maybeWritten(err error) bool {
	var before *unsureError
	return errors.As(err, &before) || !discovery.Rejected(err)
}

// unsureError is an error after an attempt whose outcome is not known.
type unsureError struct{ error }

func (e *unsureError) Unwrap() error { return e.error }
