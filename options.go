package penstock

// Options. Each goes to one call only, and the compiler says so.

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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

// Etcd names etcd's endpoints, each as host:port, http://host:port, https://host:port
// or unix://path. Start needs Etcd or EtcdConfig and refuses other endpoints with
// ErrInvalid.
func Etcd(endpoints ...string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Etcd.Endpoints = endpoints })
}

// EtcdConfig gives the whole configuration of etcd's client: endpoints, TLS, user,
// timeouts. The runtime makes its own clients from it and closes them. Start refuses,
// with ErrInvalid, TLS together with an http:// endpoint, and http:// together with
// https:// endpoints. discovery.TLSFiles puts certificates into a configuration that
// are read again when their files change.
func EtcdConfig(cfg clientv3.Config) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Etcd = cfg })
}

// Prefix sets the prefix of all keys in etcd; /penstock when not given. Runtimes with
// different prefixes do not see each other.
func Prefix(prefix string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Prefix = prefix })
}

// Listen sets the URLs at which this runtime's senders listen, for example
// tcp://:7000-7010?advertise=orders.example.com: a port, a range of ports, or 0 for any
// free port; advertise is the host that members dial, host:port where a port is
// forwarded, or several with commas in between. With advertise=$POD_IP it is the value of
// that environment variable, an address, IPv6 with brackets or without, or several;
// Start returns ErrInvalid when the variable is not set. With tls+tcp:// the links are
// encrypted, which takes LinkTLS. ipc:///run/orders.sock?mode=0660 is a unix socket, and
// inproc://orders the memory of this process: members take them where they can, before
// what goes over a network. ws:// and wss:// are WebSockets, at a path, for example
// ws://:8080/penstock?advertise=wss://orders.example.com/penstock, where advertise is the
// URL of a proxy in front. Of several URLs all are listened at, and a member takes
// the encrypted ones if it can. When not given it is tcp://:0, or tls+tcp://:0 with
// LinkTLS: any free port on every interface, IPv4 and IPv6. Without advertise, an address of each family
// that others can dial is advertised, and looked for again every 2 s; the events
// DestinationRegistered and SenderMoved name them. Nothing listens before the first Register.
func Listen(urls ...string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Listen = strings.Join(urls, " ") })
}

// Zone says where this runtime runs, as a name that all runtimes of a place share: a
// cloud's zone, a rack, a site. penstock ls shows it, and PreferZone goes by it. It has 63
// bytes of printable characters at most, else Start returns ErrInvalid. There is no zone
// when it is not given or empty.
func Zone(name string) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Zone = name })
}

// EtcdQuota is etcd's --quota-backend-bytes, for versions before 3.6, which do not say it;
// without it puts to such an etcd are not slowed before it is full. Where etcd says its
// quota, that holds. A negative one has no puts slowed or refused by this runtime.
func EtcdQuota(bytes int64) StartOption {
	return startOption(func(s *startSettings) { s.cfg.EtcdQuota = bytes })
}

// LeaseTTL is how long etcd keeps this runtime's keys and claims once it no longer
// hears from it: so long it takes until others take over from a process that died. 10 s
// when not given, between 2 s and 1 h.
func LeaseTTL(d time.Duration) StartOption {
	return startOption(func(s *startSettings) { s.cfg.LeaseTTL = d })
}

// CompactHistory has the keeper, while this runtime is that, compact etcd's history: what was
// overwritten or deleted longer than keep ago is forgotten, of all prefixes and programs
// of that etcd. keep is at least five minutes. It is not done when not given: an etcd of
// its own may do so by itself (--auto-compaction-retention; embedded.History), and one
// that is shared has others who decide it. It takes the rights of etcd's root; without
// them the event KeeperRefused says so once.
func CompactHistory(keep time.Duration) StartOption {
	return startOption(func(s *startSettings) { s.cfg.History = keep })
}

// Logger gets a line for each event, runtime_stopped last, before Stop returns. Nothing
// is logged when it is not given.
func Logger(l *slog.Logger) StartOption {
	return startOption(func(s *startSettings) { s.cfg.Logger = l })
}

// ActorSystem lets the runtime's actors live in a system of the caller's, which Stop
// does not shut down. The runtime has a system of its own when it is not given.
func ActorSystem(sys *actor.ActorSystem) StartOption {
	return startOption(func(s *startSettings) { s.system = sys })
}

