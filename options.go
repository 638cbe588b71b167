package penstock

// Options. Each goes to one call only, and the compiler says so.

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// StartOption is an option of Start.
type StartOption interface{ applyStart(*startSettings) }

// RegisterOption is an option of Runtime.Register.
type RegisterOption interface {
	applyRegister(*actors.DestinationConfig)
}

// JoinOption is an option of Runtime.Join.
type JoinOption interface{ applyJoin(*actors.MemberConfig) }

// ReadOption is an option of Member.Messages.
type ReadOption interface{ applyRead(*readSettings) }

// optionsGiven refuses an option that is nil.
func optionsGiven[O any](opts []O) error {
	for i, o := range opts {
		if any(o) == nil {
			return fmt.Errorf("option %d of %d is nil: %w", i+1, len(opts), ErrInvalid)
		}
	}
	return nil
}

type startSettings struct {
	system      *actor.ActorSystem
	cfg         actors.Config
	diagnostics string
}

type readSettings struct{ manual bool }

type (
	startOption    func(*startSettings)
	registerOption func(*actors.DestinationConfig)
	joinOption     func(*actors.MemberConfig)
	readOption     func(*readSettings)
)

func (o startOption) applyStart(s *startSettings)                  { o(s) }
func (o registerOption) applyRegister(c *actors.DestinationConfig) { o(c) }
func (o joinOption) applyJoin(c *actors.MemberConfig)              { o(c) }
func (o readOption) applyRead(s *readSettings)                     { o(s) }

// Etcd names etcd's endpoints, as host:port, http(s)://host:port or unix://path.
// Start refuses any other with ErrInvalid.
func Etcd(endpoints ...string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Etcd.Endpoints = endpoints })
}

// EtcdConfig gives the whole client configuration: TLS, user, timeouts. The
// runtime makes clients of its own from it and closes them. Start refuses TLS
// together with an http:// endpoint, and endpoints of both kinds, with
// ErrInvalid. discovery.TLSFiles puts certificates into cfg that are read again
// when they are renewed.
func EtcdConfig(cfg clientv3.Config) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Etcd = cfg })
}

// Prefix puts every key under another namespace than /penstock.
func Prefix(prefix string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Prefix = prefix })
}

// Listen says where this runtime's senders listen, for example
// tcp://:7000-7010?advertise=orders.example.com. The default is any
// free port on every interface, IPv4 and IPv6 (tcp://:0). What is advertised then is an
// address of each family that others can dial; DestinationRegistered and SenderMoved
// have them. Nothing listens before the first Register.
func Listen(url string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Listen = url })
}

// LeaseTTL is how long etcd keeps this process's keys after it falls silent;
// 10 s when not given, at least 2 s.
func LeaseTTL(d time.Duration) StartOption {
	return startOption(func(s *startSettings) { s.cfg.LeaseTTL = d })
}

// Logger gets a line for each event. Without it nothing is logged.
func Logger(l *slog.Logger) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Logger = l })
}

// ActorSystem makes the runtime live in a system of yours, which it does not
// shut down. Without it the runtime has its own.
func ActorSystem(sys *actor.ActorSystem) StartOption {
	return startOption(func(s *startSettings) { s.system = sys })
}

// ListenOn overrides Listen for one destination.
func ListenOn(url string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Listen = url })
}

// SenderID fixes the sender's id in the destination; random when not given. An
// id that a live other process holds is ErrTaken, told when its lease is seen to be
// renewed. One that a process held which has ended is waited for, as long as its
// lease stands or ctx lasts: messages.RegistrationAwaited.
func SenderID(id string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.ID = id })
}

// SoleSender refuses other senders of the destination, and is refused where
// there are any that live: ErrDestinationTaken. Register waits for the lease of one
// that was killed; that a holder lives shows when it has renewed its lease twice.
func SoleSender() RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.SoleSender = true })
}

// MaxMessageSize bounds a message's key, value, and names and values of headers
// together, in bytes, without what their encoding takes; an empty header counts one
// byte. 4 MiB when not given, 64 MiB at most. A message has 16,384 headers at most.
func MaxMessageSize(bytes int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.MaxMessageSize = bytes })
}

