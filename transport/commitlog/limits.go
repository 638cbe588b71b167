package commitlog

// What this etcd, and its client as it is configured, take in one request, how much
// is on its way at once, and which appends go together. The limits cannot be asked for; so a request that is
// refused is halved and sent again, and what was learned stays for as long as the
// log does.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/semaphore"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
	"github.com/penstock-io/penstock/transport/commitlog/internal/joined"
)

// limits begins with what any etcd takes by default. Learned numbers only fall.
type limits struct {
	// body is how large a batch may be, answer how large the bodies of one read,
	// together how large batches that go in one request.
	body, answer, together atomic.Int64
	// stepOps is how many operations a transaction of the user's may have, stepBytes
	// how large it may be.
	stepOps, stepBytes atomic.Int64
	// most is how many things of a kind go into one request.
	most [kinds]atomic.Int64
}

// kind is what requests carry several of.
type kind uint8

const (
	places   kind = iota // reads of one key, or of one entry
	nests                // transactions within the transaction
	starts               // of partitions
	pages                // keys in a response
	overtook             // tickets that an append removes
	joint                // appends that go in one request
	kinds
)

func newLimits() *limits {
	l := new(limits)
	l.body.Store(2 * format.MaxRaw)
	l.answer.Store(1 << 40)
	l.together.Store(jointBytes)
	l.stepOps.Store(stepOps)
	l.stepBytes.Store(stepBytes)
	for k, n := range map[kind]int64{joint: jointInOne, places: opsPerRequest, nests: nestedInOne, starts: startsInOne, pages: pageKeys, overtook: mostOvertaken} {
		l.most[k].Store(n)
	}
	return l
}

// of is how many things of a kind go into one request.
func (l *limits) of(k kind) int { return int(l.most[k].Load()) }

// isLimit returns which limit an error is about, "" for none.
func isLimit(err error) messages.Limit {
	var limit *messages.LimitError
	if errors.As(err, &limit) {
		return limit.Limit
	}
	return ""
}

// fewer reports whether a request that carried n of a kind may be sent again with
// fewer, and remembers how many.
func (l *limits) fewer(k kind, n int, err error) bool {
	if n <= 1 || isLimit(err) == "" {
		return false
	}
	lower(&l.most[k], int64(n/2))
	return true
}

func lower(limit *atomic.Int64, to int64) {
	for {
		now := limit.Load()
		if to >= now || limit.CompareAndSwap(now, to) {
			return
		}
	}
}

// inTurn hands all to do, as many at a time as one request takes. What do returned
// a limit for is handed over again, in smaller parts.
func inTurn[T any](l *limits, k kind, all []T, do func(some []T) error) error {
	for len(all) > 0 {
		some := all[:min(len(all), l.of(k))]
		err := do(some)
		switch {
		case l.fewer(k, len(some), err):
		case err != nil:
			return err
		default:
			all = all[len(some):]
		}
	}
	return nil
}

// How much is on its way to etcd at once. gRPC has a copy of each request until
// etcd has read it: without a bound, one of everything that all partitions append.

const (
	// sendRoom holds four full batches: with fewer, etcd waits for us.
	sendRoom = 9 << 18
	// smallBody is the size below which a body takes no room, and does not
	// wait.
	smallBody = 4 << 10
)

// room is for so many bytes of bodies, first come, first served.
type room struct{ bytes *semaphore.Weighted }

func newRoom() room { return room{semaphore.NewWeighted(sendRoom)} }

// enter waits until there is room for a body, or ctx ends, whose error it returns.
// leave gives the room back.
func (r room) enter(ctx context.Context, bytes int) (leave func(), err error) {
	if bytes < smallBody {
		return func() {}, nil
	}
	n := int64(min(bytes, sendRoom))
	if err := r.bytes.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { r.bytes.Release(n) }, nil
}

// Small appends of all partitions that wait at the same time go in one request: a
// transaction without a guard, in which each of them is a transaction with its own.
// So one that is refused is refused alone. What is told of the request as a whole is
// told of each; when that is that nothing was done, each is sent again by itself,
// and so finds out for which of them it was.

const (
	// jointInOne is how many go in one request: with the operations of each they are
	// within etcd's limit.
	jointInOne = opsPerRequest
	// jointBytes bounds the bodies of one request. From fullRequest on they do not
	// wait for one that is under way.
	jointBytes  = 3 * fullRequest
	fullRequest = 128 << 10
	// jointBody is the size of a body that goes by itself: it is a request worth
	// sending.
	jointBody = 64 << 10
	// tripsBeside requests are under way at once, however small: while etcd's disk syncs
	// one, the next is on its way, and is synced right after it.
	tripsBeside = 2
	// lateRequest is how long a request may take before others leave without waiting
	// for it: one member of etcd may hang while others do not.
	lateRequest = 100 * time.Millisecond
	// parcelBytes is about what an append takes beside its body.
	parcelBytes = 512
)

var (
	// errNotSent says that a context ended before anything was sent.
	errNotSent = errors.New("not sent")
	// errUntold says that nothing is known of an append, for a reason that is not its
	// own: somebody else whose append was in the request gave up, or the answers were
	// too large together.
	errUntold = errors.New("sent with others, and not told of")
)

