package senders

// Who may join, as etcd lists it: what a destination sees of that, and what follows for
// links that stand.

import (
	"errors"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/discovery"
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
