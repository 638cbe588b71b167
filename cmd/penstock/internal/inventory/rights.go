package inventory

// What a role may read of a listing, where it may not read all of it.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
)

// keySpan is the keys from one up to another and without it. A to of "\x00" is
// all that follow, as in etcd.
type keySpan struct{ from, to string }

const unbounded = "\x00"

// within is what s has in common with the keys of a prefix.
func (s keySpan) within(prefix string) (common keySpan, some bool) {
	end := clientv3.GetPrefixRangeEnd(prefix)
	common = keySpan{max(s.from, prefix), s.to}
	if s.to == unbounded || s.to > end {
		common.to = end
	}
	return common, common.from < common.to
}

// spanOf is what a right of a role is about: one key, or a range of them.
func spanOf(p *authpb.Permission) keySpan {
	s := keySpan{string(p.Key), string(p.RangeEnd)}
	if s.to == "" {
		s.to = s.from + "\x00" // no key stands between
	}
	return s
}

// String is the span as etcdctl is told it.
func (s keySpan) String() string {
	switch {
	case s.to == s.from+"\x00":
		return s.from
	case s.to == clientv3.GetPrefixRangeEnd(s.from):
		return s.from + "*"
	}
	return fmt.Sprintf("%s to %s", s.from, s.to)
}

// readable reads what is under prefix, or as much of it as user has the right to.
// missing is not nil then, and says what is left out and what is not. Without any
// right the error is etcd's refusal, which wraps penstock.ErrDenied.
func readable(ctx context.Context, client *clientv3.Client, user, prefix string) (kvs []discovery.KV, missing, err error) {
	kvs, _, err = discovery.List(ctx, client, prefix)
	if !errors.Is(err, penstock.ErrDenied) || user == "" {
		return kvs, nil, err
	}
	spans, rerr := rightsOf(ctx, client, user)
	if rerr != nil {
		return nil, nil, err // a wrong password, say: the first refusal says more
	}
	var shown []string
	found := make(map[string]discovery.KV)
	for _, s := range spans {
		s, some := s.within(prefix)
		if !some {
			continue
		}
		resp, gerr := client.Get(ctx, s.from, clientv3.WithRange(s.to))
		if gerr != nil {
			return nil, nil, discovery.Classify("list "+s.String()+" at "+discovery.Where(client), gerr)
		}
		shown = append(shown, s.String())
		for _, kv := range resp.Kvs {
			found[string(kv.Key)] = discovery.KV{
				Key: string(kv.Key), Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
			}
		}
	}
	if len(shown) == 0 {
		return nil, nil, err
	}
	for _, kv := range found {
		kvs = append(kvs, kv)
	}
	slices.SortFunc(kvs, func(a, b discovery.KV) int { return strings.Compare(a.Key, b.Key) })
	return kvs, fmt.Errorf("%w; shown is %s", err, strings.Join(shown, ", ")), nil
}

// rightsOf returns the keys that user may read. etcd lets every user read his own
// roles.
func rightsOf(ctx context.Context, client *clientv3.Client, user string) (spans []keySpan, err error) {
	u, err := client.UserGet(ctx, user)
	if err != nil {
		return nil, err
	}
	for _, role := range u.Roles {
		r, err := client.RoleGet(ctx, role)
		if err != nil {
			return nil, err
		}
		for _, p := range r.Perm {
			if p.PermType != authpb.Permission_WRITE {
				spans = append(spans, spanOf(p))
			}
		}
	}
	return spans, nil
}
