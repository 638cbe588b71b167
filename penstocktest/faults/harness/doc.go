// Package harness is what the fault tests stand on, and the root's tests with
// them. It is for tests of this module; users have package penstocktest.
//
//   - Main runs a package's tests on one etcd, and fails when a goroutine is
//     left. RunAsChild is the life of a process that a test starts.
//   - Runtime and OrderlyRuntime start a runtime on that etcd; Register, Join
//     and Send are its calls that must succeed.
//   - Adopt has a child of a user's actor spawned, StopActor ends an actor.
//   - Load sends numbered messages at a steady pace. Ledger is who handled which
//     of them, and how often.
//   - Context, Await, Eventually and Within wait, and none of them without end.
//   - Client, AwaitKeys, OverwriteKey and RemoveKey see and change the keys in
//     etcd.
//
// What takes a *testing.T and fails it must be called from the goroutine that
// runs the test. Ledger and Load are safe for concurrent use.
package harness
