// Package nanomsg speaks to stock nanomsg peers: nngcat, nanocat, mangos and whatever
// else has the PUSH and PULL sockets of the Scalability Protocols. Their messages are
// bytes: there is no handshake but that of the protocol, no token, no credit and no ack.
//
//	Listen ─▶ Listener.Accept ─▶ Puller     a PULL peer that dialled, to be sent messages
//	Dial ────────────────────▶ Pusher       a PUSH peer that listens, to be read
//
// # Order, back-pressure and end
//
// [Puller.Send] writes messages, each in one frame, and reports how many the system has
// taken whole; what a peer never took whole it never hands out. Nothing is queued here. A
// peer that reads nothing for [StallAfter] gives the rest back, but for the message that
// has begun, which [Puller.Finish] waits with. [Pusher.Recv] returns one message after the
// other; a peer is slowed by not calling it. Close ends a connection at once, from any
// goroutine.
//
// # Strangers
//
// Whoever can connect to a listener gets messages. A connection has HandshakeTimeout for
// the protocol's header and holds one of MaxPending places until then, from which the
// oldest is evicted; after that it holds one of MaxPeers. A PULL peer has nothing to say:
// one that sends a byte is ended. The length that a PUSH peer claims is checked before
// memory is allocated, and memory is allocated as bytes come.
//
// # Why not mangos's sockets
//
// A PUSH socket of mangos counts a message as sent when it is in its queue, and drops it
// when a write fails, so that nobody knows what became of it. Its bytes are the same.
package nanomsg
