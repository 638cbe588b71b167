// Package socket is the wire of pipes: authenticated connections between a
// sender, which listens, and the members of its groups, which dial.
//
// A Conn carries frames: Data towards the member, Ack and Nack back, Drain and
// Bye both ways. Underneath it is a pair of mangos protocols (SP ids PUSH and
// PULL) over a transport of our own, so that the bytes are nanomsg's and the
// port is guarded. Users of this package see neither.
//
// # Handshake
//
//	member                              sender
//	  SP header            ⇄            SP header
//	  Hello                →
//	                       ←            Challenge
//	  Proof                →
//	                                    Accept returns the Conn
//	                       ←            Welcome, sent by Conn.Welcome
//	  Dial returns the Conn
//
// Both sides prove that they hold the destination's token, over both nonces and
// everything the Hello asked for; the sender's proof travels in the Welcome.
// The frames themselves are neither encrypted nor signed: without TLS somebody
// on the path can read them and inject others.
//
// # Strangers
//
// A port is open to everybody. Until Conn.Welcome a connection may send frames
// of 4 KiB at most, has HandshakeTimeout (5 s) in all, and holds one of
// MaxPending (128) places, from which the oldest is evicted. No stranger delays
// another connection, each refusal is counted and reported with its reason, and
// the answer to a wrong token does not say whether the destination exists.
//
// # Order, back-pressure, life and end
//
// Frames arrive in the order in which their Send calls took the connection;
// calls from one goroutine never overtake each other. Nothing is queued here: a
// Send returns when the kernel has the bytes, and blocks while the peer does
// not read. That a Send returned says nothing about the peer; acks do.
//
// Each side sends a beat every second on its own. Any byte that arrives counts
// as life. While Recv runs, a peer that was silent for three beats ends the
// connection with ErrPeerSilent; a connection on which nobody calls Recv does
// not notice.
//
// Close ends everything at once: Recv and every Send return within
// milliseconds, frames in the kernel's buffers may be lost. An error ends the
// connection too; the first cause is kept in Err. There is no reconnecting:
// dialling again, and what to send again, is the caller's decision.
//
// # Whose bytes
//
// SendData takes the records by reference and is done with them when it
// returns. The records in a received Data frame are fresh memory that belongs
// to the caller forever, or what DialConfig.Buffer gave. Slices of numbers inside a Frame are reused by the
// next Recv into that Frame.
package socket
