package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// one is a record of a file.
type one struct {
	partition int
	offset    int64
	text      string // of all that it says
}

func said(p *messages.Payload) string {
	s := fmt.Sprintf("%s|%s|%d|%d|%s", p.Key, p.Value, p.UnixNano, p.ExpiresAt().UnixNano(), p.ID())
	for name, value := range p.Headers() {
		s += "|" + name + "=" + string(value)
	}
	return s
}

func read(in io.Reader) (all []one, err error) {
	r, err := NewReader(in)
	for err == nil {
		err = r.Next(func(p int, offset int64, rec messages.Payload) error {
			all = append(all, one{p, offset, said(&rec)})
			return nil
		})
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return all, err
}

// sample is a file of two partitions with gaps, larger than a block.
func sample(t testing.TB, records int) (file []byte, all []one) {
	t.Helper()
	var b bytes.Buffer
	h := Header{Topic: "audit", ID: "x", Partitions: []Range{{5, 10_000}, {0, 0}, {7, 20_000}}}
	w, err := NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		p, offset := 0, int64(5+3*i)
		if i >= records/2 {
			p, offset = 2, int64(7+i)
		}
		m := &messages.Message{
			Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{byte(i), 1, 2}, i%500), ID: fmt.Sprint("p/", i),
			Time: time.Unix(1, int64(i)), ExpiresAt: time.Unix(int64(i+1), 0), Headers: []messages.Header{{Name: "n", Value: []byte("v")}},
		}
		if err := w.Record(p, offset, m); err != nil {
			t.Fatal(err)
		}
		pay := messages.PayloadOf(m)
		all = append(all, one{p, offset, said(&pay)})
	}
	if err := w.Close(); err != nil || w.Records() != int64(records) {
		t.Fatal(w.Records(), err)
	}
	return b.Bytes(), all
}

// What was written is read, all of it and in order.
func TestAFileHasWhatWasWritten(t *testing.T) {
	for _, n := range []int{0, 1, 2000} {
		file, want := sample(t, n)
		if got, err := read(bytes.NewReader(file)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%d records: read %d, %v", n, len(got), err)
		}
	}
}

// A file that ends anywhere is refused, and is continued to the same records from
// wherever it ended.
func TestAFileThatIsCutIsContinued(t *testing.T) {
	file, want := sample(t, 2000)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(file)-1).Draw(t, "bytes")
		got, err := read(bytes.NewReader(file[:n]))
		if !errors.Is(err, messages.ErrCorrupt) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("cut to %d bytes: %d records, %v", n, len(got), err)
		}
		s, err := Scan(bytes.NewReader(file[:n]))
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) || n > 400 {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
			return
		}
		if s.Whole || s.Size > int64(n) || s.Records != int64(len(got)) {
			t.Fatalf("cut to %d bytes, with %d records: %+v", n, len(got), s)
		}
		b := bytes.NewBuffer(slices.Clone(file[:s.Size]))
		w, err := Continue(b, s)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range want[s.Records:] {
			if r.partition < s.Partition || r.partition == s.Partition && r.offset < s.Offset {
				t.Fatalf("the record at %d of partition %d is to be skipped by %+v", r.offset, r.partition, s)
			}
			if err := w.Record(r.partition, r.offset, &messages.Message{Value: []byte("again")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all, err := read(b)
		if err != nil || len(all) != len(want) {
			t.Fatalf("continued: %d records, %v", len(all), err)
		}
		for i := range all {
			if all[i].partition != want[i].partition || all[i].offset != want[i].offset {
				t.Fatalf("record %d is %v, want %v", i, all[i], want[i])
			}
		}
		if whole, err := Scan(bytes.NewReader(file)); err != nil || !whole.Whole || whole.Size != int64(len(file)) {
			t.Fatalf("the whole file: %+v, %v", whole, err)
		}
	})
}

// A byte that changed anywhere is found.
func TestADamagedFileIsRefused(t *testing.T) {
	file, want := sample(t, 300)
	rapid.Check(t, func(t *rapid.T) {
		damaged := slices.Clone(file)
		at := rapid.IntRange(0, len(file)-1).Draw(t, "at")
		damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		got, err := read(bytes.NewReader(damaged))
		if !errors.Is(err, messages.ErrCorrupt) && !errors.Is(err, messages.ErrInvalid) {
			t.Fatalf("byte %d: read %d of %d records, %v", at, len(got), len(want), err)
		}
	})
}

