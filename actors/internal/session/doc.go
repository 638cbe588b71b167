// Package session is the actor that keeps a runtime's lease and the keys under it.
//
//	engine
//	└── session            one etcd lease; keys that vanish are put back
//
// It alone writes Node.Lease and Node.Trusted. A lost lease is a fact and no
// failure: links, members and puts continue, and the registry gets the next lease.
package session
