package supervisor

import (
	"fmt"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

// Promise: with one shard every process is found, those that were there before
// and those whose names hash to what is negative in 32 bits.
func TestOneShardKeepsEveryProcess(t *testing.T) {
	sys := newSystem()
	registry := sys.ProcessRegistry
	var pids []*actor.PID
	add := func(id string) {
		pid, fresh := registry.Add(make(listener, 1), id)
		if !fresh {
			t.Errorf("%s was there already", id)
		}
		pids = append(pids, pid)
	}
	for i := range 100 {
		add(fmt.Sprintf("before%d", i))
	}
	oneShard(sys)
	for i := range 100 {
		add(fmt.Sprintf("after%d", i))
	}
	for _, pid := range pids {
		if _, ok := registry.Get(pid); !ok {
			t.Errorf("%s is not found", pid.Id)
		}
		registry.Remove(pid)
	}
}
