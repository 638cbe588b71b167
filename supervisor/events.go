package supervisor

// What supervision tells: to the parent as a message, to the rest on the EventStream.

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Failed is sent to a guarded actor before its policy stops one of its children
// for good. *actor.Terminated follows when the child has stopped.
type Failed struct {
	Who *actor.PID
	Err error
}

// Restarted is published when an actor is given its next incarnation, after its
// delay. With RestForOne and AllForOne there is one for each actor restarted,
// all with the cause of the one that failed. It is also published when a supervisor that
// is not guarded restarts a guarded actor that has not failed.
type Restarted struct {
	Who *actor.PID
	Err error
	// Attempt counts the restarts since the actor was last healthy, from 1.
	Attempt int
	// Delay is how long it waited.
	Delay time.Duration
}

// Stopped is published when a policy stops an actor for good.
type Stopped struct {
	Who *actor.PID
	Err error
}

// Escalated is published when a failure of Who fails its parent. Parent is nil
// at the top, where Who is stopped instead.
type Escalated struct {
	Who    *actor.PID
	Parent *actor.PID
	// Err is the cause, a *BudgetError when restarts were used up.
	Err error
}

// Overdue is published when an actor has not stopped, or not ended its
// incarnation, within its parent's WithStopTimeout. Parent continues without a
// child that is to stop; one that is to restart is waited for all the same.
//
// It is also published when user code that an actor hosts has not returned in
// time, and the actor ends without it: What is the name of that call then.
type Overdue struct {
	Who    *actor.PID
	Parent *actor.PID
	What   string // empty for the actor itself
	After  time.Duration
}

// LifecyclePanic is published when an actor panics while it ends: in Stopping,
// Stopped or Restarting, or in a handler after it was told to stop. The actor
// ends all the same.
type LifecyclePanic struct {
	Who *actor.PID
	Err error
}
