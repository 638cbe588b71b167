package penstock

// Groups of destinations: what is agreed on in each, and how they are made and removed
// without being joined. Then the consumer groups of topics, as administrators see them.

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// GroupOption is an option of Runtime.DeclareGroup, and one of Runtime.Join.
type GroupOption interface {
	JoinOption
	applyGroup(*messages.GroupSettings)
}

type groupOption func(*messages.GroupSettings)

func (o groupOption) applyGroup(s *messages.GroupSettings) { o(s) }

func (o groupOption) applyJoin(c *actors.MemberConfig) {
	s := messages.GroupSettings{Mode: c.Mode, Policy: c.Policy, KeepFor: c.KeepFor}
	o(&s)
	c.Mode, c.Policy, c.KeepFor = s.Mode, s.Policy, s.KeepFor
}

// InMode sets the mode of the group; AtLeastOnce when not given. Join and
// DeclareGroup return ErrGroupMode when the group has another.
func InMode(m Mode) GroupOption {
	return groupOption(func(s *messages.GroupSettings) { s.Mode = m })
}

// OnFull sets what Send does while the group's queue is full; QueueBlock when not
// given. Join and DeclareGroup return ErrGroupMode when the group has another policy.
//
// Given to Register, it is the policy of this sender's queues, for each group and in place
// of the group's own: so no member decides whether a sender waits. PipeStats show the
// policy in force.
func OnFull(p QueuePolicy) FullOption { return FullOption{p} }

// FullOption is an option of Runtime.Register, Join and DeclareGroup.
type FullOption struct{ policy messages.QueuePolicy }

func (o FullOption) applyGroup(s *messages.GroupSettings)      { s.Policy = o.policy }
func (o FullOption) applyJoin(c *actors.MemberConfig)          { c.Policy = o.policy }
func (o FullOption) applyRegister(c *actors.DestinationConfig) { c.Policy = o.policy }

// KeepFor is how long the group outlives its last member, with what is queued for it:
// 1 min when not given, at least 1 s, or Forever. etcd counts it, in whole seconds,
// rounded up, and not less than its shortest lease, usually 2 s. A group whose members
// died may live longer, by half of KeepFor or by the LeaseTTL. The first join or
// declaration decides it.
func KeepFor(d time.Duration) GroupOption {
	return groupOption(func(s *messages.GroupSettings) { s.KeepFor = d })
}

// DeclareGroup makes a group of a destination before its first member: senders keep for
// it what they accept from then on. Neither senders nor members need to be there. Without
// members it lives for its KeepFor, from the declaration, and etcd removes it after that;
// declaring it again before begins the count again. A member that joins keeps it, with the
// same mode and policy, or gets ErrGroupMode. Of a group that is there nothing else is
// changed, whatever KeepFor is given.
//
// A sender that runs hears of the group within moments; when it has accepted messages
// before, messages.GroupBegan says how many. RequireGroups has a sender wait for the
// group.
//
// Errors: ErrGroupMode (the group has another mode or policy), ErrInvalid,
// ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (r *Runtime) DeclareGroup(ctx context.Context, dest, group string, opts ...GroupOption) error {
	if err := optionsGiven(opts); err != nil {
		return fmt.Errorf("declare group %q of %q: %w", group, dest, err)
	}
	var s messages.GroupSettings
	for _, o := range opts {
		o.applyGroup(&s)
	}
	return r.engine.DeclareGroup(ctx, dest, group, s)
}

// DeleteGroup removes a group of a destination that has no members: one that is
// kept Forever, or whose KeepFor is not over. Running senders drop what is queued
// for it and say how much in messages.GroupRemoved; a Send that waits for it
// continues. A sender with a link to a member whose key is gone, because that member
// cannot reach etcd, keeps the queue until the link ends.
//
// Errors: ErrGroupLive (it has members), ErrNoGroup, ErrInvalid, ErrUnavailable,
// ErrDenied, ErrClosed.
func (r *Runtime) DeleteGroup(ctx context.Context, dest, group string) error {
	return r.engine.DeleteGroup(ctx, dest, group)
}

// DestinationInfo is a destination with its senders and groups, as of one revision of
// etcd. There is one for each name that a sender, a group or a member stands under.
//
//	type DestinationInfo struct {
//		Name     string
//		Sole     string // the id of the only sender allowed; empty when others are
//		Senders  []SenderInfo
//		Groups   []PipeGroupInfo
//		Revision int64 // of etcd, at which all of it was read
//		Err      error // nil, or which keys were passed over: ErrCorrupt
//	}
type DestinationInfo = messages.DestinationInfo

// SenderInfo is a process that is registered for a destination.
//
//	type SenderInfo struct {
//		ID      string
//		URLs    []string  // where members find it
//		PlainURLs []string // where stock nanomsg peers find it
//		Identities []string // of which its certificate has one, on encrypted URLs
//		Host    string
//		Since   time.Time // by its own clock
//		Version string    // the release of Penstock that it runs; empty when it was not built from one
//		Level   uint32    // what that release can do on the wire, see docs/upgrading.md
//		Zone    string    // that its runtime was given; empty for none
//	}
type SenderInfo = messages.SenderInfo

