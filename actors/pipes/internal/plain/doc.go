// Package plain has the actors around stock nanomsg peers, which know nothing but bytes:
// the pipe of a destination's plain listener, with a link for each PULL peer that has
// dialled it, and the link of a member to a PUSH peer that it dials.
//
//	dest/<name>
//	└── plain               accepts peers; the queue of all of them, from the first until KeepFor after the last
//	    └── peer/<address>  writes messages to one peer
//	member/<dest>/<group>
//	└── plain/<url>         dials, reads, hands over; restarted until the member leaves
//
// A peer gives no sign of what becomes of a message. So an outlet settles a message when
// it is written whole, and an inlet's deliveries are never sent again.
package plain
