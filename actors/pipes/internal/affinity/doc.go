// Package affinity decides which member gets the messages of a key, and when.
//
// A [Table] has what waits of one sender for one group. The messages of a key are in a lane,
// in their order. A lane belongs to one of the members that are in, by rendezvous hashing:
// who comes takes an even part of the keys of each other member and no more keys move, and
// the keys of who goes spread evenly over the others. Of a lane one message at a time is out, so
// that nothing is behind it when it is given back.
//
// It promises:
//
//   - Of a lane nothing is taken while a message of it is out or rests, and then the one
//     with the lowest sequence.
//   - A lane that has to wait holds up no other one.
//   - A lane goes to another member only while nothing of it is out.
//   - All senders find the same member for a key, as long as they see the same members.
//
// A call costs the same however many messages, keys and members there are, but for Join,
// Leave and Look, which look at each key, and Sift and Clear, which look at each message.
//
// The package is pure, and a Table is for one goroutine at a time.
package affinity
