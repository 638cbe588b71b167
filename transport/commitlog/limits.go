package commitlog

// What this etcd, and its client as it is configured, take in one request, and how
// much is on its way at once. The limits cannot be asked for; so a request that is
// refused is halved and sent again, and what was learned stays for as long as the
// log does.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// limits begins with what any etcd takes by default. Learned numbers only fall.
type limits struct {
	// body is how large a batch may be, answer how large the bodies of one read.
	body, answer atomic.Int64
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
	kinds
)

func newLimits() *limits {
	l := new(limits)
	l.body.Store(2 * format.MaxRaw)
	l.answer.Store(1 << 40)
	for k, n := range map[kind]int64{places: opsPerRequest, nests: nestedInOne, starts: startsInOne, pages: pageKeys, overtook: mostOvertaken} {
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
