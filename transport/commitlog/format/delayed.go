package format

// Records of a batch that are delivered later. Each has its place in the batch, which
// readers pass over as over an erased record, and waits under a key of its own, as a batch
// of one record. When it is due it is appended once more, with what it says of its place.

import (
	"bytes"

	"github.com/penstock-io/penstock/messages"
)

// MaxLater is how many records of one batch can be delivered later: each is an operation
// of the transaction that appends the batch.
const MaxLater = 64

// Later is a record of a batch that is delivered later.
type Later struct {
	// Record is its place in the batch, Due when it is delivered, in nanoseconds since 1970
	// UTC.
	Record int
	Due    int64

	one *Sealed
}

// Value is how the record waits in etcd, whose batch is at base. It is valid until the next
// call.
func (l *Later) Value(base int64) []byte { return l.one.Body(base + int64(l.Record)) }

// Later are the records that are delivered later, in the order of their places. The caller
// does not change it.
func (s *Sealed) Later() []Later { return s.later }

// SealLater is Seal for records of which some are due later: those that are due after now.
// An error wraps messages.ErrCorrupt: raw is no run of records.
func SealLater(raw []byte, count int, minTime, maxTime, now int64, c messages.Compression, producer, sequence uint64) (*Sealed, error) {
	var later []Later
	var expires int64
	places := make([]byte, 0, len(raw))
	rest, bytes := raw, 0
	for i := 0; len(rest) > 0; i++ {
		var p messages.Payload
		n, err := messages.ConsumeRecord(rest, &p)
		if err != nil {
			return nil, err
		}
		if due := messages.DelayOf(&p).Due; due > now {
			l := Later{Record: i, Due: due, one: Seal(rest[:n], 1, now, now, now, c, producer, sequence)}
			bytes += l.one.Bytes()
			later = append(later, l)
			places = messages.AppendPlace(places, p.IDBytes(), due)
		} else {
			places = append(places, rest[:n]...)
			expires = Sooner(expires, p.ExpiresAt())
		}
		rest = rest[n:]
	}
	s := Seal(places, count, minTime, maxTime, now, c, producer, sequence)
	s.later, s.laterBytes, s.Expires = later, bytes, expires
	return s, nil
}

// withLater is raw with the records that are delivered later in their places, in memory of
// its own.
func (s *Sealed) withLater(raw []byte) ([]byte, error) {
	whole := make([]byte, 0, len(raw)+2*s.laterBytes)
	later := s.later
	for i := 0; len(raw) > 0; i++ {
		var p messages.Payload
		n, err := messages.ConsumeRecord(raw, &p)
		if err != nil {
			return nil, err
		}
		if len(later) > 0 && later[0].Record == i {
			one, err := later[0].one.Records()
			if err != nil {
				return nil, err
			}
			whole, later = append(whole, one...), later[1:]
		} else {
			whole = append(whole, raw[:n]...)
		}
		raw = raw[n:]
	}
	return whole, nil
}

// Waiting is a record that waits to be delivered, as it was read.
type Waiting struct {
	// Due is when it is delivered, in nanoseconds since 1970 UTC. Offset is its place.
	Due, Offset int64
	// ModRevision is that of its key.
	ModRevision int64
	// Raw is the record, as messages.ConsumeRecord reads it.
	Raw []byte
	// Time is when it was put, by the clock of who did.
	Time int64
}

// OpenWaiting reads the value under which the record with its place at offset waits. value
// may be anything; an error wraps messages.ErrCorrupt. The record may alias value.
func OpenWaiting(due, offset int64, value []byte, modRevision int64) (Waiting, error) {
	b, err := OpenBody(offset, value)
	if err != nil {
		return Waiting{}, err
	}
	var p messages.Payload
	switch n, err := messages.ConsumeRecord(b.Raw, &p); {
	case err != nil:
		return Waiting{}, err
	case b.Count != 1 || n != len(b.Raw):
		return Waiting{}, corruptBody("%d records wait in the place of one", b.Count)
	}
	if d := messages.DelayOf(&p); d.Due != due || d.Delivered {
		return Waiting{}, corruptBody("its record is due at %d, and its key says %d", d.Due, due)
	}
	return Waiting{Due: due, Offset: offset, ModRevision: modRevision, Raw: bytes.Clone(b.Raw), Time: b.Time}, nil
}

// SealDue makes the batch in which records that waited are delivered: of the first of them,
// as many as fit. They are of now, but for those with a time of their own. An error wraps
// messages.ErrCorrupt.
func SealDue(due []Waiting, now int64, c messages.Compression, producer, sequence uint64) (*Sealed, error) {
	var raw []byte
	count, oldest := 0, now
	newest, expires := now, int64(0)
	for _, w := range due {
		if count > 0 && len(raw)+len(w.Raw) > messages.MaxBatchBytes {
			break
		}
		var p messages.Payload
		if _, err := messages.ConsumeRecord(w.Raw, &p); err != nil {
			return nil, err
		}
		var err error
		if raw, err = messages.AppendDelivered(raw, w.Raw, w.Offset); err != nil {
			return nil, err
		}
		if p.UnixNano != 0 {
			oldest, newest = min(oldest, p.UnixNano), max(newest, p.UnixNano)
		}
		expires = Sooner(expires, p.ExpiresAt())
		count++
	}
	s := Seal(raw, count, oldest, newest, now, c, producer, sequence)
	s.Expires = expires
	return s, nil
}
