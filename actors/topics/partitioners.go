package topics

// How a handle chooses partitions, as users name it.

import (
	"github.com/penstock-io/penstock/actors/topics/internal/produce"
	"github.com/penstock-io/penstock/messages"
)

// MaxCallbacksWaiting is how many callbacks of PutAsync can wait in a handle for
// the one before them to return, while more is taken.
const MaxCallbacksWaiting = produce.MaxCallbacksWaiting

// Partitioner is penstock.Partitioner.
type Partitioner = produce.Partitioner

// ByKey is penstock.ByKey.
func ByKey() Partitioner { return produce.ByKey() }

// Sticky is penstock.Sticky.
func Sticky() Partitioner { return produce.Sticky() }

// RoundRobin is penstock.RoundRobin.
func RoundRobin() Partitioner { return produce.RoundRobin() }

// Random is penstock.Random.
func Random() Partitioner { return produce.Random() }

// AsksUser reports whether p calls a function of the user's.
func AsksUser(p Partitioner) bool { return produce.AsksUser(p) }

// Manual is penstock.Manual.
func Manual(choose func(m *messages.Message, partitions int) int) Partitioner {
	return produce.Manual(choose)
}
