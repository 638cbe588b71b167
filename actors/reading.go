package actors

// What a partition's reader knows and decides: where the log ends, which batches
// are in memory, who waits for what. It performs nothing.

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/transport/commitlog/format"
)

const (
	// unknownEnd: nobody has looked yet.
	unknownEnd = -1
	// freshBytes is how much of what this process appended a partition keeps
	// for its own readers.
	freshBytes = 4 << 20
	// freshTotal is the same for all partitions of an engine.
	freshTotal = 64 << 20
	// smallBatch is the largest batch that a reader without room is sent:
	// thousands of them may wait at the end, each for one.
	smallBatch = 16 << 10
	// fetchBatches and fetchBytes bound one request for bodies.
	fetchBatches = 8
	fetchBytes   = 1 << 20
	// indexPage is how many index entries a reader that catches up asks for.
	indexPage = 128
)

// fetch asks a partition for the batches from an offset on. It is answered with
// *fetched, once; another one of the same reader takes its place.
type fetch struct {
	reader any   // who asks; comparable
	offset int64 // the first wanted
	base   int64 // of a batch at or before offset, or -1
	// room is how many bytes of batches are wanted; one batch may be above it.
	// Without room the request waits until there is anything, and is answered
	// with a small batch from memory or with none: that there is news.
	room int
	to   *actor.PID
	// history is that of the last answer, 0 where there is none to its place.
	history int
}

// fetched answers a fetch.
type fetched struct {
	of *fetch
	// batches follow one another; the first holds the offset asked for.
	batches []*format.Batch
	// end of the partition, as far as known.
	end int64
	// trimmed: the log begins there, behind the offset asked for.
	trimmed int64
	// history is the number of the log that this is of.
	history int
	err     error
}

// reading is the state of one partition's reader.
type reading struct {
	end     int64 // the next offset to be written, as far as known
	heard   int64 // the same, by the news since the last lookout
	fresh   []*format.Batch
	bytes   int            // of fresh
	counted int            // of these, in the engine's total
	page    []format.Entry // a run of the index, for who catches up
	waiting []*fetch
	history
}

// ask takes a request in, in place of an earlier one of the same reader.
func (r *reading) ask(f *fetch) {
	if f.history == 0 { // its place is of now
		f.history = r.number()
	}
	r.forget(f.reader)
	r.waiting = append(r.waiting, f)
}

// forget drops a reader's request.
func (r *reading) forget(reader any) {
	r.waiting = slices.DeleteFunc(r.waiting, func(f *fetch) bool { return f.reader == reader })
}

// atEnd counts the readers that have everything.
func (r *reading) atEnd() (n int) {
	for _, f := range r.waiting {
		if f.offset == r.end {
			n++
		}
	}
	return n
}

// settle takes a request out that was answered.
func (r *reading) settle(f *fetch) bool {
	i := slices.Index(r.waiting, f)
	if i < 0 {
		return false // its reader went away, or asked anew
	}
	r.waiting = slices.Delete(r.waiting, i, i+1)
	return true
}

// need is what a request takes.
type need uint8

const (
	needNothing need = iota // its batches are in memory
	needNews                // it waits at the end
	needLook                // where the end is must be found out first
	needBodies              // they are in etcd
	needWarning             // its reader has read another log
)

// needs decides about one request.
func (r *reading) needs(f *fetch) need {
	switch {
	case r.strays(f.history, f.offset):
		return needWarning
	case len(r.inMemory(f.offset, 1)) > 0:
		return needNothing
	case r.end == unknownEnd || f.offset > r.end:
		return needLook
	case f.offset == r.end:
		return needNews
	default:
		return needBodies
	}
}

