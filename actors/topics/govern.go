package topics

// The actor that looks how full etcd is, of runtimes that use topics.

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/topics/internal/governor"
	"github.com/penstock-io/penstock/actors/topics/internal/quota"
	"github.com/penstock-io/penstock/messages"
)

// Govern has puts slowed, and refused, before etcd reaches its quota: the given one where
// etcd does not say it. A negative one does nothing. It is called once, before anything
// is put.
func (t *Topics) Govern(fixed int64) {
	if fixed >= 0 {
		t.quota, t.env.Gate = fixed, quota.NewGate()
	}
}

// Room is how full etcd is, as far as was looked.
func (t *Topics) Room() messages.EtcdStats {
	if t.env.Gate == nil {
		return messages.EtcdStats{}
	}
	c := t.env.Gate.Counts()
	return messages.EtcdStats{InUse: c.InUse, Size: c.File, Quota: c.Quota, Slowed: c.Waited, Refused: c.Refused}
}

// govern begins the governor with the first topic that is in use.
func (b *Branch) govern(ctx actor.Context) {
	if b.governor == nil && b.topics.env.Gate != nil && len(b.topics.paths) > 0 {
		b.governor = b.topics.env.Spawn(ctx, "governor", "", governor.New(b.topics.env.Node, b.topics.env.Gate, b.topics.quota))
	}
}
