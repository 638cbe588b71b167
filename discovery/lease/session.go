package lease

// One lease, and how sure we are of it.
//
//	       grant             deadline passed
//	 none ───────▶ alive ───────────────────▶ doubt
//	  ▲              │ ▲                      │  │
//	  │              │ └──────────────────────┘  │
//	  │              │      etcd still knows it  │
//	  │  revoked     ▼                           │
//	  └──────────── lost ◀───────────────────────┘
//	                     etcd does not know it
//
// etcd's own keep-alive channel can deliver successes that are stale, so each
// renewal is a request with an answer of its own, timed from before it was sent.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/internal/retry"
	"github.com/penstock-io/penstock/messages"
)

// Client is the part of etcd's client that a Session uses. Leases has it.
type Client interface {
	Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error)
	KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error)
	Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error)
}

// DefaultTTL is the TTL of a Session that is not told another.
const DefaultTTL = 10 * time.Second

// Config says how a Session keeps its lease. The zero value is good.
type Config struct {
	// TTL is how long etcd keeps the lease without hearing from us; 10 s by
	// default, at least 2 s, in whole seconds (rounded up).
	TTL time.Duration
	// Margin is how long before the lease can end the Session starts to doubt
	// it; by default a tenth of the TTL, at least 500 ms. Less than two
	// thirds of the TTL: a renewal each third must come first.
	Margin time.Duration
	// Where names etcd in errors, for example by discovery.Where(client).
	Where string
}

func (c Config) withDefaults() Config {
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if part := c.TTL % time.Second; part > 0 {
		c.TTL += time.Second - part
	}
	if c.Margin == 0 {
		c.Margin = max(c.TTL/10, 500*time.Millisecond)
	}
	if c.Where == "" {
		c.Where = "etcd"
	}
	return c
}

// Validate returns all faults at once; each wraps messages.ErrInvalid.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if c.TTL < 2*time.Second {
		faults = append(faults, fmt.Errorf("%w: session TTL %v is less than 2s, etcd's least", messages.ErrInvalid, c.TTL))
	}
	if c.Margin < 0 || c.Margin >= 2*c.TTL/3 {
		faults = append(faults, fmt.Errorf("%w: session margin %v is not from 0 to two thirds of the TTL of %v", messages.ErrInvalid, c.Margin, c.TTL))
	}
	return errors.Join(faults...)
}

// Event is one of Alive, Doubt, Lost, Delayed.
type Event interface{ event() }

// Alive: the lease lives.
type Alive struct {
	Lease clientv3.LeaseID
	// New is set for a lease just granted, which holds no keys yet. Otherwise
	// the lease was in doubt, and its keys were there all the time.
	New bool
}

// Doubt: the lease was not renewed in time. It may have ended, or may be
// renewed yet; Alive or Lost follows.
type Doubt struct {
	Lease clientv3.LeaseID
	// Since is when the last renewal that etcd confirmed was sent.
	Since time.Time
}

// Lost: etcd does not know the lease any more, and so none of its keys.
type Lost struct{ Lease clientv3.LeaseID }

// Delayed: etcd did not do what was asked, and Run tries again.
type Delayed struct {
	// Err is why; its text names what was asked of whom.
	Err error
	// Wait is how long Run waits before the next attempt.
	Wait time.Duration
}

func (Alive) event()   {}
func (Doubt) event()   {}
func (Lost) event()    {}
func (Delayed) event() {}

// Session keeps one lease. Make it with NewSession.
type Session struct {
	client Client
	cfg    Config
	lease  atomic.Pointer[term]
}

// term is a lease as last confirmed by etcd. It is never changed in place.
type term struct {
	id    clientv3.LeaseID
	since time.Time     // when the renewal was sent
	ttl   time.Duration // as etcd granted it
}

// sure reports whether the lease is certain to live at now.
func (t *term) sure(now time.Time, margin time.Duration) bool {
	return t != nil && retry.Elapsed(t.since, now) < t.ttl-margin
}

// NewSession makes a session that has no lease yet; Run gets one. Faults of
// cfg are returned by Run.
func NewSession(client Client, cfg Config) *Session {
	return &Session{client: client, cfg: cfg.withDefaults()}
}

// Fresh returns the lease, and whether it is certain to live at this instant.
// Asking is exact where the event Doubt, which has to travel, is late. It does
// not block and is safe for concurrent use.
func (s *Session) Fresh() (clientv3.LeaseID, bool) {
	t := s.lease.Load()
	if t == nil {
		return 0, false
	}
	return t.id, t.sure(time.Now(), s.cfg.Margin)
}

// Confirmed is when the last request about the lease was sent that etcd has
// confirmed; zero without a lease. It is safe for concurrent use.
func (s *Session) Confirmed() time.Time {
	if t := s.lease.Load(); t != nil {
		return t.since
	}
	return time.Time{}
}

