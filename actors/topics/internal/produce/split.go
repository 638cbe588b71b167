package produce

// Batches that are larger than this etcd takes.

import (
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// splits reports whether parts of s may pass that was refused with err, and that nobody
// has. How many operations an append takes hangs on what of it is delivered later.
func (s *shipment) splits(err error) bool {
	if s.count < 2 {
		return false
	}
	var limit *messages.LimitError
	if errors.As(err, &limit) && limit.Limit == messages.LimitOps {
		return s.later > 1
	}
	return errors.Is(err, messages.ErrTooLarge) && !errors.Is(err, messages.ErrUnknownOutcome)
}

// split puts a batch that was refused for its size, and that nobody has, back as
// two, in front of what came later. Batches to come are no larger than these. An
// error ends Run: the records changed in memory.
func (a *Accumulator) split(s *shipment) error {
	raw, err := s.sealed.Records()
	if err != nil {
		return fmt.Errorf("split a batch: %w", err)
	}
	first, second, err := s.halves(raw)
	if err != nil {
		return fmt.Errorf("split a batch: %w", err)
	}
	s.sealed.Free()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != s {
		return nil // close was faster, and told everybody
	}
	a.flight = nil
	a.full = append([]*draft{first, second}, a.full...)
	if len(s.sealed.Later()) > 1 {
		a.later = max(1, min(a.later, s.later/2))
	}
	a.most = max(1, min(a.most, len(raw)/2))
	s.users.Store(1)
	s.spare = spareAll
	s.recycle()
	return nil
}

// halves are the records of s as two drafts, about equal in bytes.
func (s *shipment) halves(raw []byte) (first, second *draft, err error) {
	first, second = newDraft(), newDraft()
	d := first
	err = s.each(raw, func(record int64, bytes []byte, r *messages.Payload, of *slot) {
		if record > 0 && (first.size >= len(raw)/2 || record == int64(s.count-1)) {
			d = second
		}
		d.take(bytes, r, of)
	})
	return first, second, err
}

// each hands the records of s, which raw has, one by one to do, with who waits for them.
func (s *shipment) each(raw []byte, do func(record int64, bytes []byte, r *messages.Payload, of *slot)) error {
	record := int64(0)
	for i := range s.waiters {
		of := *s.slot(i)
		for range of.count {
			var r messages.Payload
			n, err := messages.ConsumeRecord(raw, &r)
			if err != nil {
				return err
			}
			do(record, raw[:n], &r, &of)
			raw = raw[n:]
			record++
		}
	}
	return nil
}

// take adds a record of another draft, as it is encoded there.
func (d *draft) take(bytes []byte, r *messages.Payload, of *slot) {
	d.append(bytes)
	if messages.DelayOf(r).Due != 0 {
		d.later++
	}
	d.expires = format.Sooner(d.expires, r.ExpiresAt())
	d.enter(len(bytes), r.UnixNano, len(r.IDBytes()) > 0, of)
}
