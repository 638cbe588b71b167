package senders

// Who may join: whom etcd lists, and who knows a token. What a destination sees of that,
// and what follows for links that stand.
//
// A sender draws a token for each of its groups, and one for all, and keeps it in etcd under
// the group's prefix, where roles say who may read it. A key beside them says which
// generation they are to be of: of another one, a sender draws another token, and the one
// before admits for a while yet. A token whose key somebody deletes is over at once.

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/registry"
	"github.com/penstock-io/penstock/messages"
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
	return judgedBy(d.node, r, conn)
}

// judgedBy judges a connection by some rights.
func judgedBy(n *node.Node, r links.Rights, conn *socket.Conn) error {
	if ours(n, conn.Hello()) {
		return nil
	}
	return r.Check(conn.Hello().Group, conn.Identity())
}

// judge has the links judged, and turns away connections that wait for one.
func (p *pipe) judge(ctx actor.Context, m *rightsChanged) {
	may := func(conn *socket.Conn) bool {
		if judgedBy(p.node, m.rights, conn) == nil {
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
	if l.cause == nil && !l.own && m.rights.Check(l.pipe.Group, l.conn.Identity()) != nil {
		l.cause = errNoRight
		ctx.Stop(ctx.Self())
	}
}

// offer gives a member's connection to its pipe. A Hello makes the pipe when
// the watch has not yet.
func (a *destination) offer(ctx actor.Context, m *linkOffered) {
	hello := m.conn.Hello()
	if a.state == retiring || a.state == ousted {
		m.conn.Refuse(pb.Code_SHUTTING_DOWN, "the sender stops")
		return
	}
	if !a.d.admits(m.conn) {
		m.conn.Refuse(pb.Code_BAD_PROOF, noRight)
		return
	}
	if err := a.d.mayJoin(m.conn); err != nil { // it has lost the right since its handshake
		m.conn.Refuse(pb.Code_BAD_PROOF, noRight)
		return
	}
	if a.pipes[hello.Group] == nil {
		s, err := messages.GroupSettingsOf(hello.Mode, hello.Policy, messages.KeepForMs(hello.KeepFor))
		if err == nil {
			err = keys.ValidateName("group", hello.Group)
		}
		if err != nil {
			m.conn.Refuse(pb.Code_MODE_MISMATCH, err.Error())
			return
		}
		if a.unlisted() >= unlistedPipes {
			m.conn.Refuse(pb.Code_LIMIT, "too many groups that are not in etcd")
			return
		}
		a.open(ctx, hello.Group, s)
	}
	a.offers[m.conn] = hello.Group
	supervisor.Notify(ctx, a.pipes[hello.Group], m)
}

// unlistedPipes is how many groups there may be at a time that a Hello made and
// etcd does not show.
const unlistedPipes = 64

func (a *destination) unlisted() (n int) {
	for group := range a.pipes {
		if view := a.groups[group]; view == nil || view.meta == nil {
			n++
		}
	}
	return n
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
	// graceOver: a token that was replaced admits nobody any more.
	graceOver struct {
		group string
		token []byte
	}
	// tokenOver tells a pipe and its links that a token was replaced.
	tokenOver struct{ links.Over }
	// fadeDue: it is time that the member of a link links again.
	fadeDue struct{}
)

var (
	// errTokenOver is the end of a link whose token has ended.
	errTokenOver = errors.New("the token of the group was deleted in etcd, revoked, or its grace is over: the member needs the new one")
	// errTokenReplaced is the end in order of a link whose token is about to end.
	errTokenReplaced = errors.New("the token was replaced by a new one: the member links again with that")
)

// secretKey is the key of a token.
func (d *Destination) secretKey(group string) string {
	if group == links.AllGroups {
		return d.node.Keys.Secret(d.cfg.Name, d.id)
	}
	return d.node.Keys.GroupSecret(d.cfg.Name, group, d.id)
}

// secret is what the key of a token is to be; nil when it is not to be there. It is not put
// back under another generation than the token's.
func (d *Destination) secret(group string) *registry.Entry {
	secret, record := d.tokens.Wanted(group)
	if secret == nil {
		return nil
	}
	secret.Incarnation = d.incarnation
	return &registry.Entry{
		Key: d.secretKey(group), Leased: true, Value: node.Marshal(secret),
		Guard: []discovery.Guard{discovery.Holds(d.node.Keys.Generation(d.cfg.Name, group), record)},
	}
}

// settleToken makes a group's key what it is to be.
func (d *Destination) settleToken(ctx context.Context, group string) error {
	leave, err := d.tokens.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if entry := d.secret(group); entry != nil {
		if err := d.node.Registry.Put(ctx, *entry); err != nil {
			return err
		}
	}
	if secret, _ := d.tokens.Wanted(group); secret != nil {
		return nil
	}
	if err := d.node.Registry.Remove(ctx, d.secretKey(group)); err != nil { // it may have ended meanwhile
		return err
	}
	d.tokens.Removed(group)
	return d.forgetGeneration(ctx, group)
}

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

// draw gives a group a token, once its generation is known.
func (a *destination) draw(group string) {
	if a.generations != nil {
		a.d.tokens.Draw(group, a.generations[group])
		a.settle(group)
	}
}

// forgetGenerations deletes those of groups that are gone.
func (a *destination) forgetGenerations() {
	d := a.d
	for group := range a.generations {
		if group != links.AllGroups && a.groups[group] == nil && a.pipes[group] == nil {
			supervisor.Call(&a.host, "token", func(ctx context.Context) tokenSettled {
				_ = d.forgetGeneration(ctx, group) // the next sender tries again
				return tokenSettled{group, nil}
			})
		}
	}
}

// tokensSeen obeys what etcd shows: the generations that tokens are to be of, and that the
// key of a token is gone. A key that goes alone was deleted by somebody: nobody may use that
// token any more. When all keys go, the lease has ended, or somebody deletes everything.
// Then links stay at first; but in that time somebody may have deleted one of them, so that
// all tokens are replaced in order.
func (a *destination) tokensSeen(ctx actor.Context, event discovery.WatchEvent) {
	switch e := event.(type) {
	case discovery.Snapshot:
		first := a.generations == nil
		a.generations = make(map[string][]byte)
		a.takeGenerations(e.KVs)
		for group := range a.pipes {
			a.draw(group)
		}
		a.follow(ctx, a.d.tokens.Groups()...)
		if first {
			a.renewGraces()
		}
		a.serve(ctx)
	case discovery.Delta: // deletes first: a key that was deleted and came back is in both
		if a.generations == nil {
			return
		}
		changed := make(map[string]struct{})
		gone := make(map[string][]byte)
		for _, kv := range e.Deletes {
			switch k, _ := a.node.Keys.Parse(kv.Key); {
			case k.Kind == keys.KindGeneration:
				delete(a.generations, k.Group)
				changed[k.Group] = struct{}{}
			case (k.Kind == keys.KindSecret || k.Kind == keys.KindGroupSecret) && k.ID == a.d.id && a.d.tokens.Of(k.Group) != nil:
				gone[k.Group] = kv.Value
			}
		}
		a.lost(ctx, gone)
		for _, group := range a.takeGenerations(e.Puts) {
			changed[group] = struct{}{}
		}
		a.follow(ctx, slices.Collect(maps.Keys(changed))...)
	case discovery.Refused: // who may not read them has no generations
		if a.generations == nil {
			a.tokensSeen(ctx, discovery.Snapshot{})
		}
	}
}

// takeGenerations notes those among keys, and returns of which groups they are.
func (a *destination) takeGenerations(kvs []discovery.KV) (groups []string) {
	for _, kv := range kvs {
		if k, ok := a.node.Keys.Parse(kv.Key); ok && k.Kind == keys.KindGeneration {
			a.generations[k.Group] = kv.Value
			groups = append(groups, k.Group)
		}
	}
	return groups
}

// follow has tokens replaced whose generation is another one now.
func (a *destination) follow(ctx actor.Context, groups ...string) {
	for _, group := range groups {
		if a.state != registering && a.state != serving {
			return
		}
		if over := a.d.tokens.Follow(group, a.generations[group]); over != nil {
			a.replaced(ctx, group, over)
		}
	}
}

// lost replaces tokens whose keys are gone, by group. The destination takes a key away
// itself with its group, which may be there again by now, with another token.
func (a *destination) lost(ctx actor.Context, gone map[string][]byte) {
	if a.state != serving {
		return
	}
	replace := a.d.tokens.Revoke
	if _, all := gone[links.AllGroups]; all && (len(gone) > 1 || len(a.pipes) == 0) {
		replace = a.d.tokens.Renew
	}
	for group, held := range gone {
		if a.d.tokens.Drew(group, held) {
			a.replaced(ctx, group, replace(group))
		}
	}
}

// replaced has the new token of a group written, and links told of what is over.
func (a *destination) replaced(ctx actor.Context, group string, over []links.Over) {
	a.settle(group)
	for _, o := range over {
		a.tellOver(ctx, group, o)
		if o.Grace > 0 {
			a.host.After(o.Grace, graceOver{group, o.Token})
		}
	}
}

func (a *destination) tellOver(ctx actor.Context, group string, o links.Over) {
	for name, pid := range a.pipes {
		if name == group || group == links.AllGroups {
			supervisor.Notify(ctx, pid, &tokenOver{o})
		}
	}
}

// renewGraces begins those again that an earlier incarnation counted.
func (a *destination) renewGraces() {
	for _, group := range a.d.tokens.Groups() {
		if token := a.d.tokens.Before(group); token != nil {
			a.host.After(links.RenewGrace, graceOver{group, token})
		}
	}
}

// graceOver ends a token that was replaced a while ago, and links that stand on it still.
func (a *destination) graceOver(ctx actor.Context, m graceOver) {
	if a.d.tokens.Expire(m.group, m.token) && a.state == serving {
		a.settle(m.group)
	}
	a.tellOver(ctx, m.group, links.Over{Token: m.token, AtOnce: true})
}

// admits reports whether what a connection was proved by admits still.
func (d *Destination) admits(conn *socket.Conn) bool {
	for _, token := range d.tokens.Admit(conn.Hello().Group) {
		if conn.ProvedBy(token) {
			return true
		}
	}
	return false
}

// expel ends links of a token that is over, and turns away connections that wait for one.
func (p *pipe) expel(ctx actor.Context, m *tokenOver) {
	p.fading = slices.DeleteFunc(p.fading, func(f fading) bool { return bytes.Equal(f.Token, m.Token) })
	if m.Grace > 0 {
		p.fading = append(p.fading, fading{m.Over, time.Now().Add(m.Grace)})
	} else {
		p.turnAway(m.Token)
	}
	for _, pid := range p.links {
		supervisor.Notify(ctx, pid, m)
	}
}

// turnAway refuses connections that wait for a link.
func (p *pipe) turnAway(token []byte) {
	for member, conn := range p.offered {
		if conn.ProvedBy(token) {
			conn.Refuse(pb.Code_BAD_PROOF, noRight)
			delete(p.offered, member)
		}
	}
	kept := p.group.doubted[:0]
	for _, conn := range p.group.doubted {
		if conn.ProvedBy(token) {
			conn.Refuse(pb.Code_BAD_PROOF, noRight)
			continue
		}
		kept = append(kept, conn)
	}
	clear(p.group.doubted[len(kept):])
	p.group.doubted = kept
}

// fade tells a new link that its token was replaced before.
func (p *pipe) fade(ctx actor.Context, pid *actor.PID) {
	for _, f := range p.fading {
		o := f.Over
		o.Grace = max(time.Millisecond, time.Until(f.until))
		supervisor.Notify(ctx, pid, &tokenOver{o})
	}
}

// expel ends the link when its token is over. One that admits for a while yet ends in
// order: the member is asked to finish what it has, at some time in the second quarter of
// that while, so that not all do at once.
func (l *link) expel(ctx actor.Context, m *tokenOver) {
	switch {
	case l.cause != nil || !l.conn.ProvedBy(m.Token):
	case m.AtOnce:
		l.cause = errTokenOver
		ctx.Stop(ctx.Self())
	case m.Grace > 0 && !l.fading:
		l.fading = true
		l.host.After(m.Grace/4+rand.N(m.Grace/4+1), fadeDue{})
	}
}

// fade has the member settle what it has and link again. It does that as one that leaves.
func (l *link) fade() {
	if l.state != linkOpen {
		l.host.After(fadeAgain, fadeDue{})
		return
	}
	l.place.Drained(l.out.Hold(l.pipe, l.place))
}

// fadeAgain is after how long a link is asked to fade that is not open yet.
const fadeAgain = 100 * time.Millisecond
