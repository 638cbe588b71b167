// Package penstock carries messages between services. Services embed the runtime,
// and the only server is etcd. There are two ways:
//
// Pipes carry messages from the memory of the services that send them to the
// services that handle them, over sockets between the two.
//
//	rt, err := penstock.Start(ctx, penstock.Etcd("127.0.0.1:2379"))
//	orders, err := rt.Register(ctx, "orders")
//	err = orders.Send(ctx, penstock.Message{Key: id, Value: body})
//
// and, in another process,
//
//	billing, err := rt.Join(ctx, "orders", "billing")
//	err = billing.Consume(ctx, func(ctx context.Context, msg penstock.Delivery) error {
//		return bill(msg.Value)
//	})
//
// Topics are durable, partitioned logs in etcd, read by consumer groups.
//
//	audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{Partitions: 8})
//	partition, offset, err := audit.Put(ctx, penstock.Message{Key: id, Value: body})
//
//	export, err := audit.Subscribe(ctx, "export")
//	for rec, err := range export.Records(ctx) {
//		...
//	}
//
// # Pipes
//
// A destination is a named stream that senders feed. Every group of it gets every
// message, and one member of the group handles it. A nil error from Send means that
// the message is queued in the sender's memory for every group. In a group of mode
// AtLeastOnce a message is settled by its ack; what a member has not acked when it
// fails goes to another one, so handlers see duplicates. In a group of mode
// AtMostOnce it is settled when it is written to a link. When the sender's process
// dies, what is queued in it is lost; Flush, Unregister and Stop wait for the acks.
// Order is kept on each link, between one sender and one member.
//
// A member grants its senders credit, see Window. What has no credit waits in the
// sender, see MaxQueue; when that is full, the group's QueuePolicy decides. No
// message is dropped silently: each drop, redelivery and restart is an Event and a
// counter.
//
// # Topics
//
// Put returns when etcd has committed the record. Records of one key go to one
// partition, whose records have offsets without gaps and one owner in each consumer
// group at a time. What an owner has finished is committed; when it dies, another
// member begins at the last commit. An owner that lost its partition cannot commit
// any more (ErrFenced), and Record.Fence protects other stores from it. Records are
// kept until DeleteTopic.
//
// # Failures and ends
//
// A handler that returns an error or panics makes its message or record be tried
// again, see RetryDelay, DeadLetters, RecordRetry and RecordDeadLetters. While etcd
// is away pipes work as they stand, puts and commits wait, and other calls return
// ErrUnavailable. Unregister, Leave, Unsubscribe and Stop drain until their context
// ends; in a function that they would wait for they return ErrBusy. Every call that
// blocks takes a context and returns soon after it ends.
//
// # Middleware
//
// Functions can be put around handlers, see Use and UseRecords, and around sends and puts,
// see UseSend. Recover, Timeout and Throttle are there. Tracing makes spans of
// OpenTelemetry and carries them along with messages.
//
// # Actors
//
// Services made of actors of proto.actor can have a runtime in their own system, see
// ActorSystem, and what it has as children of their own actors: DestinationProps,
// MemberProps, ProducerProps and SubscriptionProps take the options of the calls and keep
// the same promises.
//
// # Bytes
//
// Send and the puts copy a message's bytes. The bytes of a Delivery or a Record stay
// valid without end and keep in memory the frame or batch that they came in; Clone
// frees it. Those of a Record may be shared: do not write to them.
//
// # Security
//
// Rights on etcd's keys decide who connects, puts, reads and manages. Links are
// encrypted and both ends proved with LinkTLS and RequireTLS, and otherwise neither
// encrypted nor signed.
//
// # More
//
// The folder docs of the repository has a page for each task: tour.md, pipes.md,
// plain.md, order.md, topics.md, shared-groups.md, delays.md, retention.md, compaction.md, tables.md, schedules.md,
// transactions.md, request.md, typed.md, middleware.md, actors.md, deploying.md, kubernetes.md,
// upgrading.md, shutting-down.md, metrics.md (events too),
// backup.md, security.md, tls.md, transports.md, websocket.md, limits.md, speed.md, failures.md, testing.md,
// coming-from.md (from NATS, Kafka or Akka) and old-designs.md. Package actors is the same runtime for
// code that works with actors, messages has the kinds of events, and penstocktest
// and discovery/embedded are for tests.
package penstock
