package penstock

// Topics as children of a user's own actors: what is spawned in place of a call.

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
)

// ProducerProps describes an actor that opens a topic when it starts, as Runtime.Topic
// does with the same options, and closes its handle when it stops. It is to be spawned
// in the system that rt lives in.
//
// The actor takes *Put, *FlushPuts and *CloseProducer, and tells its parent *Opened. When
// it cannot open the topic, or the topic or the runtime ended, it tells its parent
// *supervisor.Failed and stops. The Err is that of Runtime.Topic, or ErrTopicDeleted or
// ErrClosed.
func ProducerProps(rt *Runtime, topic string, opts ...ProducerOption) *actor.Props {
	if err := propsGiven(rt, opts); err != nil {
		return refused(fmt.Errorf("open topic %q: %w", topic, err))
	}
	return rt.engine.Producer(topic, nil, producerConfig(opts))
}

// EnsureProducerProps is ProducerProps that makes the topic first where there is none, as
// EnsureTopic does.
func EnsureProducerProps(rt *Runtime, topic string, cfg TopicConfig, opts ...ProducerOption) *actor.Props {
	if err := propsGiven(rt, opts); err != nil {
		return refused(fmt.Errorf("open topic %q: %w", topic, err))
	}
	return rt.engine.Producer(topic, &cfg, producerConfig(opts))
}

// SubscriptionProps describes an actor that joins a consumer group of a topic when it
// starts, as Topic.Subscribe does with the same options, and leaves when it stops. It
// hands records to a receiver, another actor, as *RecordDelivery or in batches as
// *Records. The receiver settles each with Ack or another verb, on any goroutine; it has one of a
// partition in hand, of as many partitions at once as PartitionsAtOnce says. It is to be
// spawned in the system that rt lives in.
//
// The actor takes *Leave, *Pause and *Resume, and tells its parent *Subscribed, *Assigned,
// *Revoking and *Lost. When it cannot subscribe, or the subscription or the receiver ended,
// it tells its parent *supervisor.Failed and stops. The Err is that of Runtime.Topic and
// Topic.Subscribe, or ErrClosed with the cause.
func SubscriptionProps(rt *Runtime, topic, group string, to Receiver, opts ...SubscribeOption) *actor.Props {
	return subscriptionProps(rt, topic, group, nil, to, opts)
}

// SubscriptionPartitionsProps is SubscriptionProps for a group whose members name their
// partitions, as Topic.SubscribePartitions does.
func SubscriptionPartitionsProps(rt *Runtime, topic, group string, partitions []int, to Receiver, opts ...SubscribeOption) *actor.Props {
	if partitions == nil {
		partitions = []int{}
	}
	return subscriptionProps(rt, topic, group, partitions, to, opts)
}

func subscriptionProps(rt *Runtime, topic, group string, partitions []int, to Receiver, opts []SubscribeOption) *actor.Props {
	if err := propsGiven(rt, opts); err != nil {
		return refused(fmt.Errorf("subscribe %q to %q: %w", group, topic, err))
	}
	cfg := actors.SubscriptionConfig{Group: group, Partitions: partitions}
	for _, o := range opts {
		o.applySubscribe(&cfg)
	}
	return rt.engine.Subscription(topic, cfg, to)
}