// line is where appends wait for a request.
type line = joined.Line[slot, parcel]

// slot is a partition.
type slot struct {
	p     int
	topic string
}

// parcel is an append on its way: a transaction, and what became of it.
type parcel struct {
	txn *etcdserverpb.TxnRequest

	resp   *clientv3.TxnResponse
	err    error
	joined bool // it went with others
}

func (l *limits) ofTrips() joined.Limits {
	together := int(l.together.Load())
	// What fills a request does not wait for the one before, however small a request is
	// here: or all partitions would wait for each other.
	return joined.Limits{Items: l.of(joint), Beside: tripsBeside, Bytes: together, Full: min(fullRequest, together), Late: lateRequest}
}

// carry sends the transaction of an append whose body has so many bytes.
func (a *Appender) carry(ctx context.Context, one parcel, bytes int) (*clientv3.TxnResponse, error) {
	if l := a.p.log.limits; a.apart || bytes >= jointBody || l.of(joint) < 2 {
		return a.alone(ctx, one)
	}
	one.err = errUntold // unless the request comes to an end
	a.item.What = one
	load := joined.Load[slot]{Place: slot{a.p.p, a.p.topic.ID}, Bytes: bytes + parcelBytes}
	err := a.p.log.line.Do(ctx, a.item, load, a.trip)
	one, a.item.What = a.item.What, parcel{}
	switch {
	case err != nil:
		return nil, errors.Join(errNotSent, err)
	case one.joined && undone(one.err):
		return a.alone(ctx, one)
	}
	return one.resp, one.err
}

// undone reports whether an error says that nothing of a request was done.
func undone(err error) bool {
	limit := isLimit(err)
	return limit == messages.LimitRequest || limit == messages.LimitOps ||
		errors.Is(err, messages.ErrDenied) || errors.Is(err, messages.ErrInvalid) || errors.Is(err, rpctypes.ErrLeaseNotFound)
}

func (a *Appender) alone(ctx context.Context, one parcel) (*clientv3.TxnResponse, error) {
	l := a.p.log
	resp, err := l.wire.send(a.patience.of(ctx, a.timing.attempt), one.txn)
	if err != nil {
		a.patience.end()
	}
	return resp, l.classify("send", err)
}

// trip sends what goes together.
func (a *Appender) trip(ctx context.Context, items []*joined.Item[slot, parcel]) {
	if len(items) == 1 {
		it := &items[0].What
		it.resp, it.err = a.alone(ctx, *it)
		return
	}
	l := a.p.log
	all := &etcdserverpb.TxnRequest{Success: make([]*etcdserverpb.RequestOp, len(items))}
	for i, it := range items {
		all.Success[i] = within(it.What.txn)
	}
	limited, cancel := context.WithTimeout(ctx, a.timing.attempt)
	defer cancel()
	resp, err := l.wire.send(untold{limited}, all)
	err = l.classify("send", err)
	switch limit := isLimit(err); {
	case err == nil:
	case ctx.Err() != nil:
		err = errUntold
	case limit == messages.LimitResponse:
		l.limits.fewer(joint, len(items), err)
		err = errUntold
	case limit == messages.LimitOps:
		l.limits.fewer(joint, len(items), err)
	case limit == messages.LimitRequest:
		bytes := 0
		for _, it := range items {
			for _, op := range it.What.txn.Success {
				bytes += len(op.GetRequestPut().GetValue())
			}
		}
		lower(&l.limits.together, int64(bytes/2))
	}
	for i, it := range items {
		it.What.joined = true
		if it.What.err = err; err == nil {
			it.What.resp = inner(resp, i)
		}
	}
}

// inner is the response to the i-th transaction within another one.
func inner(resp *clientv3.TxnResponse, i int) *clientv3.TxnResponse {
	own := resp.Responses[i].GetResponseTxn()
	return (*clientv3.TxnResponse)(&etcdserverpb.TxnResponse{Header: resp.Header, Succeeded: own.GetSucceeded(), Responses: own.GetResponses()})
}

// patience bounds attempts in time. One context serves many: a deadline for each
// would make a lone append a twentieth slower.
type patience struct {
	parent, ctx context.Context
	cancel      context.CancelFunc
	until       time.Time
}

// of returns a context that ends with ctx, or after one to two times d.
func (p *patience) of(ctx context.Context, d time.Duration) context.Context {
	now := time.Now()
	if p.parent != ctx || p.until.Sub(now) < d {
		p.end()
		p.parent, p.until = ctx, now.Add(2*d)
		p.ctx, p.cancel = context.WithDeadline(ctx, p.until)
	}
	return untold{p.ctx}
}

func (p *patience) end() {
	if p.cancel != nil {
		p.cancel()
		*p = patience{}
	}
}

// untold is a context that keeps its deadline to itself, so that etcd need not
// keep it too.
type untold struct{ context.Context }

// Deadline is none.
func (untold) Deadline() (time.Time, bool) { return time.Time{}, false }