// MaxQueue bounds what is accepted and not acked, for each group: 65,536
// messages and 64 MiB when not given. The bytes are those that messages take in
// memory, encoded, and must have room for the largest message: an eighth more than
// MaxMessageSize and 18 bytes for each header that it can have.
func MaxQueue(count, bytes int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) {
		c.Queue = messages.QueueLimits{Messages: count, Bytes: bytes}
	})
}

// DropWithoutGroup drops, and counts, what is sent while no group exists.
// Without it Send waits for the first group.
func DropWithoutGroup() RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.DropWithoutGroup = true })
}

// MaxAttempts is how many failed handlings make a message a dead letter; 16
// when not given, -1 for no limit.
func MaxAttempts(n int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.MaxAttempts = n })
}

// RetryDelay spaces the attempts of a failed message: the first waits min,
// each later one twice as long, at most max. 100 ms and 1 min when not given.
func RetryDelay(min, max time.Duration) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Retry.Min, c.Retry.Max = min, max })
}

// DeadLetters takes the messages that used up their attempts, one at a time
// for each group. An error keeps the message, to be tried again.
func DeadLetters(take func(context.Context, DeadLetter) error) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.DeadLetter = take })
}

// InMode says what the group promises; AtLeastOnce when not given.
func InMode(m Mode) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.Mode = messages.Mode(m) })
}

// OnFull says what the group does to Send when it is full; QueueBlock when not
// given.
func OnFull(p QueuePolicy) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.Policy = messages.QueuePolicy(p) })
}

// KeepFor is how long the group outlives its last member, with what is queued
// for it; 1 min when not given, at least 1 s, or Forever. etcd counts it, in whole
// seconds and from 2 s on (more where its election timeout is longer), rounded
// up. A group whose members died without leaving may live longer, by half of
// KeepFor or the LeaseTTL.
func KeepFor(d time.Duration) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.KeepFor = d })
}

// MemberID fixes the member's id in its group, of a destination or a topic;
// random when not given. An id that a live other process holds is ErrTaken, told
// when its lease is seen to be renewed; one that this runtime has, or has not quite
// left, is ErrExists and ErrTaken. One that a process held which has ended is waited
// for, as long as its lease stands or ctx lasts: messages.RegistrationAwaited.
func MemberID(id string) MemberOption { return MemberOption{id} }

// MemberOption is an option of Runtime.Join, Topic.Subscribe and
// SubscribePartitions.
type MemberOption struct{ id string }

func (o MemberOption) applyJoin(c *actors.MemberConfig)            { c.ID = o.id }
func (o MemberOption) applySubscribe(c *actors.SubscriptionConfig) { c.ID = o.id }

// Window is how many messages each sender may have out to this member at once,
// at most; 4,096 when not given. A link begins with 64 and doubles that whenever
// its reader has taken all there is, so a slow handler keeps few waiting.
func Window(count int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.Window = count })
}

// WindowBytes bounds the window in bytes too; 8 MiB when not given. The last
// message of a window may overshoot it.
func WindowBytes(bytes int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.WindowBytes = bytes })
}

// Concurrency is how many messages Consume handles at once; 1 when not given,
// which keeps the order of each sender's link.
func Concurrency(n int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.Concurrency = n })
}

// AckWait is how long a message may stay unsettled, once it was handed out, before
// another member gets it too; 30 s when not given, -1 for no limit. Delivery.InProgress
// renews it. The sender keeps it as well: what a member holds for half as long again
// and two seconds more is taken back from it, and it gets nothing until it has
// settled that.
func AckWait(d time.Duration) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.AckWait = d })
}

// ReuseBuffers uses the memory of received frames again once their messages are
// settled. It is faster with small messages and gives up a safety: a delivery's
// bytes are valid only until it is acked or nacked, by whatever way. Clone what
// is kept longer.
func ReuseBuffers() JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.ReuseBuffers = true })
}

// ManualAck leaves every ack to the loop's own Ack and Nack. They may come after the
// loop has ended, within AckWait: so a batch can be taken, written out and acked.
func ManualAck() ReadOption {
	return readOption(func(s *readSettings) { s.manual = true })
}