// Run gets a lease and keeps it, and gets another one when it is lost. It
// blocks until ctx ends and returns ctx's cause; the lease stays, see Revoke.
// While etcd is away it keeps trying. It ends early with an error that wraps
// messages.ErrDenied or messages.ErrInvalid. One Run at a time.
func (s *Session) Run(ctx context.Context, emit func(Event)) error {
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	for {
		t, err := s.grant(ctx, emit)
		if err != nil {
			return err
		}
		s.lease.Store(t)
		emit(Alive{Lease: t.id, New: true})
		if err := s.keep(ctx, t, emit); !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		s.lease.Store(nil)
		emit(Lost{Lease: t.id})
		// Somebody who restored etcd, or a server that lagged, may bring the
		// lease back with all its keys. Nobody would renew or clean them.
		if err := s.giveUp(ctx, t.id, emit); err != nil {
			return err
		}
	}
}

// grant asks for a lease until there is one.
func (s *Session) grant(ctx context.Context, emit func(Event)) (*term, error) {
	var t *term
	err := s.persist(ctx, "grant a lease at "+s.cfg.Where, emit, func(ctx context.Context) error {
		sent := time.Now()
		resp, err := s.client.Grant(ctx, int64(s.cfg.TTL/time.Second))
		if err != nil {
			return err
		}
		t = &term{id: resp.ID, since: sent, ttl: lasting(resp.TTL)}
		return nil
	})
	return t, err
}

// lasting is a lease's life as etcd tells it, of which a year is as good as more.
func lasting(seconds int64) time.Duration {
	const year = 365 * 24 * 3600
	return time.Duration(min(seconds, year)) * time.Second
}

func (s *Session) giveUp(ctx context.Context, id clientv3.LeaseID, emit func(Event)) error {
	return s.persist(ctx, "revoke a lost lease at "+s.cfg.Where, emit, func(ctx context.Context) error {
		_, err := s.client.Revoke(ctx, id)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return nil
		}
		return err
	})
}

// persist calls do until it succeeds, ctx ends or there is no hope.
func (s *Session) persist(ctx context.Context, op string, emit func(Event), do func(context.Context) error) error {
	for n := 0; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, s.cfg.TTL/2)
		err := do(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err = discovery.Classify(op, err); discovery.Hopeless(err) {
			return err
		}
		wait := retry.Pause(n)
		emit(Delayed{Err: err, Wait: wait})
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// trust is what keep knows about the lease.
type trust uint8

const (
	trusted trust = iota
	doubted
)

// keep renews the lease until etcd does not know it any more.
func (s *Session) keep(ctx context.Context, t *term, emit func(Event)) error {
	state, failures := trusted, 0
	next := t.since.Add(t.ttl / 3)
	for {
		now := time.Now()
		if state == trusted && !t.sure(now, s.cfg.Margin) {
			state = doubted
			emit(Doubt{Lease: t.id, Since: t.since})
		}
		due := next
		if end := t.since.Add(t.ttl - s.cfg.Margin); state == trusted && end.Before(due) {
			due = end
		}
		if err := retry.Sleep(ctx, due.Sub(now)); err != nil {
			return err
		}
		if time.Now().Before(next) {
			continue
		}

		sent := time.Now()
		resp, err := s.renew(ctx, t, state)
		switch {
		case err == nil:
			t = &term{id: t.id, since: sent, ttl: lasting(resp.TTL)}
			s.lease.Store(t)
			next, failures = sent.Add(t.ttl/3), 0
			// An answer that took longer than the lease proves nothing: the
			// next round doubts, and asks again.
			if state == doubted && t.sure(time.Now(), s.cfg.Margin) {
				state = trusted
				emit(Alive{Lease: t.id})
			}
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return err
		default:
			if err = discovery.Classify("renew the lease at "+s.cfg.Where, err); discovery.Hopeless(err) {
				return err
			}
			wait := min(retry.Pause(failures), t.ttl/3)
			next, failures = time.Now().Add(wait), failures+1
			emit(Delayed{Err: err, Wait: wait})
		}
	}
}

// renew asks once, for no longer than the lease is certain.
func (s *Session) renew(ctx context.Context, t *term, state trust) (*clientv3.LeaseKeepAliveResponse, error) {
	limit := t.ttl / 3
	if state == trusted {
		limit = min(limit, t.ttl-s.cfg.Margin-retry.Elapsed(t.since, time.Now()))
	}
	ctx, cancel := context.WithTimeout(ctx, max(limit, time.Millisecond))
	defer cancel()
	return s.client.KeepAliveOnce(ctx, t.id)
}

// Revoke gives the lease up, and with it every key under it, at once instead
// of after the TTL. Call it when Run has ended. It blocks until etcd answers
// or ctx ends; then the lease ends by itself. Without a lease it does nothing.
func (s *Session) Revoke(ctx context.Context) error {
	t := s.lease.Swap(nil)
	if t == nil {
		return nil
	}
	_, err := s.client.Revoke(ctx, t.id)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return discovery.Classify("revoke the lease at "+s.cfg.Where, err)
}
