// Package node is what an engine gives to the halves of its tree.
//
// Node holds the actor system, the clients of etcd, the registry of leased keys,
// the bus of events and the lease, and makes the names of actors. It knows of no
// pipe and no topic. The package also has what both halves do with their keys in
// etcd: KeyWrite writes them and can be cut short, KeyWait waits for an id that a
// process held which has ended, Removal and Withdraw take them away, and
// Placement is a handle with its actor.
package node
