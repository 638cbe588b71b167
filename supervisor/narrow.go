package supervisor

// proto.actor on 32-bit platforms.

import (
	"strconv"

	"github.com/asynkron/protoactor-go/actor"
)

// Prepare makes sys usable on this platform; Start of a runtime calls it before
// anything lives in sys. proto.actor takes the shard of a name from a hash as an
// int, which is negative for half of all names where an int has 32 bits, and
// panics. With one shard that index is always 0, and the shard is a map in
// shards itself. On 64-bit platforms Prepare does nothing.
func Prepare(sys *actor.ActorSystem) {
	if strconv.IntSize == 32 && len(sys.ProcessRegistry.LocalPIDs.LocalPIDs) > 1 {
		oneShard(sys)
	}
}

// oneShard moves every process into the first shard of the registry.
func oneShard(sys *actor.ActorSystem) {
	shards := sys.ProcessRegistry.LocalPIDs
	for _, s := range shards.LocalPIDs[1:] {
		for id, process := range s.Items() {
			shards.LocalPIDs[0].Set(id, process)
		}
	}
	shards.LocalPIDs = shards.LocalPIDs[:1]
}
