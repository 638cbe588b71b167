package actors

// Who gets the next batch, and how much of it: work goes where credit is.
// Pure; the outlet asks under its lock and performs the answer.

// lanePhase says what a link's writer is doing. It is read for each message.
type lanePhase uint8

const (
	laneWriting lanePhase = iota // in a socket write, or not begun
	laneWaiting                  // asleep until its bell rings
	laneRung                     // on its way to the queue
	laneClosed                   // takes nothing any more
)

// offer is what the dispatcher knows of a lane.
type offer struct {
	phase        lanePhase
	freeMessages uint64 // credit not used
	freeBytes    uint64
	served       uint64 // when it last got a batch, in batches of the pipe
}

// can tells whether the lane may carry at least one message. As long as a byte
// of credit is left that may be one of any legal size: the last message of a
// window may overshoot it, and a large one is never stuck.
func (o offer) can() bool {
	return o.phase != laneClosed && o.freeMessages > 0 && o.freeBytes > 0
}

// freest answers the index of the lane with most free credit among those that
// could come for a batch now, or -1. Ties go to the lane that asks, then to the
// one that has waited longest, so that single messages go round.
func freest(lanes []offer, asking int) int {
	best := -1
	for i, o := range lanes {
		if !o.can() || (o.phase == laneWriting && i != asking) {
			continue
		}
		switch {
		case best < 0, o.freeMessages > lanes[best].freeMessages:
			best = i
		case o.freeMessages == lanes[best].freeMessages && best != asking && (i == asking || o.served < lanes[best].served):
			best = i
		}
	}
	return best
}

// share answers how many records of the queue's front span a lane takes: what
// its credit allows, and no more than its part when others could carry too.
func share(front span, queued, others int, o offer) int {
	n := front.len()
	if part := (queued + others) / (others + 1); n > part {
		n = part
	}
	if uint64(n) > o.freeMessages {
		n = int(o.freeMessages)
	}
	head, _ := front.cut(n)
	return max(1, head.within(o.freeBytes))
}
