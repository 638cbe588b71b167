package pipes

// What a runtime has of pipes: its destinations, and its places in groups of
// others.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/discovery/destinations"
	"github.com/penstock-io/penstock/discovery/pipegroup"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/supervisor"
)

// Pipes are the senders and members of a runtime. They outlive the incarnations
// of the engine's actor. Safe for concurrent use.
type Pipes struct {
	node    *node.Node
	senders *senders.Senders
	members *members.Members
}

// Links are what the links of a runtime are made with.
type Links = links.Config

// New makes the pipes of a node, of which there are none yet, with links like those.
func New(n *node.Node, l *Links) *Pipes {
	return &Pipes{node: n, senders: senders.New(n, l), members: members.New(n, l)}
}

// Register is penstock.Runtime.Register.
func (p *Pipes) Register(ctx context.Context, cfg senders.Config) (*senders.Destination, error) {
	return p.senders.Register(ctx, cfg)
}

// Join is penstock.Runtime.Join.
func (p *Pipes) Join(ctx context.Context, cfg members.Config) (*members.Member, error) {
	return p.members.Join(ctx, cfg)
}

// DeclareGroup is penstock.Runtime.DeclareGroup.
func (p *Pipes) DeclareGroup(ctx context.Context, dest, group string, s messages.GroupSettings) error {
	err := p.refuse(ctx, nil)
	if err == nil {
		err = p.members.Declare(ctx, dest, group, s)
	}
	if err != nil {
		return fmt.Errorf("declare group %q of %q: %w", group, dest, err)
	}
	return nil
}

// DeleteGroup is penstock.Runtime.DeleteGroup.
func (p *Pipes) DeleteGroup(ctx context.Context, dest, group string) error {
	err := p.refuse(ctx, errors.Join(keys.ValidateName("destination", dest), keys.ValidateName("group", group)))
	if err == nil {
		err = p.node.Groups.Delete(ctx, pipegroup.At(p.node.Keys, dest, group))
	}
	if err == nil { // where there is no sender, nobody else does; who may not leaves it
		_ = pipegroup.ForgetGeneration(ctx, p.node.Etcd.Control, p.node.Keys, dest, group)
	}
	if err != nil {
		return fmt.Errorf("delete group %q of %q: %w", group, dest, err)
	}
	return nil
}

// ListDestinations is penstock.Runtime.ListDestinations.
func (p *Pipes) ListDestinations(ctx context.Context) ([]messages.DestinationInfo, error) {
	err := p.refuse(ctx, nil)
	var all []messages.DestinationInfo
	if err == nil {
		all, err = destinations.List(ctx, p.node.Etcd.Control, p.node.Keys)
	}
	if err != nil {
		return nil, fmt.Errorf("list destinations: %w", err)
	}
	return all, nil
}

// DescribeDestination is penstock.Runtime.DescribeDestination.
func (p *Pipes) DescribeDestination(ctx context.Context, name string) (messages.DestinationInfo, error) {
	err := p.refuse(ctx, keys.ValidateName("destination", name))
	var d messages.DestinationInfo
	if err == nil {
		d, err = destinations.Describe(ctx, p.node.Etcd.Control, p.node.Keys, name)
	}
	if err != nil {
		return messages.DestinationInfo{}, fmt.Errorf("describe destination %q: %w", name, err)
	}
	return d, nil
}

// PauseGroup is penstock.Runtime.PauseGroup.
func (p *Pipes) PauseGroup(ctx context.Context, dest, group string, until time.Time) error {
	err := p.refuse(ctx, errors.Join(keys.ValidateName("destination", dest), keys.ValidateName("group", group)))
	if err == nil {
		err = pipegroup.Pause(ctx, p.node.Etcd.Control, pipegroup.At(p.node.Keys, dest, group), until)
	}
	if err != nil {
		return fmt.Errorf("pause group %q of %q: %w", group, dest, err)
	}
	return nil
}

// ResumeGroup is penstock.Runtime.ResumeGroup.
func (p *Pipes) ResumeGroup(ctx context.Context, dest, group string) error {
	err := p.refuse(ctx, errors.Join(keys.ValidateName("destination", dest), keys.ValidateName("group", group)))
	if err == nil {
		err = pipegroup.Resume(ctx, p.node.Etcd.Control, pipegroup.At(p.node.Keys, dest, group))
	}
	if err != nil {
		return fmt.Errorf("resume group %q of %q: %w", group, dest, err)
	}
	return nil
}

// RotateTokens is penstock.Runtime.RotateTokens.
func (p *Pipes) RotateTokens(ctx context.Context, dest, group string, grace time.Duration) (map[string]uint64, error) {
	switch {
	case grace == 0:
		grace = messages.DefaultTokenGrace
	case grace < time.Second:
		return nil, fmt.Errorf("rotate the tokens of %q: grace of %s, less than a second: %w", dest, grace, messages.ErrInvalid)
	}
	return p.replaceTokens(ctx, "rotate", dest, group, pipegroup.Rotation{Grace: grace})
}

// RevokeTokens is penstock.Runtime.RevokeTokens.
func (p *Pipes) RevokeTokens(ctx context.Context, dest, group string) (map[string]uint64, error) {
	return p.replaceTokens(ctx, "revoke", dest, group, pipegroup.Rotation{Grace: messages.DefaultTokenGrace, Revoke: true})
}

