package topics

// How a handle chooses partitions, as users name it.

import (
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/messages"
)

// MaxCallbacksWaiting is how many callbacks of PutAsync can wait in a handle for
// the one before them to return, while more is taken.
const MaxCallbacksWaiting = produce.MaxCallbacksWaiting

// Partitioner chooses the partition of each message that is put without naming
// one. It says how, and may be given to any number of handles: what it remembers
// from message to message is each handle's own. ByKey, Sticky, RoundRobin,
// Random and Manual make one.
type Partitioner = produce.Partitioner

// ByKey puts messages of one key into one partition, as Kafka's Java client does:
// by murmur2 of the key over the number of partitions. So records of one key
// change their partition when the topic gets more of them. Messages without a
// key go where Sticky would put them.
func ByKey() Partitioner { return produce.ByKey() }

// Sticky stays with a partition until a batch of it is on its way, and then
// takes the one with the fewest bytes waiting. It makes the largest batches.
func Sticky() Partitioner { return produce.Sticky() }

// RoundRobin takes the partitions in turn.
func RoundRobin() Partitioner { return produce.RoundRobin() }

// Random takes any partition, each as likely as the others.
func Random() Partitioner { return produce.Random() }

// Manual asks choose for each message, on the goroutine that puts it; choose
// must be safe for concurrent use and must not change the message. A number
// that is no partition of the topic fails the message with
// messages.ErrNoPartition.
func Manual(choose func(m *messages.Message, partitions int) int) Partitioner {
	return produce.Manual(choose)
}
