// Package worker has the actors that run a user's functions.
//
//	engine
//	└── member/…, subscription/…
//	    └── handler        one worker of Consume
//	engine-callbacks       calls callbacks, each queue on a goroutine of its own
//
// What a user's function does wrong is a failed message or a failed callback,
// never a failed actor. The actor of callbacks stands beside the engine's, because
// what has to be told at the engine's end is told, too.
package worker
