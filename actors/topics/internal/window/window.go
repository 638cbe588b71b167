package window

// The window of ids of a partition: which of the last records have which, and what of
// a batch is there already.

import (
	"hash/maphash"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// Hash stands for an id: 128 bits under seeds of this process, so that no two ids of
// a log are ever taken for one, whoever chose them.
type Hash [2]uint64

var idSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hash(id []byte) Hash {
	return Hash{maphash.Bytes(idSeeds[0], id), maphash.Bytes(idSeeds[1], id)}
}

// slack is by how much the clocks of those who put may differ: reading back ends
// at a batch that is older than the window by more.
const slack = time.Minute

// Window is what is known of the ids in a partition. It is exact for the records
// before its end: an append that compares that end lands behind these and no others.
type Window struct {
	span    time.Duration // ids of batches that are older are not known again
	records int64         // ids of records further back are not

	end   format.LogEnd // what is before is known
	state state
	sure  time.Time // when etcd said so last

	ids map[Hash]placed
	// again are later records with an id: appenders put them that do not know ids.
	again map[Hash][]placed
	order []ID // the oldest first; those before head are gone
	head  int
}

type state uint8

const (
	unread state = iota
	read
)

// placed is where a record with an id is, and when its batch was put, by the clock of
// who did.
type placed struct{ offset, nano int64 }

// ID is one id of a record. Of a batch that is not in the log the place is that of the
// record in the batch.
type ID struct {
	Hash Hash
	at   placed
}

// Record is the place of the record in its batch.
func (id ID) Record() int64 { return id.at.offset }

// Set takes new settings.
func (w *Window) Set(cfg messages.TopicConfig) {
	if span, records := cfg.DedupeWindow, int64(cfg.DedupeRecords); w.span != span || w.records != records {
		wider := span > w.span || records > w.records
		w.span, w.records = span, records
		if wider { // what lies further back was not read
			w.Forget()
		}
	}
}

// Forget makes w as good as new: it has to be read.
func (w *Window) Forget() {
	*w = Window{span: w.span, records: w.records}
}

// Find returns where an id is, if it is in the window now.
func (w *Window) Find(id Hash, now int64) (offset int64, ok bool) {
	at, ok := w.ids[id]
	if !ok {
		return 0, false
	}
	if !w.past(at, now) {
		return at.offset, true
	}
	for _, at := range w.again[id] {
		if !w.past(at, now) {
			return at.offset, true
		}
	}
	return 0, false
}

func (w *Window) past(at placed, now int64) bool {
	return at.offset < w.end.Offset-w.records || at.nano < now-int64(w.span)
}

// add notes ids behind those that are known, in the order of their offsets, and trims
// what has left the window.
func (w *Window) add(ids []ID, now int64) {
	if w.ids == nil {
		w.ids = make(map[Hash]placed)
	}
	for _, id := range ids {
		if _, ok := w.ids[id.Hash]; !ok {
			w.ids[id.Hash] = id.at // the first one counts
		} else {
			if w.again == nil {
				w.again = make(map[Hash][]placed)
			}
			w.again[id.Hash] = append(w.again[id.Hash], id.at)
		}
		w.order = append(w.order, id)
	}
	for w.head < len(w.order) && w.past(w.order[w.head].at, now) {
		w.drop(w.order[w.head].Hash)
		w.head++
	}
	if w.head > len(w.order)/2 {
		w.order = append(w.order[:0], w.order[w.head:]...)
		w.head = 0
	}
}

// drop forgets the first record with an id.
func (w *Window) drop(id Hash) {
	later := w.again[id]
	switch len(later) {
	case 0:
		delete(w.ids, id)
		return
	case 1:
		delete(w.again, id)
	default:
		w.again[id] = later[1:]
	}
	w.ids[id] = later[0]
}

// Landed notes that a batch with those ids is in the log, whose offsets count from its
// base. It changes ids.
func (w *Window) Landed(s *format.Sealed, ids []ID, now time.Time) {
	if w.state != read || !w.end.Is(s.Way.After) {
		return // it is read with what lies between
	}
	w.end, w.sure = s.Way.Behind, now
	w.add(placedFrom(s.Way.Base, s.Time, ids), now.UnixNano())
}

// placedFrom are the ids of a batch that is in the log at base.
func placedFrom(base, nano int64, ids []ID) []ID {
	for i := range ids {
		ids[i].at = placed{base + ids[i].at.offset, nano}
	}
	return ids
}

// Known reports whether w knows the log up to End.
func (w *Window) Known() bool { return w.state == read }

// End is the end of the log that w knows.
func (w *Window) End() format.LogEnd { return w.end }

// Sure is when etcd said last that this is the log.
func (w *Window) Sure() time.Time { return w.sure }

// IDs appends the ids of a run of records, with their places in it as offsets.
func IDs(raw []byte, ids []ID) ([]ID, error) {
	for i := int64(0); len(raw) > 0; i++ {
		var r messages.Payload
		n, err := messages.ConsumeRecord(raw, &r)
		if err != nil {
			return ids, err
		}
		if id := r.IDBytes(); len(id) > 0 && !messages.DelayOf(&r).Delivered { // else its place has it
			ids = append(ids, ID{hash(id), placed{offset: i}})
		}
		raw = raw[n:]
	}
	return ids, nil
}