// A later version is refused by name, and what comes out of order is not written.
func TestWhatIsRefused(t *testing.T) {
	if _, err := NewReader(strings.NewReader("penstock topic archive 2\n")); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("version 2: %v", err)
	}
	for _, in := range []string{"", "penstock", "hello\n", strings.Repeat("x", 1<<20)} {
		if _, err := NewReader(strings.NewReader(in)); !errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%.20q: %v", in, err)
		}
	}
	w, err := NewWriter(io.Discard, Header{Partitions: []Range{{0, 9}, {0, 9}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		p      int
		offset int64
		ok     bool
	}{{0, 3, true}, {0, 3, false}, {1, 0, true}, {0, 5, false}, {1, 0, false}, {1, 1, true}} {
		if err := w.Record(r.p, r.offset, &messages.Message{}); (err == nil) != r.ok {
			t.Errorf("partition %d, offset %d: %v", r.p, r.offset, err)
		}
	}
	for _, g := range []Group{
		{"g", []int64{0, 10}, nil}, {"g", []int64{-2}, nil}, {"g", []int64{1, 1, 1}, nil},
		{"g", []int64{1}, []int64{0, 1}}, {"g", []int64{1}, []int64{-1}}, {"g", []int64{1}, []int64{9}}, {"g", []int64{-1}, []int64{1}},
	} {
		if _, err := NewWriter(io.Discard, Header{Partitions: []Range{{0, 9}, {0, 9}}, Groups: []Group{g}}); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("group %+v: %v", g, err)
		}
	}
	if _, err := NewWriter(io.Discard, Header{Partitions: []Range{{0, 9}}, Groups: []Group{{"g", []int64{-1}, []int64{0}}, {"h", nil, nil}, {"i", []int64{1}, []int64{8}}}}); err != nil {
		t.Errorf("groups without a place: %v", err)
	}
	if _, err := NewWriter(io.Discard, Header{}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("no partitions: %v", err)
	}
}

// Promise: a file of a version that did not write how much groups handle again is read.
func TestFilesOfBeforeAreRead(t *testing.T) {
	pack, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	header := `{"topic":"audit","id":"x","partitions":[{"start":1,"end":9}],"groups":[{"name":"g","offsets":[2]}]}`
	r, err := NewReader(bytes.NewReader(append([]byte(magic+"1\n"), pack.block(kindHeader, []byte(header))...)))
	if err != nil {
		t.Fatal(err)
	}
	if g := r.Header().Groups; len(g) != 1 || !slices.Equal(g[0].Offsets, []int64{2}) || g[0].Repeats() != 0 {
		t.Errorf("groups %+v", g)
	}
}

// Bytes of any kind are read or refused, and take no more memory than a block.
func FuzzRead(f *testing.F) {
	file, _ := sample(f, 40)
	f.Add(file)
	f.Add([]byte("penstock topic archive 1\nH\xff\xff\xff\x7f\xff\xff\xff\x7f"))
	pack, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	head, _, _ := bytes.Cut(file, []byte("R"))
	for _, header := range []string{
		`{"partitions":[{"start":1,"end":9}],"groups":[{"name":"g","offsets":[2],"again":[3]}]}`,
		`{"partitions":[{"start":1,"end":9}],"groups":[{"name":"g","offsets":[2],"again":[3,4]}]}`,
		`{"partitions":[{"start":1,"end":9}],"groups":[{"name":"g","offsets":[-1],"again":[9223372036854775807]}]}`,
	} {
		f.Add(append([]byte(magic+"1\n"), pack.block(kindHeader, []byte(header))...))
	}
	for _, raw := range []string{"", "\x00\x05\x01\x00", "\x00\x05\x01\x00\x12\x00", "\x02\x07\x02\x00\x12\x00\x01\x12\x00", "\x00\xff\xff\xff\xff\x0f\x05"} {
		f.Add(append(slices.Clone(head), pack.block(kindRecords, []byte(raw))...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := read(bytes.NewReader(in))
		if err != nil && !errors.Is(err, messages.ErrCorrupt) && !errors.Is(err, messages.ErrInvalid) {
			t.Fatalf("an error of no kind: %v", err)
		}
		for i, r := range got[min(1, len(got)):] {
			if before := got[i]; r.partition < before.partition || r.partition == before.partition && r.offset <= before.offset {
				t.Fatalf("%v comes behind %v", r, before)
			}
		}
		if s, serr := Scan(bytes.NewReader(in)); serr == nil && s.Whole != (err == nil) {
			t.Fatalf("read: %v, scanned: %+v", err, s)
		}
	})
}
