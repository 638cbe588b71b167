// Package members is the receiving side of pipes.
//
// A member has a place in a group and a link to each sender of its destination. It
// grants each link credit, and gives back what it does not handle: a message that
// is in hand for longer than AckWait, or that nobody reads, goes to another member.
//
//	engine
//	└── member/<dest>/<group>   writes the member's key, watches the senders
//	    ├── link/<id>           dials one sender, acks what is settled
//	    └── handler             one worker of Consume
//
// Messages do not pass through mailboxes: a link's reader pushes what comes into
// the member's queue (package recvq), where a loop or the handlers take it. The
// queue outlives the actors around it.
//
// Members, Branch and Held are for the engine, which alone can make them.
package members