// ListenOn sets the URLs at which this sender listens, in place of those of Listen, which
// see. Register returns ErrInvalid for an environment variable that is not set.
func ListenOn(urls ...string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Listen = strings.Join(urls, " ") })
}

// SenderID sets the sender's id in the destination; random when not given. Register
// returns ErrTaken when another live process has the id, which shows when that process
// renews its lease. The id of a process that has died is waited for until its lease
// ends or ctx does; the event RegistrationAwaited says so.
func SenderID(id string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.ID = id })
}

// SoleSender refuses other senders of the destination. Register returns
// ErrDestinationTaken when there is another live one, which shows when that one has
// renewed its lease twice; it waits for the lease of one that has died.
func SoleSender() RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.SoleSender = true })
}

// PreferZone sends each message to a member in this runtime's own Zone, as long as one has
// room in its Window. Members elsewhere get only what is above waiting messages in the
// queue of their group; and everything while no member of the zone is linked and reads, or
// while those have taken nothing for a second although something waits. waiting is 0 or
// more, else Register returns ErrInvalid: 0 has nothing wait once the members of the zone
// are full, and 1,000 bridges their pauses. It does nothing in a runtime without Zone, and
// for groups that keep an order (Failover, KeyAffinity). All members are alike when it is
// not given.
func PreferZone(waiting int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.PreferZone, c.FarAbove = true, waiting })
}

// MaxMessageSize limits a message's key, value, and names and values of headers
// together, in bytes, not counting their encoding; an empty header counts one byte. 4
// MiB when not given, at most 64 MiB. Send returns ErrTooLarge for a larger message. A
// message has at most 16,384 headers.
func MaxMessageSize(bytes int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.MaxMessageSize = bytes })
}

// MaxQueue limits what is accepted and not acked, for each group: 65,536 messages and
// 64 MiB when not given. When a group's queue is full its policy decides, see OnFull.
// bytes counts memory and must have room for the largest message encoded: an eighth
// more than MaxMessageSize, and 18 bytes for each header that fits in.
func MaxQueue(count, bytes int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) {
		c.Queue = messages.QueueLimits{Messages: count, Bytes: bytes}
	})
}

// DropWithoutGroup drops and counts what is sent while no group exists. When it is
// not given, Send waits for the first group.
func DropWithoutGroup() RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.DropWithoutGroup = true })
}

// RequireGroups has Send wait until each of these groups has been declared
// (Runtime.DeclareGroup) or joined, so that none of them misses a message, whichever
// process starts first. Register itself waits for none. A group that is removed, by
// DeleteGroup or when its KeepFor is over, is waited for again: what was queued for it is
// dropped, as messages.GroupRemoved says. After a second of waiting the event
// messages.SendBlocked names those that are missing. Register returns ErrInvalid when
// DropWithoutGroup is given as well.
func RequireGroups(groups ...string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Require = append(c.Require, groups...) })
}

// MaxAttempts is after how many failed handlings a message is a dead letter; 16 when
// not given, at most 65,534, -1 for no limit.
func MaxAttempts(n int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.MaxAttempts = n })
}

// MaxDeaths is after how many deaths a message is a dead letter; 16 when not given, at
// most 65,534, -1 for no limit. So a message that kills each process which handles it ends
// as a dead letter. When the link to a member dies, or AckWait expires, each of the first
// Concurrency messages which that member had not settled counts a death. A member that
// leaves, drains or stops counts none.
func MaxDeaths(n int) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.MaxDeaths = n })
}

// RetryDelay spaces the attempts of a failed message: the second waits min, each later
// one twice as long as the one before, at most max. 100 ms and 1 min when not given. A
// handler can ask for another delay, see RetryAfter.
func RetryDelay(min, max time.Duration) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Retry.Min, c.Retry.Max = min, max })
}

// DeadLetters gives the messages that failed MaxAttempts times, that members died over
// MaxDeaths times, or that a member rejected, to take, one at a time for each group; take
// may block, and its ctx ends with the destination or the group. With a nil error the
// message is settled. With an error it is tried again after the longest delay; one that
// was rejected goes to take again then, and to no member. When DeadLetters is not given,
// such messages are tried again at the longest delay, those that were rejected are
// settled, and Parked shows copies of all.
func DeadLetters(take func(context.Context, DeadLetter) error) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.DeadLetter = take })
}