// PipeGroupInfo is a group of a destination. Mode and Policy are empty where only members
// or a mark of desertion are left.
//
//	type PipeGroupInfo struct {
//		Name      string
//		Mode      Mode
//		Policy    QueuePolicy
//		KeepFor   time.Duration // or Forever
//		Members   []PipeMemberInfo
//		Deserted  time.Time // since when there is no member, by a host's clock; zero with members, or when kept Forever
//		PausedUntil time.Time // when PauseGroup's pause ends; zero for none
//		KeptUntil time.Time // when etcd removes it if nobody joins; zero as Deserted is, and in a list
//	}
type PipeGroupInfo = messages.PipeGroupInfo

// PipeMemberInfo is a live member of a destination's group.
//
//	type PipeMemberInfo struct {
//		ID, Host string
//		Since    time.Time // by its own clock
//		Window   int
//		TLS      string // of its links: "", "preferred" or "required"
//		Level    uint32 // what its release can do on the wire
//		Zone     string // that its runtime was given; empty for none
//	}
type PipeMemberInfo = messages.PipeMemberInfo

// ListDestinations returns every destination that a sender, a group or a member stands
// under, sorted by name, as of one revision of etcd. Processes that died stand there until
// their lease ends. KeptUntil of groups is not asked for.
//
// Errors: ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (r *Runtime) ListDestinations(ctx context.Context) ([]DestinationInfo, error) {
	return r.engine.ListDestinations(ctx)
}

// DescribeDestination returns one destination as ListDestinations does, and asks etcd
// until when it keeps the groups that have no members.
//
// Errors: ErrNoDestination, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed, and ctx's
// cause.
func (r *Runtime) DescribeDestination(ctx context.Context, name string) (DestinationInfo, error) {
	return r.engine.DescribeDestination(ctx, name)
}

// ListConsumerGroups returns the names of a topic's consumer groups, sorted.
//
// Errors: ErrNoTopic, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) ListConsumerGroups(ctx context.Context, topic string) ([]string, error) {
	return r.engine.ListConsumerGroups(ctx, topic)
}

// DescribeConsumerGroup returns a group's members, offsets and lag as of one revision of etcd,
// also of a group without members.
//
// Errors: ErrNoTopic, ErrNoGroup, ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed.
func (r *Runtime) DescribeConsumerGroup(ctx context.Context, topic, group string) (GroupInfo, error) {
	return r.engine.DescribeConsumerGroup(ctx, topic, group)
}

// DeleteConsumerGroup removes a group of a topic that has no members, with its offsets, in
// one transaction. A subscription of that name afterwards makes another group, which
// begins where its StartAt says.
//
// Errors: ErrGroupLive (it has members), ErrNoTopic, ErrNoGroup, ErrTopicDeleted,
// ErrInvalid, ErrUnavailable, ErrDenied, ErrClosed, and ctx's cause.
func (r *Runtime) DeleteConsumerGroup(ctx context.Context, topic, group string) error {
	return r.engine.DeleteConsumerGroup(ctx, topic, group)
}

// ResetOffsets moves a group's committed offsets to where to says, in all partitions
// or in those of OnlyPartitions, and returns what changed. A group that does not exist
// gets these offsets before its first member; see ListConsumerGroups to refuse it. While a
// member has a claim
// it is refused with ErrGroupLive, unless Force is given: then the claims are revoked
// and the members begin at the new offsets. After ErrUnavailable it may yet be
// applied, but only while none of the keys that it read has been written since.
//
// Errors: ErrNoTopic, ErrNoPartition, ErrGroupLive, ErrOffsetOutOfRange, ErrInvalid,
// ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed.
func (r *Runtime) ResetOffsets(ctx context.Context, topic, group string, to StartAt, opts ...ResetOption) ([]OffsetChange, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("reset offsets of group %s in %q: %w", group, topic, err)
	}
	cfg := actors.ResetConfig{}
	for _, o := range opts {
		o.applyReset(&cfg)
	}
	return r.engine.ResetOffsets(ctx, topic, group, to.at, cfg)
}

// PauseGroup pauses a group of a destination: within a second none of its members hands
// out any more, wherever they run, and those that join meanwhile do not begin. What a
// member has in hand is settled as ever; what it has received and not handed out goes
// back to the senders after a second, without an attempt, and waits there, where MaxQueue
// and OnFull hold. At most once it waits with the member.
//
// The pause is in etcd, so that it outlives whoever began it. etcd ends it, which counts
// from the call to until in whole seconds, rounded up, and not less than its shortest
// lease, usually 2 s; when etcd changes its leader, it may count from the beginning again.
// until must be in the future by the clock of this host, within ten years. A group that is
// paused already gets the new end. DeleteGroup ends the pause, ResumeGroup does; the end
// of the group's KeepFor does not.
//
// Each member emits messages.GroupPaused and GroupResumed.
//
// Errors: ErrNoGroup, ErrInvalid, ErrUnavailable, ErrDenied, ErrNoSpace, ErrClosed, and
// ctx's cause.
func (r *Runtime) PauseGroup(ctx context.Context, dest, group string, until time.Time) error {
	return r.engine.PauseGroup(ctx, dest, group, until)
}

