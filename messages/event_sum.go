package messages

// Sums: events that can happen once for each message. A runtime counts them at
// once and emits the first, then sums of what came meanwhile, a few times a second,
// so that a flood of them does not push other events out.

// SumKey says which events are added up in one.
type SumKey struct{ Name, Where, Group, Why string }

// summed is an event that is emitted in sums. Its Count says how many it stands for;
// its other fields are those of the newest.
type summed interface {
	Event
	// sum names what is added up.
	sum() SumKey
	// plus is the sum of this event and an older one of the same SumKey.
	plus(older Event) Event
}

// SumKeyOf returns what e is summed by. It is false for an event that is emitted by
// itself.
func SumKeyOf(e Event) (SumKey, bool) {
	s, ok := e.(summed)
	if !ok {
		return SumKey{}, false
	}
	k := s.sum()
	k.Name = e.name()
	return k, true
}

// Sum is one event for two of the same SumKey. older may be nil.
func Sum(older, newer Event) Event {
	if s, ok := newer.(summed); ok && older != nil {
		return s.plus(older)
	}
	return newer
}

// times is how many a count stands for: an event that was emitted by itself may
// leave it out.
func times(count int) int { return max(1, count) }

// add is the count of a sum.
func add(older, newer int) int { return times(older) + times(newer) }

func (e Redelivered) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e Redelivered) plus(older Event) Event {
	e.Count = add(older.(Redelivered).Count, e.Count)
	return e
}

func (e MessageNacked) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e MessageNacked) plus(older Event) Event {
	e.Count = add(older.(MessageNacked).Count, e.Count)
	return e
}

func (e AckWaitExpired) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e AckWaitExpired) plus(older Event) Event {
	e.Count = add(older.(AckWaitExpired).Count, e.Count)
	return e
}

func (e LateAck) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e LateAck) plus(older Event) Event {
	e.Count = add(older.(LateAck).Count, e.Count)
	return e
}

func (e AttemptsExhausted) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e AttemptsExhausted) plus(older Event) Event {
	e.Count = add(older.(AttemptsExhausted).Count, e.Count)
	return e
}

func (e DeadLettered) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e DeadLettered) plus(older Event) Event {
	e.Count = add(older.(DeadLettered).Count, e.Count)
	return e
}

func (e MessagesDropped) sum() SumKey {
	return SumKey{Where: e.Destination, Group: e.Group, Why: e.Why}
}

func (e MessagesDropped) plus(older Event) Event {
	o := older.(MessagesDropped)
	e.Count, e.Bytes = add(o.Count, e.Count), o.Bytes+e.Bytes
	return e
}

func (e MessagesExpired) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e MessagesExpired) plus(older Event) Event {
	o := older.(MessagesExpired)
	e.Count, e.Bytes, e.Untold = add(o.Count, e.Count), o.Bytes+e.Bytes, o.Untold+e.Untold
	return e
}

func (e SendBlocked) sum() SumKey {
	return SumKey{Where: e.Destination, Group: e.Group, Why: e.Why}
}

// plus keeps the beginning of the longest wait.
func (e SendBlocked) plus(older Event) Event {
	o := older.(SendBlocked)
	if o.Since.Before(e.Since) {
		e.Since = o.Since
	}
	e.Count = add(o.Count, e.Count)
	return e
}

func (e HandlerPanicked) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

func (e HandlerPanicked) plus(older Event) Event {
	e.Count = add(older.(HandlerPanicked).Count, e.Count)
	return e
}

func (e HandlerStuck) sum() SumKey { return SumKey{Where: e.Destination, Group: e.Group} }

// plus keeps a stack: not each event has one.
func (e HandlerStuck) plus(older Event) Event {
	o := older.(HandlerStuck)
	e.Count = add(o.Count, e.Count)
	if e.Stack == "" {
		o.Count = e.Count
		return o
	}
	return e
}

func (e ConnectionRefused) sum() SumKey { return SumKey{Why: e.Reason} }

func (e ConnectionRefused) plus(older Event) Event {
	e.Count = add(older.(ConnectionRefused).Count, e.Count)
	return e
}

func (e RecordFailed) sum() SumKey { return SumKey{Where: e.Topic, Group: e.Group} }

func (e RecordFailed) plus(older Event) Event {
	e.Count = add(older.(RecordFailed).Count, e.Count)
	return e
}

func (e RecordHandlerStuck) sum() SumKey { return SumKey{Where: e.Topic, Group: e.Group} }

// plus keeps a stack: not each event has one.
func (e RecordHandlerStuck) plus(older Event) Event {
	o := older.(RecordHandlerStuck)
	e.Count = add(o.Count, e.Count)
	if e.Stack == "" {
		o.Count = e.Count
		return o
	}
	return e
}

func (e RecordDeadLettered) sum() SumKey { return SumKey{Where: e.Topic, Group: e.Group} }

func (e RecordDeadLettered) plus(older Event) Event {
	e.Count = add(older.(RecordDeadLettered).Count, e.Count)
	return e
}

func (e RecordRejected) sum() SumKey { return SumKey{Where: e.Topic, Group: e.Group} }

func (e RecordRejected) plus(older Event) Event {
	e.Count = add(older.(RecordRejected).Count, e.Count)
	return e
}

func (e RecordsExpired) sum() SumKey { return SumKey{Where: e.Topic, Group: e.Group} }

func (e RecordsExpired) plus(older Event) Event {
	o := older.(RecordsExpired)
	e.Count, e.Untold = add(o.Count, e.Count), o.Untold+e.Untold
	return e
}

func (e TopicCompacted) sum() SumKey { return SumKey{Where: e.Topic} }

func (e TopicCompacted) plus(older Event) Event {
	o := older.(TopicCompacted)
	e.Batches, e.Superseded, e.Removed = e.Batches+o.Batches, e.Superseded+o.Superseded, e.Removed+o.Removed
	e.Bytes, e.Trimmed, e.Took = e.Bytes+o.Bytes, e.Trimmed+o.Trimmed, e.Took+o.Took
	return e
}

func (e TopicTrimmed) sum() SumKey { return SumKey{Where: e.Topic, Why: e.Why} }

func (e TopicTrimmed) plus(older Event) Event {
	o := older.(TopicTrimmed)
	e.Batches, e.Records, e.Bytes = o.Batches+e.Batches, o.Records+e.Records, o.Bytes+e.Bytes
	return e
}

func (e RecordsDelivered) sum() SumKey { return SumKey{Where: e.Topic} }

func (e RecordsDelivered) plus(older Event) Event {
	o := older.(RecordsDelivered)
	e.Count, e.Late = o.Count+e.Count, max(o.Late, e.Late)
	return e
}

func (e RecordsLate) sum() SumKey { return SumKey{Where: e.Topic} }

func (e RecordsLate) plus(older Event) Event {
	o := older.(RecordsLate)
	e.Count, e.Late = o.Count+e.Count, max(o.Late, e.Late)
	return e
}

func (e AppendFailed) sum() SumKey { return SumKey{Where: e.Topic} }

func (e AppendFailed) plus(older Event) Event {
	e.Records += older.(AppendFailed).Records
	return e
}

func (e UnreadReturned) sum() SumKey {
	return SumKey{Where: e.Destination, Group: e.Group, Why: e.Why}
}

func (e UnreadReturned) plus(older Event) Event {
	e.Count = add(older.(UnreadReturned).Count, e.Count)
	return e
}
