package commitlog

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// Promise: Beyond tells where each of many partitions begins and ends, in few requests while
// nothing came, and whether the last batch read stands.
func TestBeyond(t *testing.T) {
	l, f := startEtcd(t)
	ctx := testContext(t)
	const n = 70 // more than one request takes
	info := create(t, l, "topic", n)
	read := make([]Reached, n)
	want := make([]int64, n)
	for p := range n {
		at := plant(t, l.Partition(info, p), 0, repeat(1+p%3, 7)...)
		entries, err := l.Partition(info, p).Entries(ctx, 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		read[p], want[p] = Reached{Offset: at, Last: entries[len(entries)-1]}, at
	}
	look := func(what string) []News {
		t.Helper()
		news, partitions, err := l.Beyond(ctx, info, read)
		if err != nil || partitions != n {
			t.Fatalf("%s: %d partitions, %v", what, partitions, err)
		}
		for p, is := range news {
			if is.End != want[p] {
				t.Errorf("%s: partition %d ends at %d, want %d", what, p, is.End, want[p])
			}
		}
		return news
	}
	before := f.requests.Load()
	for p, is := range look("nothing new") {
		if !is.Stands || is.Start != 0 {
			t.Errorf("partition %d: %+v", p, is)
		}
	}
	if sent := f.requests.Load() - before; sent != 2 {
		t.Errorf("that took %d requests", sent)
	}
	// A batch came, and more than a window has; one partition was read not at all.
	want[3] = plant(t, l.Partition(info, 3), want[3], 5)
	want[4] = plant(t, l.Partition(info, 4), want[4], repeat(3, window)...)
	read[5] = Reached{}
	look("more in some")
	// Another batch stands where the last was read, and one was trimmed.
	read[6].Last.Producer++
	trim(t, l, info, 7, want[7])
	for p, is := range look("set back") {
		if is.Stands != (p != 6) {
			t.Errorf("partition %d stands: %v", p, is.Stands)
		}
	}
	// The last one read is gone, and the log is shorter.
	remove(t, l, l.space.IndexEntry(info.ID, 8, read[8].Last.Base))
	if news := look("shorter"); news[8].Stands {
		t.Error("a batch that is gone stands")
	}
	gone := info
	gone.ID = "gone"
	if _, _, err := l.Beyond(ctx, gone, read[:1]); !errors.Is(err, messages.ErrTopicDeleted) {
		t.Errorf("of a topic that is not there: %v", err)
	}
	put(t, l, l.space.IndexEntry(info.ID, 9, want[9]), "no entry")
	if _, _, err := l.Beyond(ctx, info, read); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("behind an entry that does not decode: %v", err)
	}
}