// ResumeGroup ends the pause of a destination's group. Without a pause it does nothing.
//
// Errors: those of PauseGroup.
func (r *Runtime) ResumeGroup(ctx context.Context, dest, group string) error {
	return r.engine.ResumeGroup(ctx, dest, group)
}

// TokenInfo is which tokens the senders of a destination have for one group, without the
// tokens themselves.
//
//	type TokenInfo struct {
//		Group      string        // empty for the tokens that admit to any group
//		Generation uint64        // that senders are to have; 0 before the first rotation
//		Least      uint64        // generations below it are revoked
//		Since      time.Time     // when it was asked for, by the clock of who did; zero before the first rotation
//		Grace      time.Duration // how long the generation before admits beside it
//		Senders    []SenderToken
//	}
type TokenInfo = messages.TokenInfo

// SenderToken is one of the tokens of a TokenInfo.
//
//	type SenderToken struct {
//		Sender     string
//		Generation uint64
//		Two        bool   // a token of the generation Before admits beside it still
//		Before     uint64
//		Since      time.Time // when it was drawn, by the sender's clock; zero of earlier releases
//	}
type SenderToken = messages.SenderToken

// RotateTokens has every sender of a destination replace its token for a group, or with an
// empty group those for each group and the one for all groups. The tokens before admit
// beside the new ones for grace, a minute if it is 0; members link again with the new ones
// meanwhile, when they have settled what they have in hand. Who may not read the new token
// in etcd has no link when grace is over, unless its link rests on the token for all
// groups. Members whose work in hand takes longer than grace lose their link with it: what
// they have not settled is delivered again.
//
// It returns the new generations by group, "" for the token for all groups, and does not
// wait for senders. One that cannot reach etcd obeys when it can again. Senders of releases
// before generations do not obey; see DescribeTokens.
//
// Who asks needs the right to read and write <prefix>/secret/<dest>/<group>/~generation
// and to read <prefix>/dest/<dest>/groups/<group>/meta, and none to read tokens.
//
// Errors: ErrNoGroup, ErrNoDestination, ErrInvalid (a name, or a grace of less than a
// second), ErrUnavailable (it may be done, or for some groups), ErrDenied, ErrNoSpace,
// ErrClosed, and ctx's cause.
func (r *Runtime) RotateTokens(ctx context.Context, dest, group string, grace time.Duration) (map[string]uint64, error) {
	return r.engine.RotateTokens(ctx, dest, group, grace)
}

// RevokeTokens replaces tokens as RotateTokens does, without grace: all links that were made
// with the tokens before end at once, and what their members had in hand is delivered again.
// Links that rest on the token for all groups end when that is revoked, with an empty group.
// Take the right to read the tokens away first: who has it links again.
//
// Errors: those of RotateTokens.
func (r *Runtime) RevokeTokens(ctx context.Context, dest, group string) (map[string]uint64, error) {
	return r.engine.RevokeTokens(ctx, dest, group)
}

// DescribeTokens returns which tokens the senders of a destination have, sorted by group.
// It needs the right to read the tokens, <prefix>/secret/<dest>/, and returns none.
//
// Errors: ErrNoDestination (no sender has a token), ErrInvalid, ErrUnavailable, ErrDenied,
// ErrClosed, and ctx's cause.
func (r *Runtime) DescribeTokens(ctx context.Context, dest string) ([]TokenInfo, error) {
	return r.engine.DescribeTokens(ctx, dest)
}

// PauseConsumerGroup pauses a consumer group of a topic as PauseGroup does one of a
// destination: within a second its members hand out no more records, and fetch none. They
// keep their partitions, and commit what is finished. GroupInfo.PausedUntil says until
// when.
//
// Errors: ErrNoTopic, ErrNoGroup, ErrInvalid, ErrTopicDeleted, ErrUnavailable, ErrDenied,
// ErrNoSpace, ErrClosed, and ctx's cause.
func (r *Runtime) PauseConsumerGroup(ctx context.Context, topic, group string, until time.Time) error {
	return r.engine.PauseConsumerGroup(ctx, topic, group, until)
}

// ResumeConsumerGroup ends the pause of a topic's group. Without a pause it does nothing.
//
// Errors: those of PauseConsumerGroup.
func (r *Runtime) ResumeConsumerGroup(ctx context.Context, topic, group string) error {
	return r.engine.ResumeConsumerGroup(ctx, topic, group)
}
