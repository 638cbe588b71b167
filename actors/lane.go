package actors

// The sending half of one link: credit, what is out, and the writer's bell.
// Guarded by the outlet's lock, but for the bell.

// lane is a link's place in its pipe.
type lane struct {
	member      string
	phase       lanePhase
	concurrency int    // messages the member handles at once
	sent        uint64 // link sequence of the last message sent
	sentBytes   uint64
	served      uint64 // the pipe's count of batches when it got its last one
	window      uint64 // messages that the member may allow ahead of what was sent
	credit      uint64 // absolute: messages the member allows on this link
	creditBytes uint64
	out         flight
	writing     *chunk        // pinned while the writer is in the socket
	bell        chan struct{} // wakes the writer; holds one ring
	drain       chan uint64   // for the writer to say: the last sequence, once the member leaves
	granted     uint64        // the highest credit in messages that the member has said
	grantedSize uint64        // and in bytes
	draining    bool          // the member leaves: send no more
	tenure      tenure        // what is out, in time
}

func newLane(member string, concurrency int) *lane {
	return &lane{member: member, window: LargestWindow, phase: laneWriting, concurrency: max(1, concurrency), bell: make(chan struct{}, 1), drain: make(chan uint64, 1)}
}

func (l *lane) offer() offer {
	o := offer{phase: l.phase, served: l.served}
	if l.draining || l.tenure.standing == laneHung {
		return offer{phase: laneClosed}
	}
	if l.credit > l.sent {
		o.freeMessages = l.credit - l.sent
	}
	if l.tenure.standing == laneTried {
		o.freeMessages = min(o.freeMessages, l.onTrial())
	}
	if l.creditBytes > l.sentBytes {
		o.freeBytes = l.creditBytes - l.sentBytes
	}
	return o
}

// drained has the writer say which sequence is the last. Who asks again before it
// has is answered once.
func (l *lane) drained(last uint64) {
	select {
	case l.drain <- last:
	default:
	}
}

// ring wakes the writer. It never blocks.
func (l *lane) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}
