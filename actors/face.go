package actors

// The face for users' own actors: what Engine offers as props.

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/actors/props"
	"github.com/penstock-io/penstock/messages"
)

// Receiver is who gets what a member or subscription hands out: see props.Receiver.
type Receiver = props.Receiver

// Destination describes an actor that registers a sender when it starts: see
// props.Face.Destination. It is to be spawned in the engine's system.
func (e *Engine) Destination(cfg DestinationConfig) *actor.Props { return e.face.Destination(cfg) }

// Member describes an actor that joins a group when it starts and hands what comes to
// a receiver: see props.Face.Member. It is to be spawned in the engine's system.
func (e *Engine) Member(cfg MemberConfig, to Receiver) *actor.Props { return e.face.Member(cfg, to) }

// Producer describes an actor that opens a topic when it starts, to put into it: see
// props.Face.Producer. It is to be spawned in the engine's system.
func (e *Engine) Producer(topic string, ensure *messages.TopicConfig, cfg ProducerConfig) *actor.Props {
	return e.face.Producer(topic, ensure, cfg)
}

// Subscription describes an actor that joins a consumer group when it starts and hands
// records to a receiver: see props.Face.Subscription. It is to be spawned in the engine's
// system.
func (e *Engine) Subscription(topic string, cfg SubscriptionConfig, to Receiver) *actor.Props {
	return e.face.Subscription(topic, cfg, to)
}

// faceEngine is the engine as the face needs it.
type faceEngine struct{ *Engine }

// Call has callbacks called on a goroutine of the engine's.
func (e faceEngine) Call(queue usercode.Callbacks) { e.node.Call(queue) }

// Emit tells an event.
func (e faceEngine) Emit(event messages.Event) { e.node.Events.Emit(event) }
