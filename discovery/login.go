package discovery

// Logins. etcd's client logs in before each stream that it opens, and a login is
// a bcrypt in etcd: some 50 ms of one of its cores. But a login holds for as
// long as etcd takes its token, so the last one is used again until it may have
// expired or etcd refuses it.

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery/internal/retry"
)

// loginLife is for how long a login is used without asking: less than the five
// minutes after which etcd by default forgets a token that nobody used.
const loginLife = 4 * time.Minute

// logins remembers the last login of one client.
type logins struct {
	last atomic.Pointer[login]
	turn chan struct{} // held by the one that logs in
}

type login struct {
	at    time.Time
	reply *etcdserverpb.AuthenticateResponse
}

func newLogins() *logins { return &logins{turn: make(chan struct{}, 1)} }

// fresh is the last login that is still good as far as known, or nil.
func (l *logins) fresh() *login {
	if last := l.last.Load(); last != nil && retry.Elapsed(last.at, time.Now()) < loginLife {
		return last
	}
	return nil
}

// call answers logins from memory, and forgets the last one when etcd refuses
// it. A refusal of an older one, which was on its way, is no news.
func (l *logins) call(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if r, ok := reply.(*etcdserverpb.AuthenticateResponse); ok {
		return l.logIn(ctx, r, func() error { return invoke(ctx, method, req, reply, cc, opts...) })
	}
	used := l.last.Load()
	err := invoke(ctx, method, req, reply, cc, opts...)
	l.judge(used, err)
	return err
}

func (l *logins) logIn(ctx context.Context, reply *etcdserverpb.AuthenticateResponse, ask func() error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if last := l.fresh(); last != nil {
		proto.Merge(reply, last.reply)
		return nil
	}
	at := time.Now()
	if err := ask(); err != nil {
		return err
	}
	l.last.Store(&login{at: at, reply: proto.CloneOf(reply)})
	return nil
}

// judge forgets the login that was used when the error says that etcd does not
// take it.
func (l *logins) judge(used *login, err error) {
	if err == nil || used == nil {
		return
	}
	if err = rpctypes.Error(err); LoginExpired(err) || errors.Is(err, rpctypes.ErrUserEmpty) {
		l.last.CompareAndSwap(used, nil)
	}
}

// stream does the same for what a stream is answered.
func (l *logins) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	used := l.last.Load()
	s, err := open(ctx, desc, cc, method, opts...)
	l.judge(used, err)
	if err != nil {
		return nil, err
	}
	return &loggedIn{ClientStream: s, logins: l, used: used}, nil
}

// loggedIn is a stream that was opened with a login.
type loggedIn struct {
	grpc.ClientStream
	logins *logins
	used   *login
}

// RecvMsg hears of refusals: as errors, and of watches as a reason.
func (s *loggedIn) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if w, ok := m.(*etcdserverpb.WatchResponse); ok && err == nil && w.Canceled {
		_, reason, _ := strings.Cut(w.CancelReason, "desc = ")
		s.logins.judge(s.used, errors.New(reason))
	}
	s.logins.judge(s.used, err)
	return err
}