// inMemory answers fresh batches from the one that holds offset on, in one piece,
// at least one and otherwise as many as room has.
func (r *reading) inMemory(offset int64, room int) []*format.Batch {
	i, ok := slices.BinarySearchFunc(r.fresh, offset, func(b *format.Batch, o int64) int {
		switch {
		case b.End() <= o:
			return -1
		case b.Base > o:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	j, size := i+1, len(r.fresh[i].Raw)
	for j < len(r.fresh) && r.fresh[j].Base == r.fresh[j-1].End() && size+len(r.fresh[j].Raw) <= room {
		size += len(r.fresh[j].Raw)
		j++
	}
	return slices.Clone(r.fresh[i:j])
}

// entry takes news of a batch from the index. It tells whether the news leave a
// gap behind the end known so far.
func (r *reading) entry(e format.Entry) (gap bool) {
	r.remember(e)
	return r.news(e)
}

func (r *reading) news(e format.Entry) (gap bool) {
	r.heard = max(r.heard, e.End())
	switch {
	case r.end == unknownEnd || e.End() <= r.end:
		return false
	case e.Base > r.end:
		return true
	}
	r.end = e.End()
	return false
}

// appended takes a batch that this process has put there. As entry otherwise.
func (r *reading) appended(e format.Entry, b *format.Batch) (gap bool) {
	r.rememberOwn(e)
	gap = r.news(e)
	i, _ := slices.BinarySearchFunc(r.fresh, b.Base, func(x *format.Batch, o int64) int {
		return int(min(max(x.Base-o, -1), 1))
	})
	if i < len(r.fresh) && r.fresh[i].Base == b.Base {
		return gap
	}
	r.fresh = slices.Insert(r.fresh, i, b)
	r.bytes += len(b.Raw)
	return gap
}

// evict drops the oldest fresh batches until at most limit bytes are left.
func (r *reading) evict(limit int) {
	n := 0
	for ; n < len(r.fresh) && r.bytes > limit; n++ {
		r.bytes -= len(r.fresh[n].Raw)
	}
	r.fresh = slices.Delete(r.fresh, 0, n)
}

// lookout is what was known when somebody began to look where the log ends. News
// that come meanwhile may be newer than what he finds.
type lookout struct {
	end   int64
	asked []*fetch
	known []format.Entry
	told  int // of known, by the index, and so in one log
}

func (r *reading) lookout() lookout {
	r.heard = 0
	known, told := r.takeMarks()
	return lookout{r.end, slices.Clone(r.waiting), known, told}
}

// newestKnown are the batches that stand only if all that are known do.
func (l lookout) newestKnown() []format.Entry { return l.known[max(0, l.told-1):] }

// sight is what somebody saw who looked.
type sight struct {
	end    int64
	newest format.Entry // without a count when there is none
	common int64        // up to where the log is the one known
}

// looked takes in what somebody saw. An end before the one known when he began,
// and batches that are others, mean that etcd has been set back: readers that are
// behind what is common must hear so.
func (r *reading) looked(from lookout, s sight) {
	if from.end != unknownEnd && s.end < from.end {
		s.common = min(s.common, s.end)
	}
	if s.common == wholeLog {
		r.end = max(r.end, s.end, r.heard)
	} else {
		r.fresh, r.bytes, r.page, r.end = nil, 0, nil, max(s.end, r.heard)
		r.replaced(s.common)
	}
	latest := r.latest
	r.remember(s.newest)
	r.remember(latest)
}

// ahead answers the part of the page that begins with the batch that holds
// offset, or nothing.
func (r *reading) ahead(offset int64) []format.Entry {
	for i, e := range r.page {
		if e.Base <= offset && offset < e.End() {
			return r.page[i:]
		}
	}
	return nil
}

// portion is how many of the entries one request for bodies takes: at least one.
func portion(entries []format.Entry, room int) int {
	room = min(room, fetchBytes)
	n, size := 0, 0
	for _, e := range entries {
		size += unpackedBytes(e)
		if n > 0 && (size > room || n == fetchBatches || entries[n-1].End() != e.Base) {
			break
		}
		n++
	}
	return n
}

// unpackedBytes is what a batch takes in memory: packed or not, whichever is more.
func unpackedBytes(e format.Entry) int { return max(e.Bytes, e.Raw) }
