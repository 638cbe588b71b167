package archive

// Writing a file.

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Header says what a file is of.
type Header struct {
	Topic string `json:"topic"`
	ID    string `json:"id"`
	// Settings are the topic's, as etcd keeps them.
	Settings []byte    `json:"settings"`
	Exported time.Time `json:"exported"`
	// Partitions are where each partition began and ended when the export began: what
	// lies between is in the file, unless it was deleted.
	Partitions []Range `json:"partitions"`
	// Groups are where the topic's groups were then. Versions before this field pass over it.
	Groups []Group `json:"groups,omitempty"`
}

// Group is where a consumer group is.
type Group struct {
	Name string `json:"name"`
	// Offsets are the next records to be handled, by partition; -1 where that is not known.
	Offsets []int64 `json:"offsets"`
	// Again is how many records behind these it has finished out of their order, by partition:
	// they are not told apart, so who continues there handles them again. Versions before this
	// field pass over it; it is empty where there are none, and in their files.
	Again []int64 `json:"again,omitempty"`
}

// Repeats is how many records g handles again that it has finished.
func (g *Group) Repeats() (n int64) {
	for _, again := range g.Again {
		n += again
	}
	return n
}

// Range is the offsets of a partition: from Start to the one before End.
type Range struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// check returns what is wrong with h, or nil.
func (h *Header) check() error {
	if len(h.Partitions) < 1 || len(h.Partitions) > messages.MaxPartitions {
		return fmt.Errorf("%d partitions", len(h.Partitions))
	}
	for p, r := range h.Partitions {
		if r.Start < 0 || r.End < r.Start || r.End > 1<<62 {
			return fmt.Errorf("partition %d from %d to %d", p, r.Start, r.End)
		}
	}
	for _, g := range h.Groups {
		if len(g.Offsets) > len(h.Partitions) || len(g.Again) > len(g.Offsets) {
			return fmt.Errorf("group %q in %d of %d partitions", g.Name, max(len(g.Offsets), len(g.Again)), len(h.Partitions))
		}
		for p, n := range g.Again {
			if at := g.Offsets[p]; n < 0 || n > 0 && (at < 0 || n > h.Partitions[p].End-at) {
				return fmt.Errorf("group %q has finished %d records of partition %d from %d on, which ends at %d", g.Name, n, p, at, h.Partitions[p].End)
			}
		}
		for p, at := range g.Offsets {
			if r := h.Partitions[p]; at != -1 && (at < r.Start || at > r.End) {
				return fmt.Errorf("group %q at %d of partition %d, which goes from %d to %d", g.Name, at, p, r.Start, r.End)
			}
		}
	}
	return nil
}

// Records is how many offsets h has.
func (h *Header) Records() (n int64) {
	for _, r := range h.Partitions {
		n += r.End - r.Start
	}
	return n
}

// end is the contents of the last block.
type end struct {
	Records int64 `json:"records"`
}

// Writer writes a file. One goroutine uses it.
type Writer struct {
	out       io.Writer
	pack      *packer
	partition int
	next      int64  // offset after the last record
	count     uint64 // of raw
	base      int64  // offset of its first record
	raw       []byte // records that are not written yet
	written   int64  // records
}

// NewWriter begins a file.
func NewWriter(out io.Writer, h Header) (*Writer, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("archive: %w: %w", messages.ErrInvalid, err)
	}
	w, err := continuing(out, 0)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(out, magic+"%d\n", version); err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(text) > maxRaw {
		return nil, fmt.Errorf("archive: a header of %d bytes: %w", len(text), messages.ErrInvalid)
	}
	return w, w.block(kindHeader, text)
}

// Continue continues a file that was scanned, behind its last whole block.
func Continue(out io.Writer, s State) (*Writer, error) {
	w, err := continuing(out, s.Records)
	if err == nil {
		w.partition, w.next = s.Partition, s.Offset
	}
	return w, err
}

func continuing(out io.Writer, records int64) (*Writer, error) {
	pack, err := newPacker()
	if err != nil {
		return nil, err
	}
	return &Writer{out: out, pack: pack, written: records}, nil
}

func (w *Writer) block(k kind, raw []byte) error {
	_, err := w.out.Write(w.pack.block(k, raw))
	return err
}

// errOrder: records came out of their order.
var errOrder = errors.New("records of a partition have to come in the order of their offsets")

// Record adds a record. Those of a partition come one after the other, in their order,
// and partitions in theirs.
func (w *Writer) Record(partition int, offset int64, m *messages.Message) error {
	if partition < w.partition || partition == w.partition && offset < w.next {
		return errOrder
	}
	if w.count > 0 && partition != w.partition {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.partition, w.base, w.next = partition, offset, offset
	}
	w.raw = binary.AppendUvarint(w.raw, uint64(offset-w.next))
	w.raw = messages.AppendRecord(w.raw, m)
	w.next = offset + 1
	w.count++
	if len(w.raw) >= blockBytes {
		return w.Flush()
	}
	return nil
}

// Flush writes what was added: from then on it is in the file.
func (w *Writer) Flush() error {
	if w.count == 0 {
		return nil
	}
	head := binary.AppendUvarint(nil, uint64(w.partition))
	head = binary.AppendUvarint(head, uint64(w.base))
	head = binary.AppendUvarint(head, w.count)
	if err := w.block(kindRecords, append(head, w.raw...)); err != nil {
		return err
	}
	w.written += int64(w.count)
	w.raw, w.count = w.raw[:0], 0
	return nil
}

// Records is how many records are in the file.
func (w *Writer) Records() int64 { return w.written + int64(w.count) }

// Close writes the end of the file, not of what is below it.
func (w *Writer) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	text, err := json.Marshal(end{Records: w.written})
	if err != nil {
		return err
	}
	return w.block(kindEnd, text)
}
