package topics

// How a producer puts: one record, a batch, or as many as there is room for.

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/load"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// took is a latency that several goroutines note.
type took struct {
	mu sync.Mutex
	h  *results.Histogram
}

func newTook() *took { return &took{h: results.NewHistogram()} }

func (t *took) note(d time.Duration) {
	t.mu.Lock()
	t.h.Note(d)
	t.mu.Unlock()
}

// writer puts the records of one producer.
type writer struct {
	*stage
	p      *producer
	number int

	at     int // the next of the buffers, of which a batch needs one each
	values [][]byte
	keys   [][]byte
	batch  []penstock.Message
	meant  []time.Duration
}

func newWriter(s *stage, p *producer, number int) *writer {
	w := &writer{stage: s, p: p, number: number}
	for range max(1, s.Batch) {
		w.values, w.keys = append(w.values, make([]byte, s.Size)), append(w.keys, make([]byte, 0, 20))
	}
	return w
}

// put puts record seq, which was due at meant, or gathers it.
func (w *writer) put(ctx context.Context, seq uint64, meant time.Duration) error {
	value := w.values[w.at]
	w.fill(value, id(w.number, seq), uint64(meant))
	m := penstock.Message{Value: value}
	if w.Keys > 0 {
		w.keys[w.at] = strconv.AppendUint(w.keys[w.at][:0], seq%uint64(w.Keys), 10)
		m.Key = w.keys[w.at]
	}
	w.at = (w.at + 1) % len(w.values)
	switch w.Put {
	case Lone:
		w.p.put.Add(1)
		if _, _, err := w.p.topic.Put(ctx, m); err != nil {
			return err
		}
		w.p.committed.Add(1)
		w.note(w.committed, meant)
		return nil
	case Batched:
		w.batch, w.meant = append(w.batch, m), append(w.meant, meant)
		if len(w.batch) < w.Batch {
			return nil
		}
		return w.flush(ctx)
	default:
		w.p.put.Add(1)
		if err := w.p.topic.PutAsync(ctx, m, w.done(meant)); err != nil {
			return err
		}
		if w.Rate > 0 {
			w.note(w.accepted, meant)
		}
		return nil
	}
}

// flush puts what is gathered.
func (w *writer) flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	w.p.put.Add(uint64(len(w.batch)))
	if _, err := w.p.topic.PutBatch(ctx, w.batch); err != nil {
		return err
	}
	w.p.committed.Add(uint64(len(w.batch)))
	for _, meant := range w.meant {
		w.note(w.committed, meant)
	}
	w.batch, w.meant, w.at = w.batch[:0], w.meant[:0], 0
	return nil
}

// done notes when a record is committed. One that failed is missed by the judge.
func (w *writer) done(meant time.Duration) func(penstock.PutResult) {
	if w.Rate == 0 {
		return w.p.count
	}
	return func(r penstock.PutResult) {
		if r.Err == nil {
			w.p.committed.Add(1)
			w.note(w.committed, meant)
		}
	}
}

// count counts a record that is committed.
func (p *producer) count(r penstock.PutResult) {
	if r.Err == nil {
		p.committed.Add(1)
	}
}

// note enters how long it is since meant, if that counts.
func (w *writer) note(t *took, meant time.Duration) {
	if w.Rate > 0 && int64(meant) >= w.counts.Load() {
		t.note(time.Since(w.start) - meant)
	}
}

// fill makes a record; the first words identify it.
func (w *writer) fill(buf []byte, id, note uint64) {
	if !w.Compressible {
		load.Fill(buf, id, note)
		return
	}
	load.FillText(buf, id, note)
}
