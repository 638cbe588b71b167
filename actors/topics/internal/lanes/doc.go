// Package lanes decides which records of one partition may be handled at the same time,
// and knows which of them are finished though earlier ones are not.
//
// A [Window] takes the records of a partition in, in their order. The records of one key
// are in one lane: the first of them can be handed out, the others are parked behind it
// until it is finished. Records without a key are in a lane of their own each. What
// failed rests in its lane until its delay is over, and holds up nothing else.
//
// It promises:
//
//   - Of one lane at most one record is handed out at a time, and they are handed out in
//     their order, none is skipped, and none comes twice unless it was given back.
//   - At most the number of records given to [New] is taken in and not finished.
//     Everything else that it knows is bounded by that, so [Window.Progress] is, too.
//   - What [Window.Progress] returns, given to a new window, hands out exactly what this
//     one has not finished.
//
// It knows no time but what it is told, and is for one goroutine at a time.
package lanes
