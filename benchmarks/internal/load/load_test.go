package load

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Records come as partition and number.
func TestTally(t *testing.T) {
	type record struct {
		partition int
		i         uint64
	}
	for _, c := range []struct {
		name string
		in   []record
		left uint64
		want string
	}{
		{"all, partitions mixed", []record{{0, 0}, {1, 3}, {0, 1}, {1, 5}, {0, 2}, {0, 4}}, 0, ""},
		{"one is missing", []record{{0, 0}, {0, 1}, {0, 2}, {0, 4}, {0, 5}}, 1, ""},
		{"twice", []record{{0, 0}, {0, 0}}, 5, "record 0 came twice"},
		{"twice, in another partition", []record{{0, 0}, {1, 0}}, 5, "record 0 came twice"},
		{"out of order", []record{{0, 3}, {1, 1}, {0, 2}}, 4, "record 2 of partition 0 came behind record 3"},
		{"of another run", []record{{0, 6}}, 6, "record 6 was not put"},
		{"too many", []record{{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 5}, {1, 5}}, 0, "record 5 came twice"},
		{"of no partition", []record{{2, 0}}, 6, "from partition 2 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := NewRecords(64)
			tally := NewTally(64, 6, 2)
			var err error
			for _, r := range c.in {
				if err = tally.Take(r.partition, records.At(r.i)); err != nil {
					break
				}
			}
			if tally.Left() != c.left || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d are left, %v; want %d, %q", tally.Left(), err, c.left, c.want)
			}
		})
	}
}

func TestTallySeesDamage(t *testing.T) {
	const size = MinRecord + 11
	for i := range size {
		record := bytes.Clone(NewRecords(size).At(5))
		record[i]++
		if err := NewTally(size, 6, 1).Take(0, record); err == nil && (i < 8 || i >= 16) {
			t.Errorf("byte %d can change", i)
		}
	}
	for _, size := range []int{0, MinRecord - 1, size - 1, size + 1} {
		if err := NewTally(size, 6, 1).Take(0, make([]byte, size)); err == nil {
			t.Errorf("%d bytes are taken", size)
		}
	}
	if err := NewTally(size+1, 6, 1).Take(0, NewRecords(size).At(0)); err == nil {
		t.Errorf("a record of other than %d bytes is taken", size+1)
	}
}

func TestRecordsTellWhatWasPutInThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		record := make([]byte, rapid.IntRange(MinRecord, 100).Draw(t, "size"))
		id, note := rapid.Uint64().Draw(t, "id"), rapid.Uint64().Draw(t, "note")
		Fill(record, id, note)
		gotID, gotNote, err := Read(record)
		if err != nil || gotID != id || gotNote != note {
			t.Fatalf("%d, %d came as %d, %d, %v", id, note, gotID, gotNote, err)
		}
	})
}

// What a topic compresses, it would not have to write.
func TestRecordsDoNotCompress(t *testing.T) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	records := NewRecords(64)
	const count = 8000
	for i := range uint64(count) {
		if _, err := w.Write(records.At(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() < count*64 {
		t.Errorf("%d bytes become %d", count*64, packed.Len())
	}
}

func TestProcessorTime(t *testing.T) {
	before := CPU()
	if before == 0 {
		t.Skip("this system does not say")
	}
	for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
	}
	if CPU() == before {
		t.Error("processor time stands still")
	}
}
