package sendq

// The sending half of one link: credit, what is out, and the writer's bell.

// Link is one member's place in its group's queue. The queue's lock guards it, but
// for its channels.
type Link struct {
	// Member is the member's id.
	Member string

	phase       linkPhase
	concurrency int    // messages the member handles at once
	sent        uint64 // link sequence of the last message sent
	sentBytes   uint64
	served      uint64 // the group's count of batches when it got its last one
	window      uint64 // messages that the member may allow ahead of what was sent
	credit      uint64 // absolute: messages the member allows on this link
	creditBytes uint64
	out         inflight
	writing     *chunk        // pinned while the writer is in the socket
	bell        chan struct{} // wakes the writer; holds one ring
	drain       chan uint64   // for the writer to say: the last sequence, once the member leaves
	granted     uint64        // the highest credit in messages that the member has said
	grantedSize uint64        // and in bytes
	draining    bool          // the member leaves: send no more
	tenure      tenure        // what is out, in time
}

// NewLink makes the place of a member that handles concurrency messages at once, at
// least one, and may allow window messages ahead of what was sent. It takes no part
// until Attach.
func NewLink(member string, concurrency int, window uint64) *Link {
	return &Link{
		Member: member, window: window, phase: linkWriting, concurrency: max(1, concurrency),
		bell: make(chan struct{}, 1), drain: make(chan uint64, 1),
	}
}

// Bell rings when the link's writer should ask Next again.
func (l *Link) Bell() <-chan struct{} { return l.bell }

// Drains gives the writer the last sequence of the link, to be said to a member that
// leaves.
func (l *Link) Drains() <-chan uint64 { return l.drain }

// Drained has the writer say which sequence is the last. Who asks again before it
// has gets one reply.
func (l *Link) Drained(last uint64) {
	select {
	case l.drain <- last:
	default:
	}
}

func (l *Link) offer() offer {
	o := offer{phase: l.phase, served: l.served}
	if l.draining || l.tenure.standing == linkHung {
		return offer{phase: linkClosed}
	}
	if l.credit > l.sent {
		o.freeMessages = l.credit - l.sent
	}
	if l.tenure.standing == linkTried {
		o.freeMessages = min(o.freeMessages, l.onTrial())
	}
	if l.creditBytes > l.sentBytes {
		o.freeBytes = l.creditBytes - l.sentBytes
	}
	return o
}

// ring wakes the writer. It never blocks.
func (l *Link) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}
