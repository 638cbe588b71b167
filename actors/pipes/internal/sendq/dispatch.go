package sendq

// Who gets the next batch, and how much of it: work goes where credit is.
// Pure; the queue asks under its lock and performs what is decided.

// linkPhase says what a link's writer is doing. It is read for each message.
type linkPhase uint8

const (
	linkWriting linkPhase = iota // in a socket write, or not begun
	linkWaiting                  // asleep until its bell rings
	linkRung                     // on its way to the queue
	linkClosed                   // takes nothing any more
)

// offer is what the dispatcher knows of a link.
type offer struct {
	phase        linkPhase
	freeMessages uint64 // credit not used
	freeBytes    uint64
	served       uint64 // when it last got a batch, in batches of the pipe
}

// can reports whether the link may carry at least one message. As long as a byte
// of credit is left that may be one of any legal size: the last message of a
// window may overshoot it, and a large one is never stuck.
func (o offer) can() bool {
	return o.phase != linkClosed && o.freeMessages > 0 && o.freeBytes > 0
}

// freest returns the index of the link with most free credit among those that
// could come for a batch now, or -1. Ties go to the link that asks, then to the
// one that has waited longest, so that single messages go round.
func freest(links []offer, asking int) int {
	best := -1
	for i, o := range links {
		if !o.can() || (o.phase == linkWriting && i != asking) {
			continue
		}
		switch {
		case best < 0, o.freeMessages > links[best].freeMessages:
			best = i
		case o.freeMessages == links[best].freeMessages && best != asking && (i == asking || o.served < links[best].served):
			best = i
		}
	}
	return best
}

// share returns how many records of the queue's front span a link takes: what
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