func (p *Pipes) replaceTokens(ctx context.Context, verb, dest, group string, r pipegroup.Rotation) (done map[string]uint64, err error) {
	faults := keys.ValidateDestination(dest, true)
	if group != pipegroup.AllGroups {
		faults = errors.Join(faults, keys.ValidateName("group", group))
	}
	if err = p.refuse(ctx, faults); err == nil {
		done, err = pipegroup.Rotate(ctx, p.node.Etcd.Control, p.node.Keys, dest, group, r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s the tokens of %q: %w", verb, dest, err)
	}
	return done, nil
}

// DescribeTokens is penstock.Runtime.DescribeTokens.
func (p *Pipes) DescribeTokens(ctx context.Context, dest string) (all []messages.TokenInfo, err error) {
	if err = p.refuse(ctx, keys.ValidateDestination(dest, true)); err == nil {
		all, err = pipegroup.Tokens(ctx, p.node.Etcd.Control, p.node.Keys, dest)
	}
	if err != nil {
		return nil, fmt.Errorf("describe the tokens of %q: %w", dest, err)
	}
	return all, nil
}

// refuse is why a call of etcd is not made: faults of what it was given, or an end.
func (p *Pipes) refuse(ctx context.Context, faults error) error {
	switch err := errors.Join(node.ContextGiven(ctx), faults); {
	case err != nil:
		return err
	case p.node.Stopping():
		return messages.ErrClosed
	}
	return context.Cause(ctx)
}

// Stats reads the counters: a row for each pipe and each member, in no order.
func (p *Pipes) Stats() ([]messages.PipeStats, []messages.MemberStats) {
	return p.senders.Stats(), p.members.Stats()
}

// Note notes how far the pipes are, for Ages. It is called about once a second, as long
// as somebody wants to know ages.
func (p *Pipes) Note(now time.Time) {
	p.senders.Note(now)
	p.members.Note(now)
}

// Ages are of the oldest unsettled messages: of each pipe, and of each member.
func (p *Pipes) Ages(now time.Time) (pipes, members []messages.OldestMessage) {
	return p.senders.Ages(now), p.members.Ages(now)
}

// Held are the destinations and members that Stop ends.
func (p *Pipes) Held(ctx context.Context) (held Held, err error) {
	if held.dests, err = p.senders.Held(ctx); err == nil {
		held.members, err = p.members.Held(ctx)
	}
	return held, err
}

// Held are destinations and members on their way to the end. The zero Held is none.
type Held struct {
	dests   senders.Held
	members members.Held
}

// Refuse takes no more messages.
func (h Held) Refuse() { h.dests.Refuse() }

// Deliver waits until what was accepted is acked, or gives it up when ctx ends.
func (h Held) Deliver(ctx context.Context) []error { return h.dests.Deliver(ctx) }

// Drain has the members finish with what has come, or gives it back when ctx ends.
func (h Held) Drain(ctx context.Context) []error { return h.members.Drain(ctx) }

// Announce tells that all of them have ended.
func (h Held) Announce() {
	h.dests.Announce()
	h.members.Announce()
}

// Close closes the listeners, once the engine's actor is over or late.
func (p *Pipes) Close() { p.senders.Close() }

// DropOrphans has the KeepFor counted of the groups that nobody is in now. revoked
// is what became of the session's lease: with an error etcd has members still, and
// nothing is counted.
func (p *Pipes) DropOrphans(ctx context.Context, revoked error) error {
	for _, g := range p.node.Groups.ReleaseAll() {
		if revoked == nil {
			_, revoked = p.node.Groups.Desert(ctx, g, true)
		}
	}
	return revoked
}

// GaveUp is what destinations gave up without anybody having been told. The
// engine's actor must be over.
func (p *Pipes) GaveUp() []error { return p.senders.GaveUp() }

// Branch is the part of the engine's actor that keeps senders and members.
type Branch struct {
	senders *senders.Branch
	members *members.Branch
}

// Branch makes the part of an incarnation of the engine's actor, whose host h is.
func (p *Pipes) Branch(h *supervisor.Host) *Branch {
	return &Branch{p.senders.Branch(h), p.members.Branch(h)}
}

// Begin begins what an earlier incarnation had.
func (b *Branch) Begin(ctx actor.Context) {
	b.senders.Begin(ctx)
	b.members.Begin(ctx)
}

// Receive handles what is for pipes, and reports whether msg was.
func (b *Branch) Receive(ctx actor.Context, msg any) bool {
	return b.senders.Receive(ctx, msg) || b.members.Receive(ctx, msg)
}

// Terminated hears of a child that has ended, and reports whether it was of pipes.
func (b *Branch) Terminated(ctx actor.Context, who *actor.PID) bool {
	return b.senders.Terminated(ctx, who) || b.members.Terminated(ctx, who)
}

// Failed hears of a child that was given up, and reports whether it was of pipes.
func (b *Branch) Failed(ctx actor.Context, m *supervisor.Failed) bool {
	return b.senders.Failed(ctx, m) || b.members.Failed(ctx, m)
}

// KeyLost ends what has lost its key.
func (b *Branch) KeyLost(ctx actor.Context, k keys.Key, loss node.KeyLoss) {
	b.senders.KeyLost(ctx, k, loss)
	b.members.KeyLost(ctx, k, loss)
}

// LeaseTrusted is nothing to pipes.
func (b *Branch) LeaseTrusted() {}

// End ends what the incarnation has begun.
func (b *Branch) End(ctx actor.Context) { b.senders.End(ctx) }

// Close tells whoever still holds a handle, or waits for one, that it is over.
func (b *Branch) Close(ctx actor.Context) {
	b.senders.Close(ctx)
	b.members.Close(ctx)
}
