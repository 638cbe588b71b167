// Package pulse tells that a process has ended whose host still answers, in
// milliseconds and without timers, from what its kernel does with its sockets.
//
// A process that is to be watched has a [Listener]. Whoever watches it ([Peer.Watch])
// dials, and keeps the connection, on which nothing is sent. A kernel closes the
// connections of a process that ended, and refuses new ones where it listened. Both
// together, at an address where the process had proved itself before, are evidence.
//
// Nothing else is. A process that was stopped keeps its sockets open. A host that is
// cut off, lost its power or moved says nothing, or refuses what it never took. An
// address that is not what the process thinks it is, behind a translation of addresses
// for one, shows nobody who can prove himself. A name may stand for several hosts: what
// counts is the one where the process was met. What listens there later, garbage or a
// stranger, does not refuse. In all of these cases Watch says nothing, and something
// else has to decide, such as a lease.
//
// Evidence can be wrong all the same: a firewall may close a connection and refuse the
// next one in the name of the host. So what is done about it must be safe against a
// process that lives.
//
// # Handshake
//
//	watcher                               listener
//	  nonce, HMAC(token, "watch" ‖ nonce)  →
//	                                       ←  HMAC(token, "alive" ‖ nonce)
//
// Whoever does not know the token is refused, learns nothing, and cannot stand in for
// the process. The token is 32 random bytes, made by the listener; how watchers get it
// is the caller's to see to. A stranger holds one of 64 places for five seconds at
// most. Nothing is encrypted: somebody on the path can end a connection, and pretend
// that the host refuses another.
package pulse
