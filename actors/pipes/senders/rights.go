package senders

// Who may join: whom etcd lists, and who knows a token. What a destination sees of that,
// and what follows for links that stand.
//
// A sender draws a token for each of its groups and keeps it in etcd under the group's
// prefix, where roles say who may read it. A token whose key somebody deletes is over: its
// links end, and there is another.

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

type (
	// rightsSeen is what etcd shows of who may join.
	rightsSeen struct{ event discovery.WatchEvent }
	// rightsChanged tells pipes and links who may join now.
	rightsChanged struct{ rights links.Rights }
)

// errNoRight is the end of a link whose member may not join any more.
var errNoRight = errors.New("etcd does not list the member any more among those who may join")

// noRight is what such a member is told: the same as about a wrong token.
const noRight = "the proof is wrong for this destination and listener"

// rightsSeen takes in what etcd shows, and has the links judged by it.
func (a *destination) rightsSeen(ctx actor.Context, event discovery.WatchEvent) {
	switch e := event.(type) {
	case discovery.Snapshot:
		a.rights = make(map[string]discovery.KV)
		for _, kv := range e.KVs {
			a.rights[kv.Key] = kv
		}
	case discovery.Delta: // deletes first: a key that was deleted and came back is in both
		for _, kv := range e.Deletes {
			delete(a.rights, kv.Key)
		}
		for _, kv := range e.Puts {
			a.rights[kv.Key] = kv
		}
	case discovery.Refused:
		a.watchEnded(ctx, e.Err)
		return
	default: // etcd is away: what is known stays
		return
	}
	rights := make(links.Rights)
	for key, kv := range a.rights {
		if k, ok := a.node.Keys.Parse(key); ok && k.Kind == keys.KindAllowed {
			rights[k.Group] = append(rights[k.Group], strings.TrimSpace(string(kv.Value)))
		}
	}
	a.d.rights.Store(&rights)
	for _, pid := range a.pipes {
		supervisor.Notify(ctx, pid, &rightsChanged{rights})
	}
	a.serve(ctx)
}

// mayJoin judges a connection by the rights of now.
func (d *Destination) mayJoin(conn *socket.Conn) error {
	if !d.asksRights {
		return nil
	}
	var r links.Rights
	if known := d.rights.Load(); known != nil {
		r = *known
	}
	return r.Check(conn.Hello().Group, conn.Identity())
}

// judge has the links judged, and turns away connections that wait for one.
func (p *pipe) judge(ctx actor.Context, m *rightsChanged) {
	may := func(conn *socket.Conn) bool {
		if m.rights.Check(p.queue.Group, conn.Identity()) == nil {
			return true
		}
		conn.Refuse(pb.Code_BAD_PROOF, noRight)
		return false
	}
	for member, conn := range p.offered {
		if !may(conn) {
			delete(p.offered, member)
		}
	}
	kept := p.group.doubted[:0]
	for _, conn := range p.group.doubted {
		if may(conn) {
			kept = append(kept, conn)
		}
	}
	clear(p.group.doubted[len(kept):])
	p.group.doubted = kept
	for _, pid := range p.links {
		supervisor.Notify(ctx, pid, m)
	}
}

// judge ends the link of a member that may not join any more.
func (l *link) judge(ctx actor.Context, m *rightsChanged) {
	if l.cause == nil && m.rights.Check(l.pipe.Group, l.conn.Identity()) != nil {
		l.cause = errNoRight
		ctx.Stop(ctx.Self())
	}
}

// settleToken makes a group's key what it is to be.
func (d *Destination) settleToken(ctx context.Context, group string) error {
	leave, err := d.tokens.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	key := d.node.Keys.GroupSecret(d.cfg.Name, group, d.id)
	if token := d.tokens.Wanted(group); token != nil {
		value := node.Marshal(&pb.Secret{Token: token, Incarnation: d.incarnation})
		if err := d.node.Registry.Put(ctx, registry.Entry{Key: key, Leased: true, Value: value}); err != nil {
			return err
		}
	}
	if d.tokens.Wanted(group) != nil {
		return nil
	}
	if err := d.node.Registry.Remove(ctx, key); err != nil { // it may have ended meanwhile
		return err
	}
	d.tokens.Removed(group)
	return nil
}

type (
	// tokenSettled is the end of a write of a group's token, tokenAgain asks for another.
	tokenSettled struct {
		group string
		err   error
	}
	tokenAgain struct{ group string }
	// tokensSeen is what etcd shows of the tokens of the destination.
	tokensSeen struct{ event discovery.WatchEvent }
	// tokenOver tells a pipe and its links that a token admits nobody any more.
	tokenOver struct{ token []byte }
)

// errTokenOver is the end of a link whose token has ended.
var errTokenOver = errors.New("the token of the group was deleted in etcd: the member needs the new one")

// settle has a group's token written, or taken away.
func (a *destination) settle(group string) {
	d := a.d
	supervisor.Call(&a.host, "token", func(ctx context.Context) tokenSettled { return tokenSettled{group, d.settleToken(ctx, group)} })
}

func (a *destination) tokenSettled(m tokenSettled) {
	if m.err != nil && (a.state == registering || a.state == serving) {
		a.host.After(time.Second, tokenAgain{m.group})
	}
}

// tokensSeen ends tokens whose keys somebody has deleted. With the destination's own token
// they are gone by the end of the lease, or by one who deletes everything: then links
// stay, and the keys are put back.
func (a *destination) tokensSeen(ctx actor.Context, event discovery.WatchEvent) {
	delta, ok := event.(discovery.Delta)
	if !ok || a.state != serving {
		return
	}
	var groups []string
	for _, kv := range delta.Deletes {
		k, ok := a.node.Keys.Parse(kv.Key)
		if !ok || k.ID != a.d.id {
			continue
		}
		if k.Kind == keys.KindSecret {
			return
		}
		if k.Kind == keys.KindGroupSecret && a.pipes[k.Group] != nil {
			groups = append(groups, k.Group)
		}
	}
	for _, group := range groups {
		old := a.d.tokens.Drop(group)
		a.d.tokens.Draw(group)
		a.settle(group)
		if old != nil {
			supervisor.Notify(ctx, a.pipes[group], &tokenOver{old})
		}
	}
}

// admits reports whether what a connection was proved by admits still.
func (d *Destination) admits(conn *socket.Conn) bool {
	return conn.ProvedBy(d.token) || conn.ProvedBy(d.tokens.Of(conn.Hello().Group))
}

// expel ends links of a token that is over, and turns away connections that wait for one.
func (p *pipe) expel(ctx actor.Context, m *tokenOver) {
	for member, conn := range p.offered {
		if conn.ProvedBy(m.token) {
			conn.Refuse(pb.Code_BAD_PROOF, noRight)
			delete(p.offered, member)
		}
	}
	kept := p.group.doubted[:0]
	for _, conn := range p.group.doubted {
		if conn.ProvedBy(m.token) {
			conn.Refuse(pb.Code_BAD_PROOF, noRight)
			continue
		}
		kept = append(kept, conn)
	}
	clear(p.group.doubted[len(kept):])
	p.group.doubted = kept
	for _, pid := range p.links {
		supervisor.Notify(ctx, pid, m)
	}
}

// expel ends the link when its token is over.
func (l *link) expel(ctx actor.Context, m *tokenOver) {
	if l.cause == nil && l.conn.ProvedBy(m.token) {
		l.cause = errTokenOver
		ctx.Stop(ctx.Self())
	}
}
