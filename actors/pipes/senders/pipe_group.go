package senders

// What a pipe does about its group in etcd: whose settings count, who has the
// group's KeepFor counted, and when the pipe is over. etcd removes groups, by
// its own clock; a pipe only finds that out.

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/socket"
)

const (
	// helloAlone is how long a pipe that a Hello made may live before etcd has to
	// have its group.
	helloAlone = 3 * time.Second
	// maxDoubted is how many connections may wait for what etcd says of the
	// group's settings.
	maxDoubted = 64
)

// groupWatch is what a pipe knows of its group, and what it waits for.
type groupWatch struct {
	keys    pipegroup.Keys
	listed  groupListed
	alive   bool                    // somebody was in until the pipe was deserted
	until   time.Time               // the pipe does not end before
	looks   uint64                  // number of the look that counts
	tries   int                     // looks in a row that etcd did not respond to
	forget  func()                  // stops the timer of the next look
	next    *messages.GroupSettings // they count once the links of the old ones are gone
	doubted []*socket.Conn          // of other settings than ours, which etcd is asked for
}

type (
	lookDue struct{ number uint64 }
	// groupLooked is what etcd says of the group.
	groupLooked struct {
		number uint64
		state  pipegroup.State
		err    error
	}
	settingsRead struct {
		meta discovery.KV
		err  error
	}
)

// seen takes in what etcd shows. Its settings count, not those of the Hello
// which may have made the pipe, nor those of a group of this name before.
func (p *pipe) seen(ctx actor.Context, m *groupListed) {
	if !m.reset && m.meta != nil && m.revision < p.group.listed.revision {
		return // older than what was read
	}
	p.group.listed = *m
	p.out.Expect(p.queue, m.members)
	if m.meta != nil {
		p.queue.Shown = true
		p.group.until = time.Time{}
		if s, err := messages.GroupSettingsOf(m.meta.Mode, m.meta.Policy, m.meta.KeepForMs); err == nil {
			p.group.next = &s
			p.change(ctx)
		}
	}
	p.attend(ctx)
	if p.state == deserted && m.meta == nil {
		p.look(0)
	}
}

// change lets new settings count. Links of other settings end first.
func (p *pipe) change(ctx actor.Context) {
	s := p.group.next
	if s == nil || p.state == ended {
		return
	}
	if len(p.links) > 0 && !s.Agrees(p.out.Settings(p.queue)) {
		for _, pid := range p.links {
			ctx.Stop(pid)
		}
		return
	}
	p.group.next = nil
	p.out.Resettle(p.queue, *s)
	for member, conn := range p.offered {
		if _, linked := p.links[member]; !linked {
			delete(p.offered, member)
			p.offer(ctx, conn)
		}
	}
}

// doubt asks etcd before a member is refused for its settings: the watch may be
// late, and a refused member does not come back.
func (p *pipe) doubt(conn *socket.Conn) {
	if len(p.group.doubted) == maxDoubted {
		conn.Refuse(pb.Code_SHUTTING_DOWN, "too many wait for the group's settings")
		return
	}
	p.group.doubted = append(p.group.doubted, conn)
	if len(p.group.doubted) > 1 {
		return // asked already
	}
	p.readSettings()
}

func (p *pipe) readSettings() {
	n, k := p.node, p.group.keys
	supervisor.Call(&p.host, "read settings", func(ctx context.Context) settingsRead {
		meta, _, err := n.Groups.See(ctx, k)
		return settingsRead{meta, err}
	})
}

