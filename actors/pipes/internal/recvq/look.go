package recvq

// What a member's queue shows to whoever looks.

// LinkLook is one link, as of one moment.
type LinkLook struct {
	Waiting int // messages that have come and were not handed out
	InHand  int // handed out, and not settled
	Credit  int // messages more that the sender may send
}

// Look returns how a link stands.
func (l *Link) Look() LinkLook {
	l.mu.Lock()
	defer l.mu.Unlock()
	look := LinkLook{Waiting: int(l.received - l.handed)}
	if l.handed > l.acks.Count {
		look.InHand = int(l.handed - l.acks.Count)
	}
	if l.allowed == creditGranted && l.credit > l.received {
		look.Credit = int(l.credit - l.received)
	}
	return look
}
