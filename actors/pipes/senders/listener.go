package senders

// Where members find this engine's senders.

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// secrets is what a connection's handshake asks for: which destinations are
// here, and their tokens. Handshakes run on the transport's goroutines.
type secrets struct {
	mu     sync.Mutex
	byName map[string]placedSecret
}

// placedSecret is a destination's tokens and the listener that serves it, by what
// was asked for. The other listeners of the process do not know it: a stranger who
// asks them all learns nothing.
type placedSecret struct {
	incarnation string
	listen      string
	tokens      *links.Tokens
	rights      *atomic.Pointer[links.Rights] // of the destination; nil where they are not asked
}

// rights are those of a destination; nil while they are not known, and for one that is
// gone.
func (s *secrets) rights(dest string) links.Rights {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byName[dest].rights; p != nil {
		if known := p.Load(); known != nil {
			return *known
		}
	}
	return nil
}

// at is what the listener for that URL looks secrets up with.
func (s *secrets) at(listen string) func(dest string) (socket.Secret, bool) {
	return func(dest string) (socket.Secret, bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		secret, ok := s.byName[dest]
		if !ok || secret.listen != listen {
			return socket.Secret{}, false
		}
		return socket.Secret{Token: secret.tokens.Of(links.AllGroups), Incarnation: secret.incarnation}, true
	}
}

// tokensAt is what the listener for that URL looks the tokens of groups up with.
func (s *secrets) tokensAt(listen string) func(dest, group string) [socket.MostTokens][]byte {
	return func(dest, group string) (none [socket.MostTokens][]byte) {
		s.mu.Lock()
		secret, ok := s.byName[dest]
		s.mu.Unlock()
		if !ok || secret.listen != listen {
			return none
		}
		return secret.tokens.Admit(group)
	}
}

func (s *secrets) put(dest string, p placedSecret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName[dest] = p
}

func (s *secrets) remove(dest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byName, dest)
}

// listener accepts connections and hands the authenticated ones to the engine.
// The socket is the engine's and outlives the actor.
//
//	accepting ──▶ (stopped)
type listener struct {
	socket *socket.Listener
	ask    func(frame.Hello, carrier.Identity) error // again, of members that are linked; nil for none
	every  time.Duration                             // how often
	host   supervisor.Host
}

// lookEvery is how often a listener looks whether this machine still has the
// addresses and the certificate that it advertises.
const lookEvery = 2 * time.Second

type (
	lookAround      struct{}
	addressesLooked struct{ changed bool }
	// judgeDue: it is time to ask about the members again; judged is when that is done.
	judgeDue struct{}
	judged   struct{}
	// addressChanged tells the engine that a listener's URLs may be others.
	addressChanged struct{ listener *socket.Listener }
)

// look asks the system, and reads certificates that have changed, which may take its
// time.
func (l *listener) look() {
	s := l.socket
	supervisor.Call(&l.host, "look", func(context.Context) addressesLooked { return addressesLooked{s.Look()} })
}

// judge asks the user's function about members that are linked.
func (l *listener) judge() {
	s, ask := l.socket, l.ask
	supervisor.CallUser(&l.host, "judge", usercode.Patience, func(ctx context.Context) judged {
		s.Judge(ctx, ask)
		return judged{}
	})
}

// newListener makes the actor of a listener. Whom etcd lists is heard of as it changes;
// what a function of the user's says has to be asked for.
func (s *Senders) newListener(l *socket.Listener) actor.Producer {
	every := cmp.Or(s.links.AllowEvery, links.AllowEvery)
	var ask func(frame.Hello, carrier.Identity) error
	if s.links.Allow != nil {
		ask = s.allows()
	}
	return func() actor.Actor { return &listener{socket: l, ask: ask, every: every} }
}

func (l *listener) Receive(ctx actor.Context) {
	msg, mine := l.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		l.host.Begin(ctx)
		l.host.After(lookEvery, &lookAround{})
		if l.ask != nil {
			l.host.After(l.every, judgeDue{})
		}
		supervisor.Notify(ctx, ctx.Parent(), &addressChanged{l.socket}) // an earlier incarnation may have seen it and not told
		tell := l.host.Teller()
		l.host.Run("accept", func(ctx context.Context) error { return l.accept(ctx, tell) })
	case *linkOffered:
		supervisor.Notify(ctx, ctx.Parent(), m)
	case *lookAround:
		l.look()
	case addressesLooked:
		l.host.After(lookEvery, &lookAround{}) // one at a time: a look may wait for files
		if m.changed {
			supervisor.Notify(ctx, ctx.Parent(), &addressChanged{l.socket})
		}
	case judgeDue:
		l.judge()
	case judged:
		l.host.After(l.every, judgeDue{}) // one at a time: the function may take its time
	case *supervisor.Ended:
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
	case *actor.Restarting, *actor.Stopping:
		l.host.End()
	default:
		supervisor.Unhandled(ctx)
	}
}

func (l *listener) accept(ctx context.Context, tell func(any)) error {
	for {
		conn, err := l.socket.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		tell(&linkOffered{conn})
	}
}

// bindListener binds a listener for the engine's destinations.
func (s *Senders) bindListener(ctx context.Context, asked string) (*socket.Listener, error) {
	urls, err := s.links.Listens(asked)
	if err != nil {
		return nil, err
	}
	l, err := socket.Listen(ctx, socket.ListenerConfig{
		URLs:     urls,
		TLS:      s.links.TLS,
		MaxFrame: frame.Largest,
		Lookup:   s.secrets.at(asked), Tokens: s.secrets.tokensAt(asked),
		Allow: s.allows(),
		Refused: func(r socket.Refusal) {
			s.node.Events.Emit(messages.ConnectionRefused{Remote: r.Remote, Reason: r.Reason.String()})
		},
		Troubled: func(u address.URL, err error) {
			s.node.Events.Emit(messages.ListenerTroubled{URL: u.String(), Err: err})
		},
	})
	if err != nil {
		return nil, err
	}
	if open := l.Exposed(); len(open) > 0 {
		s.exposed.Do(func() { s.node.Events.Emit(messages.LinksExposed{URLs: open}) })
	}
	return l, nil
}

// ours reports whether a member of a shared group is of this runtime: an owner handles its
// own records, whoever else may.
func ours(n *node.Node, h frame.Hello) bool {
	return keys.IsLoans(h.Destination) && n.Own != "" && subtle.ConstantTimeCompare([]byte(h.Own), []byte(n.Own)) == 1
}

// allows is what listeners ask about members that know the token; nil where everybody
// may join who does. It is called on the transport's goroutines.
func (s *Senders) allows() func(frame.Hello, carrier.Identity) error {
	ask := s.links.Allow
	if ask == nil && !s.links.AllowListed {
		return nil
	}
	return func(h frame.Hello, id carrier.Identity) (err error) {
		if ours(s.node, h) {
			return nil
		}
		if s.links.AllowListed {
			if err := s.secrets.rights(h.Destination).Check(h.Group, id); err != nil {
				return err
			}
		}
		if ask == nil {
			return nil
		}
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("AllowMembers panicked: %v", v)
			}
		}()
		return ask(h.Destination, h.Group, id)
	}
}
