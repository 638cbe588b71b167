package commitlog

// The log as a whole: a client, a prefix, and how requests are made.

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/internal/joined"
)

// Config is what a Log needs. All fields are required.
type Config struct {
	// Client must make one attempt for each request (MaxUnaryRetries 1): a
	// retry that the log does not see would hide an unknown outcome. The caller
	// closes it after the last call.
	Client *clientv3.Client
	// Space is the prefix of all keys.
	Space keys.Space
	// Classify names an error of etcd: op is what was being done. What it
	// returns must wrap err, and messages.ErrUnavailable, ErrDenied, ErrInvalid,
	// ErrNoSpace or a *messages.LimitError where one fits.
	Classify func(op string, err error) error
}

// Log is topics, their records and groups in one etcd. It holds no state but
// how much it is sending and what requests this etcd takes: whatever a call returns
// was read by that call. It is safe for concurrent use.
type Log struct {
	client   *clientv3.Client
	space    keys.Space
	classify func(op string, err error) error
	room     room
	limits   *limits
	line     *line
	wire     wire
	steps    steps
}

// New makes a log. It does not talk to etcd.
func New(cfg Config) *Log {
	l := newLimits()
	return &Log{
		client: cfg.Client, wire: newWire(cfg.Client), space: cfg.Space, classify: cfg.Classify, room: newRoom(), limits: l,
		line: joined.NewLine[slot, parcel](l.ofTrips), steps: steps{producer: rand.Uint64()},
	}
}

const (
	// requestTimeout bounds one request of those that are made here: an etcd
	// that hangs is an etcd that is unavailable.
	requestTimeout = 5 * time.Second
	// pageKeys is how many keys one response has at most.
	pageKeys = 1000
	// tries bounds how often something is begun again because what it is based
	// on has changed: a revision that was compacted, a key that was written.
	tries = 5
)

// get is one range, linearizable unless opts say otherwise.
func (l *Log) get(ctx context.Context, op, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := l.client.Get(ctx, key, opts...)
	if loginExpired(err) {
		resp, err = l.client.Get(ctx, key, opts...)
	}
	return resp, l.classify(op, err)
}

// do is one transaction. With an error that is neither messages.ErrDenied,
// ErrInvalid nor a *messages.LimitError of the request or its operations, whether
// it was applied is unknown: ErrNoSpace too may come after the fact.
func (l *Log) do(ctx context.Context, op string, guards []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	send := func() (*clientv3.TxnResponse, error) {
		return l.client.Txn(ctx).If(guards...).Then(then...).Else(otherwise...).Commit()
	}
	resp, err := send()
	if loginExpired(err) {
		resp, err = send()
	}
	return resp, l.classify(op, err)
}