func (p *pipe) settingsRead(ctx actor.Context, m settingsRead) {
	waiting := p.group.doubted
	p.group.doubted = nil
	if m.err == nil && m.meta.ModRevision != 0 {
		if meta := groupMetaOf(m.meta.Value); meta != nil {
			p.seen(ctx, &groupListed{meta: meta, revision: m.meta.ModRevision, members: p.group.listed.members})
		}
	}
	for _, conn := range waiting {
		hello := conn.Hello()
		theirs, err := messages.GroupSettingsOf(hello.Mode, hello.Policy, messages.KeepForMs(hello.KeepFor))
		ours := p.out.Settings(p.queue)
		if p.group.next != nil {
			ours = *p.group.next
		}
		switch {
		case m.err != nil:
			conn.Refuse(pb.Code_SHUTTING_DOWN, "the group has other settings here, and etcd does not say which are right")
		case err == nil && theirs.Agrees(ours):
			p.offer(ctx, conn)
		default:
			conn.Refuse(pb.Code_MODE_MISMATCH, "the group: "+ours.Differ(theirs).Error())
		}
	}
}

// attend moves between attended and deserted as links and members come and go.
func (p *pipe) attend(ctx actor.Context) {
	want := deserted
	if len(p.links) > 0 || len(p.group.listed.members) > 0 {
		want = attended
	}
	if p.state == ended || want == p.state {
		return
	}
	was := p.state
	p.state = pipeMoves.To(ctx, p.state, want)
	p.stopLooking()
	p.group.tries = 0
	switch {
	case want == deserted:
		p.group.alive = was == attended
		if p.queue.Shown && p.group.listed.meta == nil {
			// etcd has counted for those whom it knew. Here somebody was alive until now.
			p.group.until = time.Now().Add(keptAlone(p.out.Settings(p.queue).KeepFor))
		}
		p.look(0)
	case !p.queue.Shown:
		p.look(helloAlone)
	}
}

// keptAlone is how long a group is kept that etcd has not got any more. One that
// was to be kept forever has nobody there who could remove it.
func keptAlone(keepFor time.Duration) time.Duration {
	if keepFor == messages.Forever {
		return messages.DefaultKeepFor
	}
	return keepFor
}

// look asks etcd about the group after d.
func (p *pipe) look(d time.Duration) {
	p.stopLooking()
	p.group.forget = p.host.After(d, lookDue{p.group.looks})
}

// stopLooking forgets what was asked for.
func (p *pipe) stopLooking() {
	p.group.looks++
	if p.group.forget != nil {
		p.group.forget()
		p.group.forget = nil
	}
}

func (p *pipe) lookNow(m lookDue) {
	if m.number != p.group.looks {
		return
	}
	n, k, alive := p.node, p.group.keys, p.group.alive
	restored := p.group.listed.reset && p.queue.Shown
	meta, orphan := node.Marshal(p.out.Settings(p.queue).Meta()), p.state == deserted
	supervisor.Call(&p.host, "look at the group", func(ctx context.Context) groupLooked {
		if !orphan {
			state, err := groupState(n.Groups.See(ctx, k))
			return groupLooked{m.number, state, err}
		}
		if restored {
			if err := n.Groups.Restore(ctx, k, meta); err != nil {
				return groupLooked{m.number, 0, err}
			}
		}
		state, err := n.Groups.Desert(ctx, k, alive)
		return groupLooked{m.number, state, err}
	})
}

func groupState(meta discovery.KV, members bool, err error) (pipegroup.State, error) {
	switch {
	case members:
		return pipegroup.Attended, err
	case meta.ModRevision == 0:
		return pipegroup.Absent, err
	}
	return pipegroup.Kept, err
}

// looked continues from what etcd says.
func (p *pipe) looked(ctx actor.Context, m groupLooked) {
	if m.number != p.group.looks || p.state == ended {
		return
	}
	if m.err != nil {
		p.look(min(time.Second<<min(p.group.tries, 5), 30*time.Second))
		p.group.tries++
		return
	}
	p.group.tries = 0
	switch {
	case m.state == pipegroup.Absent && (!p.queue.Shown || p.state == deserted && !time.Now().Before(p.group.until)):
		p.end(ctx)
	case m.state == pipegroup.Absent && p.state == deserted:
		p.look(time.Until(p.group.until))
	case m.state == pipegroup.Attended && p.state == deserted, !p.queue.Shown:
		p.look(helloAlone) // the watch is late
	default:
		p.group.alive = false // etcd counts, or it is somebody else's to
	}
}
