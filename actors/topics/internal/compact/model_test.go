package compact

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// book is a partition in memory, in batches, and what became of each record.
type book struct {
	batches []*format.Batch
	erased  map[int64]bool
	state   format.Compacted
	now     time.Time
}

const (
	grace = 8 * time.Second
	most  = 3 // keys that a pass knows
)

func (b *book) end() int64 {
	if len(b.batches) == 0 {
		return 0
	}
	return b.batches[len(b.batches)-1].End()
}

func (b *book) put(msgs []messages.Message) {
	batch := &format.Batch{Base: b.end(), Count: len(msgs), Time: b.now.UnixNano()}
	for i := range msgs {
		batch.Raw = messages.AppendRecord(batch.Raw, &msgs[i])
	}
	b.batches = append(b.batches, batch)
}

// records gives what is left from an offset on to do.
func (b *book) records(from int64, do func(offset int64, r *messages.Payload)) {
	for _, batch := range b.batches {
		rest := batch.Raw
		for at := batch.Base; len(rest) > 0; at++ {
			var r messages.Payload
			n, err := messages.ConsumeRecord(rest, &r)
			if err != nil {
				panic(err)
			}
			if at >= from && !b.erased[at] {
				do(at, &r)
			}
			rest = rest[n:]
		}
	}
}

// reader is somewhere in the partition, and has a table of what it has read. behind is
// when it last was at the end.
type reader struct {
	at     int64
	table  map[string]string
	behind time.Time
}

// read reads up to so many records further.
func (r *reader) read(b *book, n int) {
	b.records(r.at, func(at int64, p *messages.Payload) {
		if n == 0 {
			return
		}
		n--
		r.at = at + 1
		if p.Tombstone() {
			delete(r.table, string(p.Key))
			return
		}
		r.table[string(p.Key)] = string(p.Value)
	})
	if n > 0 {
		r.at = b.end()
	}
	if r.at == b.end() {
		r.behind = b.now
	}
}

// pass is one over the book that ends after so many batches were rewritten, as the keeper
// makes it; it reports whether it came to its end.
func (b *book) pass(steps int) bool {
	s := b.state
	due := s.Due(b.now, grace)
	newest := NewNewest(most)
	for _, batch := range b.batches {
		if batch.Base >= s.UpTo && !newest.Full() {
			left := &format.Batch{Base: batch.Base, Raw: b.left(batch)}
			if err := newest.Take(left); err != nil {
				panic(err)
			}
			s.UpTo = batch.End()
		}
	}
	judge := Judge{Newest: newest, Due: due, Now: b.now}
	for _, batch := range b.batches {
		if batch.End() > s.UpTo {
			break
		}
		if steps--; steps < 0 {
			return false
		}
		var gone []int64
		var tally Tally
		b.records(batch.Base, func(at int64, r *messages.Payload) {
			if at < batch.End() && judge.Gone(at, r, &tally) {
				gone = append(gone, at)
			}
		})
		for _, at := range gone {
			b.erased[at] = true
		}
	}
	s.Removed = due
	s.Passed(b.now, grace)
	b.state = s
	return true
}

// left are the records of a batch, with marks for those that are erased.
func (b *book) left(batch *format.Batch) (raw []byte) {
	rest := batch.Raw
	for at := batch.Base; len(rest) > 0; at++ {
		var r messages.Payload
		n, _ := messages.ConsumeRecord(rest, &r)
		if b.erased[at] {
			raw = messages.AppendErased(raw)
		} else {
			raw = append(raw, rest[:n]...)
		}
		rest = rest[n:]
	}
	return raw
}

// Promise: whatever is put, however many passes are made and wherever they are
// interrupted, who reads from the beginning ends with the same table as who read
// everything as it was put, and so does a reader that stood anywhere and was at the end
// within the grace. The newest record of a key stays, at its offset, unless it is a
// tombstone.
func TestReadersEndWithOneTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &book{erased: make(map[int64]bool), now: time.Unix(1_700_000_000, 0)}
		want, newest := map[string]string{}, map[string]int64{}
		slow := &reader{table: map[string]string{}, behind: b.now}
		check := func(r *reader, what string) {
			r.read(b, -1)
			if !maps.Equal(r.table, want) {
				t.Fatalf("%s has %v, want %v", what, r.table, want)
			}
		}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				var msgs []messages.Message
				for i := range rapid.IntRange(1, 4).Draw(t, "records") {
					m := messages.Message{Key: []byte(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"))}
					newest[string(m.Key)] = b.end() + int64(i)
					if m.Tombstone = rapid.IntRange(0, 2).Draw(t, "tombstone") == 0; m.Tombstone {
						delete(want, string(m.Key))
					} else {
						m.Value = fmt.Appendf(nil, "%d.%d", step, i)
						want[string(m.Key)] = string(m.Value)
					}
					msgs = append(msgs, m)
				}
				b.put(msgs)
			case 3:
				b.pass(rapid.IntRange(0, 12).Draw(t, "until"))
			case 4:
				b.now = b.now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second)
			case 5:
				slow.read(b, rapid.IntRange(0, 6).Draw(t, "read"))
			}
			if b.now.Sub(slow.behind) >= grace {
				slow.read(b, -1) // it is no further behind than that
			}
			check(&reader{table: map[string]string{}}, "a reader from the beginning")
			for key := range want {
				if b.erased[newest[key]] {
					t.Fatalf("the newest record of %s, at %d, is erased", key, newest[key])
				}
			}
		}
		check(slow, "the slow reader")
		// In the end one record of each key is left, and no tombstone.
		for range 20 {
			b.pass(1 << 30)
			b.now = b.now.Add(grace)
		}
		left := 0
		b.records(0, func(at int64, r *messages.Payload) {
			left++
			if r.Tombstone() || newest[string(r.Key)] != at {
				t.Fatalf("left is %d of key %s, the newest is %d", at, r.Key, newest[string(r.Key)])
			}
		})
		if left != len(want) {
			t.Fatalf("%d records are left, want %d", left, len(want))
		}
	})
}