// isFinal reports whether another attempt cannot help.
func (l *Log) isFinal(err error) bool {
	for _, final := range []error{
		messages.ErrTopicDeleted, messages.ErrTopicFull, messages.ErrNoSpace, messages.ErrDenied, messages.ErrInvalid, messages.ErrTooLarge, messages.ErrCorrupt,
		messages.ErrUnknownOutcome, messages.ErrFenced, messages.ErrCondition, messages.ErrConflict,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	return l.client.Ctx().Err() != nil
}

// wire sends transactions as they are. A transaction of the client copies each
// comparison two or three times on its way, which is a third of what a small append
// allocates.
type wire struct {
	kv   etcdserverpb.KVClient
	opts []grpc.CallOption // of the client's calls
	ops  clientv3.KV       // has a transaction's operations encoded by sketch
}

// sketch is in place of etcd: it takes what the client would send.
type sketch struct {
	etcdserverpb.KVClient
}

// sketched is the context that what it takes is put in.
type sketched struct {
	context.Context
	txn  *etcdserverpb.TxnRequest
	opts []grpc.CallOption
}

func (sketch) Txn(ctx context.Context, txn *etcdserverpb.TxnRequest, opts ...grpc.CallOption) (*etcdserverpb.TxnResponse, error) {
	to := ctx.(*sketched)
	to.txn, to.opts = txn, opts
	return nil, nil
}

func newWire(client *clientv3.Client) wire {
	w := wire{kv: clientv3.RetryKVClient(client), ops: clientv3.NewKVFromKVClient(sketch{}, client)}
	to := &sketched{Context: context.Background()}
	_, _ = w.ops.Txn(to).Commit() // nothing is sent
	w.opts = to.opts
	return w
}

// encode is a transaction as etcd gets it. It keeps guards, which must not change.
func (w wire) encode(guards []clientv3.Cmp, then []clientv3.Op, otherwise clientv3.Op) *etcdserverpb.TxnRequest {
	to := &sketched{Context: context.Background()}
	_, _ = w.ops.Txn(to).Then(then...).Else(otherwise).Commit() // nothing is sent
	to.txn.Compare = make([]*etcdserverpb.Compare, len(guards))
	for i := range guards {
		to.txn.Compare[i] = guards[i].GetCompare()
	}
	return to.txn
}

// send sends a transaction once. Its errors are those of the client.
func (w wire) send(ctx context.Context, txn *etcdserverpb.TxnRequest) (*clientv3.TxnResponse, error) {
	resp, err := w.kv.Txn(ctx, txn, w.opts...)
	return (*clientv3.TxnResponse)(resp), clientv3.ContextError(ctx, err)
}

// within is a transaction as an operation of another one.
func within(txn *etcdserverpb.TxnRequest) *etcdserverpb.RequestOp {
	return &etcdserverpb.RequestOp{Request: &etcdserverpb.RequestOp_RequestTxn{RequestTxn: txn}}
}

// created and valued are guards as clientv3.Compare makes them, without its copies.

func created(key string, at int64) clientv3.Cmp {
	guard := clientv3.CreateRevision(key)
	c := guard.GetCompare()
	c.Result, c.TargetUnion = etcdserverpb.Compare_EQUAL, &etcdserverpb.Compare_CreateRevision{CreateRevision: at}
	return guard
}

func valued(key string, is etcdserverpb.Compare_CompareResult, value string) clientv3.Cmp {
	guard := clientv3.Value(key)
	c := guard.GetCompare()
	c.Result, c.TargetUnion = is, &etcdserverpb.Compare_Value{Value: []byte(value)}
	return guard
}

// loginExpired reports whether the server turned a request away before doing
// anything, for a login that the client has renewed since.
func loginExpired(err error) bool {
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// list reads every key under prefix at one revision: now when it is 0, and
// then returns which that was. An error that wraps rpctypes.ErrCompacted means
// that the revision is no longer there.
func (l *Log) list(ctx context.Context, op, prefix string, revision int64, opts ...clientv3.OpOption) ([]*mvccpb.KeyValue, int64, error) {
	var all []*mvccpb.KeyValue
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		n := l.limits.of(pages)
		resp, err := l.get(ctx, op, from, append(opts, clientv3.WithRange(end), clientv3.WithLimit(int64(n)), clientv3.WithRev(revision))...)
		if l.limits.fewer(pages, n, err) {
			continue
		}
		if err != nil {
			return nil, revision, err
		}
		if revision == 0 {
			revision = resp.Header.Revision
		}
		all = append(all, resp.Kvs...)
		if !resp.More || len(resp.Kvs) == 0 {
			return all, revision, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// atOneRevision repeats a read that chose its revision when it began, while
// compaction takes that revision away.
func atOneRevision[T any](read func() (T, error)) (T, error) {
	var result T
	var err error
	for range tries {
		if result, err = read(); !errors.Is(err, rpctypes.ErrCompacted) {
			break
		}
	}
	return result, err
}

// lives is the guard that the topic is there, and no other of its name.
func (l *Log) lives(t messages.TopicInfo) clientv3.Cmp {
	return created(l.space.Topic(t.Name), t.CreateRevision)
}

// exists asks for a key's revisions only.
func exists(key string) clientv3.Op { return clientv3.OpGet(key, clientv3.WithKeysOnly()) }

// createRevision is what a range over one key says of it; 0 when it is absent.
func createRevision(r *clientv3.GetResponse) int64 {
	if len(r.Kvs) == 0 {
		return 0
	}
	return r.Kvs[0].CreateRevision
}

// ranged is what the i-th operation of a transaction, a get, has found.
func ranged(resp *clientv3.TxnResponse, i int) *clientv3.GetResponse {
	return (*clientv3.GetResponse)(resp.Responses[i].GetResponseRange())
}
