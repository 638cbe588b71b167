package members

// How a member reaches a sender: its secret, its addresses, and whether the sender's
// certificate is trusted still.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/frames"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// recheckEvery is how often links are looked at whose sender's certificate may not be
// trusted any more.
const recheckEvery = 5 * time.Second

// trusted are the connections of all members of a runtime. It is safe for concurrent use.
type trusted struct {
	mu    sync.Mutex
	conns map[*socket.Conn]struct{}
}

// add notes a connection until forget is called.
func (t *trusted) add(c *socket.Conn) (forget func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		t.conns = make(map[*socket.Conn]struct{})
	}
	t.conns[c] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, c)
	}
}

// all are the connections of now.
func (t *trusted) all() []*socket.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.conns))
}

// recheck looks at certificates until ctx ends. It runs hosted: it reads files.
func (t *trusted) recheck(ctx context.Context, by *carrier.TLS) error {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			conns := t.all()
			if len(conns) == 0 {
				continue
			}
			by.Look(now)
			for _, c := range conns {
				c.Recheck()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// dial links a member to a sender: the first of its URLs that may be dialled and welcomes
// it; passed is why the ones before failed. A path that leads elsewhere in this container
// costs a failed attempt, and each redial begins with the first again. What comes lies in
// memory of again with ReuseBuffers.
func dial(ctx context.Context, n *node.Node, l *links.Config, cfg *Config, sender *pb.Sender, again *frames.Buffers) (conn *socket.Conn, passed, err error) {
	if err := pb.LevelsNow().Refuse(fmt.Sprintf("sender %q", sender.Id), pb.Level(sender.Level), sender.Version); err != nil {
		return nil, nil, err
	}
	urls, err := l.Dials(sender)
	if err != nil {
		return nil, nil, fmt.Errorf("sender %q: %w", sender.Id, err)
	}
	value, err := secretOf(ctx, n, cfg.Destination, cfg.Group, sender)
	if err != nil {
		return nil, nil, err
	}
	secret := &pb.Secret{}
	if err := proto.Unmarshal(value, secret); err != nil {
		return nil, nil, fmt.Errorf("secret of sender %q: %w: %w", sender.Id, messages.ErrCorrupt, err)
	}
	g := cfg.group().Meta()
	own := ""
	if cfg.Lends && sender.Process == node.Process() {
		own = n.Own
	}
	var errs []error
	memory := frames.Kept
	if cfg.ReuseBuffers {
		memory = again.Get
	}
	for _, url := range urls {
		conn, err := socket.Dial(ctx, socket.DialConfig{
			URL: url, TLS: l.TLS, Identities: sender.Identities, Buffer: memory, Token: secret.Token, MaxFrame: frame.Largest,
			Listed: pb.Level(sender.Level),
			Hello: frame.Hello{
				Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID,
				Mode: g.Mode, Policy: g.Policy, KeepFor: cfg.KeepFor,
				Window: uint32(cfg.Window), WindowBytes: uint64(cfg.WindowBytes), Concurrency: uint32(cfg.Concurrency), Zone: n.Zone, Own: own,
			},
		})
		if err == nil {
			return conn, errors.Join(errs...), nil
		}
		if refused := (*socket.RefusedError)(nil); errors.As(err, &refused) && refused.Code == pb.Code_MODE_MISMATCH {
			return nil, nil, err // it is the sender that says so, and not who has its path here
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}
