package messages

// What a received message says.

import (
	"iter"
	"time"
)

// Payload is what a message says: its key, value, time and headers, as they were
// decoded. Its bytes alias the buffer it was decoded from and pin it; Clone
// detaches them. Treat them as read-only: another reader may share the buffer. A
// Payload is a value, safe to read concurrently.
type Payload struct {
	// Key is what the message is about, or empty.
	Key []byte
	// Value is the content.
	Value []byte
	// UnixNano is the sender's time in nanoseconds since 1970 UTC; 0 is none.
	UnixNano int64

	// request is what the sender knows the reply by; 0 when none is asked for.
	request uint64
	// headers runs from the first field that is a header, the id, the delay or the tombstone
	// to the end of the last one, as they stand on the wire. Other fields may lie between; all were
	// checked.
	headers []byte
	expires int64 // when it is not to be handed out any more, as UnixNano; 0 is never
}

// PayloadOf is the payload that m would be decoded to. Key and Value alias m's;
// the headers are copied.
func PayloadOf(m *Message) Payload {
	r := Payload{Key: m.Key, Value: m.Value, UnixNano: unixNano(m.Time), expires: unixNano(m.ExpiresAt), request: m.request}
	if len(m.Headers) > 0 || m.ID != "" || m.Tombstone || !m.DeliverAt.IsZero() {
		r.headers = appendHeaders(make([]byte, 0, headersSize(m.Headers)+bytesFieldSize(len(m.ID))+delayFieldSize+tombstoneSize), m.Headers)
		r.headers = appendDelay(appendID(r.headers, m.ID), unixNano(m.DeliverAt))
		r.headers = appendTombstone(r.headers, m.Tombstone)
	}
	return r
}

// Time is the sender's time in UTC, or the zero Time when there is none.
func (p Payload) Time() time.Time { return timeOf(p.UnixNano) }

// ExpiresAt is when the message is not handed out any more, in UTC, or the zero Time when
// that is never.
func (p Payload) ExpiresAt() time.Time { return timeOf(p.expires) }

// ID is the sender's own name for the message, or empty. It copies it; IDBytes does
// not.
func (p Payload) ID() string { return string(idIn(p.headers)) }

// IDBytes is ID as bytes that alias the payload's buffer, nil for none.
func (p Payload) IDBytes() []byte { return idIn(p.headers) }

// Tombstone reports whether the message says that what its key names is deleted; then it
// has no value. It does not allocate.
func (p Payload) Tombstone() bool { return len(p.headers) > 0 && tombstoneIn(p.headers) }

// Expired reports whether the message is not to be handed out any more. Without an
// ExpiresAt it does not look at the clock.
func (p Payload) Expired() bool { return p.expires != 0 && passed(p.expires) }

// Erased reports whether p is what is left of a record that was deleted: it has a place
// in its batch and nothing else, and nobody is to be given it.
func Erased(p *Payload) bool { return p.expires == erasedAt }

// ExpireBy has p expire d after its time, unless it does so before; 0 is never, and
// without a time it does not.
func ExpireBy(p *Payload, d time.Duration) {
	if d <= 0 || p.UnixNano == 0 {
		return
	}
	if at := p.UnixNano + int64(d); at != 0 && (at > p.UnixNano) && (p.expires == 0 || at < p.expires) {
		p.expires = at
	}
}

// passed is apart so that Expired is inlined where records are handed out.
func passed(nano int64) bool { return time.Now().UnixNano() >= nano }

func timeOf(nano int64) time.Time {
	if nano == 0 {
		return time.Time{}
	}
	return time.Unix(0, nano).UTC()
}

// Header is the value of the first header of that name, aliasing the payload's
// buffer, and whether there is one. It does not allocate.
func (p Payload) Header(name string) ([]byte, bool) {
	for rest := p.headers; len(rest) > 0; {
		h, n := nextHeader(rest)
		if n == 0 {
			break
		}
		if string(h.name) == name {
			return h.value, true
		}
		rest = rest[n:]
	}
	return nil, false
}

// Headers yields names and values in the order the sender gave them; names may
// repeat. The values alias the payload's buffer.
func (p Payload) Headers() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := p.headers; len(rest) > 0; {
			h, n := nextHeader(rest)
			if n == 0 || !yield(string(h.name), h.value) {
				return
			}
			rest = rest[n:]
		}
	}
}

// HeaderCount is how many headers Headers yields.
func (p Payload) HeaderCount() int {
	count := 0
	for rest := p.headers; len(rest) > 0; count++ {
		_, n := nextHeader(rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	return count
}

// Clone is the payload with bytes of its own, in one allocation.
func (p Payload) Clone() Payload {
	size := len(p.Key) + len(p.Value) + len(p.headers)
	if size == 0 {
		return Payload{UnixNano: p.UnixNano, expires: p.expires, request: p.request}
	}
	buf := make([]byte, 0, size)
	own := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		from := len(buf)
		buf = append(buf, b...)
		return buf[from:len(buf):len(buf)]
	}
	return Payload{Key: own(p.Key), Value: own(p.Value), UnixNano: p.UnixNano, headers: own(p.headers), expires: p.expires, request: p.request}
}

// Message is the payload as something to send again. Its bytes alias the
// payload's; only the slice of headers is new. It has no ID: a topic that has had the
// id would take it for the message that it has. Who copies a topic sets it. It has no
// DeliverAt, either: it is here.
func (p Payload) Message() Message {
	m := Message{Key: p.Key, Value: p.Value, Time: p.Time(), ExpiresAt: p.ExpiresAt(), Tombstone: p.Tombstone()}
	if n := p.HeaderCount(); n > 0 {
		m.Headers = make([]Header, 0, n)
		for name, value := range p.Headers() {
			m.Headers = append(m.Headers, Header{Name: name, Value: value})
		}
	}
	return m
}