// OnExpired gives the messages that were not handed out before their ExpiresAt to take,
// with bytes of their own, one at a time and once for each group: take may block, which
// holds up nothing but the next calls. While 65,536 messages or 32 MiB wait for it, further
// ones are not given to it, which the event messages.MessagesExpired counts as Untold.
// Unregister and Stop wait for it for 5 s. Whether or not the option is given, PipeStats
// count the messages and the event sums them.
func OnExpired(take func(context.Context, ExpiredMessage)) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Expired = take })
}

// MemberID sets the member's id in its group, of a destination or a topic; random when
// not given. An id that another live process has is ErrTaken, which shows when that
// process renews its lease; one of this runtime is ErrExists and ErrTaken. The id of a
// process that has died is waited for until its lease ends or ctx does; the event
// RegistrationAwaited says so.
func MemberID(id string) MemberOption {
	return MemberOption{func(c *actors.MemberConfig) { c.ID = id }, func(c *actors.SubscriptionConfig) { c.ID = id }}
}

// MemberOption is an option of Runtime.Join, Topic.Subscribe and
// SubscribePartitions.
type MemberOption struct {
	join      func(*actors.MemberConfig)
	subscribe func(*actors.SubscriptionConfig)
}

func (o MemberOption) applyJoin(c *actors.MemberConfig)            { o.join(c) }
func (o MemberOption) applySubscribe(c *actors.SubscriptionConfig) { o.subscribe(c) }

// Window limits how many unsettled messages each sender may have sent to this member;
// 4,096 when not given, at most 1,048,576. A link begins with 64 and doubles that
// whenever its reader has taken all there is, so a slow handler keeps few waiting.
func Window(count int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.Window = count })
}

// WindowBytes limits the window in encoded bytes as well; 8 MiB when not given. The
// last message of a window may exceed it.
func WindowBytes(bytes int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.WindowBytes = bytes })
}

// Concurrency is how many messages or records Consume handles at once, at most 65,536.
//
// Of a member of a pipe it is 1 when not given, which keeps the order of each sender's
// link.
//
// A subscription that is not given it handles the records of a partition one after the
// other. With it, records of all its partitions are handled at once, those of one key one
// after the other in their order; those without a key are in no order. What is finished is
// committed though earlier records are not: a slow record or one that is retried holds up
// those of its key alone, and after a restart only what was not finished is handled again.
// Of one partition at most 1,024 records are in hand, retried, or behind another one of
// their key; then it waits. It is not for ManualCommit, PartitionsAtOnce and batches, and a
// Commit names no records.
func Concurrency(n int) MemberOption {
	return MemberOption{func(c *actors.MemberConfig) { c.Concurrency = n }, func(c *actors.SubscriptionConfig) { c.Concurrency = n }}
}

// AckWait is how long a message may stay unsettled after it was handed out before
// another member gets it as well; 30 s when not given, at least 100 ms, -1 for no
// limit. Delivery.InProgress begins it again. The sender counts too: what a member
// holds for half as long again and two seconds more is taken back from it, and the
// member gets nothing more until it has settled that.
//
// Of a subscription it is for Shared: how long a record may be in hand before another member
// gets it as well, which counts a death, see Record.Deaths. Record.InProgress begins it
// again.
func AckWait(d time.Duration) MemberOption {
	return MemberOption{func(c *actors.MemberConfig) { c.AckWait = d }, func(c *actors.SubscriptionConfig) { c.AckWait = d }}
}

// ReuseBuffers uses the memory of received frames again once their messages are
// settled. It is faster with messages of every size, and most so with those of 16 KiB and
// more: the garbage collector has nothing to do. A delivery's bytes are then valid only
// until it is acked or nacked, however that happens, and a handler that outlives AckWait
// may read bytes of other messages. Clone what is kept longer. Buffers are up to an eighth
// larger than their frames, are shared by all members of the process, and go back after
// two garbage collections in which nobody wanted them.
func ReuseBuffers() JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.ReuseBuffers = true })
}

// ManualAck leaves every ack to the loop's own Ack and Nack. They may come after the
// loop has ended, within AckWait, so that a batch can be taken, written and acked.
func ManualAck() ReadOption {
	return readOption(func(s *readSettings) { s.manual = true })
}
