// Package pipes has the senders and the members of a runtime: a pipe carries
// messages from a sender directly to the members of groups.
//
// Pipes joins the two ends, which do not know each other: package senders
// registers destinations and sends, package members joins groups and reads. Etcd
// has their addresses, and a link connects one of each.
//
//	engine
//	├── listener                accepts members
//	├── dest/<name>             a sender
//	│   └── pipe/<group>
//	│       └── link/<member>
//	└── member/<dest>/<group>   a place in a group
//	    └── link/<sender>
//
// Pipes, Branch and Held are for the engine, which alone can make them.
package pipes
