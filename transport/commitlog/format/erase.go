package format

// Erasing records of a batch that is in the log. The batch keeps its place, its count
// and its identity: of an erased record a mark is left, which readers pass over.

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstock-io/penstock/messages"
)

// Rewritten is a batch without some of its records.
type Rewritten struct {
	// Erased is how many records were erased by this, Left how many are left of the
	// batch.
	Erased, Left int
	// Expires is when the first of those left expires, as Entry.Expires says it.
	Expires int64
	// Value is the index entry's. Body is that of the batch, nil when it stands in the
	// entry.
	Value, Body []byte
}

// Erase returns the batch of e, which b is, without the records that gone reports;
// nil when there is none of them. It is packed with c. edit is a random number that is
// not 0. The error wraps messages.ErrCorrupt: b holds something else than records.
//
// What an append compares of an entry with a body stays as it is. That of one without
// changes, and with it what an append behind it compares.
func Erase(e Entry, b *Batch, gone func(offset int64, p *messages.Payload) bool, c messages.Compression, edit uint64) (*Rewritten, error) {
	r := &Rewritten{}
	raw := make([]byte, 0, len(b.Raw))
	rest := b.Raw
	for at := b.Base; len(rest) > 0; at++ {
		var p messages.Payload
		n, err := messages.ConsumeRecord(rest, &p)
		if err != nil {
			return nil, err
		}
		if p.UnixNano == 0 {
			p.UnixNano = b.Time
		}
		switch {
		case messages.Erased(&p):
			raw = append(raw, rest[:n]...)
		case gone(at, &p):
			raw = messages.AppendErased(raw)
			r.Erased++
		default:
			raw = append(raw, rest[:n]...)
			r.Left++
			r.Expires = Sooner(r.Expires, p.ExpiresAt())
		}
		rest = rest[n:]
	}
	if r.Erased == 0 {
		return nil, nil
	}
	s := Seal(raw, b.Count, e.MinTime, e.MaxTime, b.Time, c, e.Producer, e.Sequence)
	if err := s.Check(); err != nil {
		return nil, err
	}
	body := s.Body(b.Base)
	r.Value = unedited(e.Value)
	if e.Body != nil {
		r.Value = withBody(r.Value, body)
	} else {
		r.Body = body
	}
	r.Value = withExpiry(r.Value, r.Expires)
	r.Value = protowire.AppendTag(r.Value, entryEdit, protowire.Fixed64Type)
	r.Value = protowire.AppendFixed64(r.Value, edit)
	return r, nil
}

// hasErased reports whether a record of b was erased.
func (b *Batch) hasErased() bool {
	for rest := b.Raw; len(rest) > 0; {
		var p messages.Payload
		n, err := messages.ConsumeRecord(rest, &p)
		if err != nil {
			return false
		}
		if messages.Erased(&p) {
			return true
		}
		rest = rest[n:]
	}
	return false
}

// Sooner is the earlier of two times of expiry, of which a zero one is never.
func Sooner(expires int64, at time.Time) int64 {
	switch {
	case at.IsZero():
		return expires
	case expires == 0:
		return at.UnixNano()
	}
	return min(expires, at.UnixNano())
}

// unedited is the value of an entry without what an edit changes, in memory of its own.
func unedited(entry string) []byte {
	value := []byte(entry)
	out := make([]byte, 0, len(value)+64)
	for at := 0; at < len(value); {
		num, _, n := protowire.ConsumeField(value[at:])
		if n < 0 {
			return append(out, value[at:]...) // it was decoded before
		}
		if num != entryEdit && num != entryExpires {
			out = append(out, value[at:at+n]...)
		}
		at += n
	}
	return out
}
