package topics

// The settings of producers and resets.

import (
	"cmp"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/topics/internal/keeper"
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/messages"
)

// DefaultMaxBuffer is ProducerConfig's, in bytes.
const DefaultMaxBuffer = 32 << 20

// LeastHistory is the least that a keeper leaves of etcd's history.
const LeastHistory = keeper.LeastHistory

// ProducerConfig is how a topic's handle puts: the options of penstock.Runtime.Topic.
// The zero value is good.
type ProducerConfig struct {
	// Partitioner is penstock.PartitionBy. Default ByKey.
	Partitioner Partitioner
	// MaxBuffer is penstock.MaxBuffer, at least messages.MaxRecordBytes. Default
	// DefaultMaxBuffer.
	MaxBuffer int
	// Use is penstock.UseSend.
	Use []func(next messages.Send) messages.Send
}

// EnsureDefaults fills what is zero.
func (c *ProducerConfig) EnsureDefaults() {
	if c.Partitioner == nil {
		c.Partitioner = ByKey()
	}
	c.MaxBuffer = cmp.Or(c.MaxBuffer, DefaultMaxBuffer)
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *ProducerConfig) Validate() error {
	var faults node.Faults
	if !produce.Chooses(c.Partitioner) {
		faults.Add("the function that chooses partitions is nil")
	}
	if c.MaxBuffer < messages.MaxRecordBytes {
		faults.Add("max buffer of %d bytes: it must hold the largest record, %d bytes", c.MaxBuffer, messages.MaxRecordBytes)
	}
	faults.Join(chain.Check(c.Use))
	return faults.Err()
}

// ResetConfig holds the options of penstock.Runtime.ResetOffsets.
type ResetConfig struct {
	// Partitions are penstock.OnlyPartitions; nil for all.
	Partitions []int
	// DryRun is penstock.DryRun.
	DryRun bool
	// Force is penstock.Force.
	Force bool
}
