package commitlog

import (
	"context"
	"time"
)

// patience bounds attempts in time. One context serves many: a deadline for each
// would make a lone append a twentieth slower.
type patience struct {
	parent, ctx context.Context
	cancel      context.CancelFunc
	until       time.Time
}

// of answers a context that ends with ctx, or after one to two times d.
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
