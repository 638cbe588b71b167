package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// paged reads all of a partition with a Pager.
func paged(t testing.TB, p *Partition, from int64) (all []Stored) {
	t.Helper()
	for g := p.Pager(from); ; {
		page, err := g.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func never(int) error { return nil }

// Promise: pages are all batches in their order, whatever their sizes; records of many
// batches are erased together, and nothing but them.
func TestPagesAndErasing(t *testing.T) {
	l, _ := startEtcd(t)
	p, a := filled(t, l, 300)
	ctx := testContext(t)
	if got := paged(t, p, 0); len(got) != 300 || got[299].Entry.End() != 600 {
		t.Fatalf("%d batches", len(got))
	}
	b, err := p.Compacted(ctx)
	if err != nil || b.UpTo != 0 {
		t.Fatal(b.Compacted, err)
	}
	var gone []int64
	for at := range int64(600) {
		if rand.IntN(3) > 0 {
			gone = append(gone, at)
		}
	}
	erases := func(at int64, _ *messages.Payload) bool { return slices.Contains(gone, at) }
	var done Erasing
	for g := p.Pager(0); ; {
		page, err := g.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		turns := 0
		some, err := p.EraseFrom(ctx, Office{}, &b, page, erases, func(bytes int) error { turns++; return nil })
		if err != nil || turns > 1+len(page)/erasedTogether {
			t.Fatalf("%d turns for %d batches, %v", turns, len(page), err)
		}
		done.Records += some.Records
		b.RestOn(page[len(page)-1])
	}
	if done.Records != len(gone) {
		t.Errorf("erased %d, want %d", done.Records, len(gone))
	}
	if got := alive(t, p); !slices.Equal(got, upFrom(0, 600, gone...)) {
		t.Errorf("left %v", got)
	}
	b.UpTo = 600
	if err := p.NoteCompacted(ctx, Office{}, &b); err != nil {
		t.Fatal(err)
	}
	if now, err := p.Compacted(ctx); err != nil || now.UpTo != 600 || now.value != b.value {
		t.Errorf("noted %+v, %v", now.Compacted, err)
	}
	if base := mustAppend(t, a, sealedWith("600")); base != 600 {
		t.Errorf("appended at %d", base)
	}
	if _, err := p.Truncate(ctx, 100); err != nil {
		t.Fatal(err)
	}
	var trimmed *TrimmedError
	if _, err := p.Pager(50).Next(ctx); !errors.As(err, &trimmed) || trimmed.Start != 100 {
		t.Errorf("before the start: %v", err)
	}
	put(t, l, p.bodyKey(102), "damaged")
	g := p.Pager(100)
	if page, err := g.Next(ctx); err != nil || len(page) != 1 {
		t.Errorf("before the damage: %d, %v", len(page), err)
	}
	if _, err := g.Next(ctx); !errors.Is(err, messages.ErrCorrupt) {
		t.Errorf("damage: %v", err)
	}
}

// Promise: what was decided upon in a log that is gone erases nothing and notes nothing:
// not after etcd was set back, not after somebody changed what it rests on, and not by who
// is not the keeper.
func TestErasingRestsOnTheLog(t *testing.T) {
	all := func(int64, *messages.Payload) bool { return true }
	for name, change := range map[string]func(t *testing.T, l *Log, p *Partition){
		"the newest batch is gone": func(t *testing.T, l *Log, p *Partition) {
			if _, err := l.client.Delete(testContext(t), p.indexKey(8)); err != nil {
				t.Fatal(err)
			}
		},
		"another is in its place": func(t *testing.T, l *Log, p *Partition) {
			if _, err := l.client.Delete(testContext(t), p.indexKey(8)); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, p.Appender(AppenderConfig{Producer: 9}), sealedWith("8", "9"))
		},
		"the last pass is another": func(t *testing.T, l *Log, p *Partition) {
			b, err := p.Compacted(testContext(t))
			if err == nil {
				err = p.NoteCompacted(testContext(t), Office{}, &b)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"the last pass is gone": func(t *testing.T, l *Log, p *Partition) {
			if _, err := l.client.Delete(testContext(t), p.compactedKey()); err != nil {
				t.Fatal(err)
			}
		},
		"the start moved": func(t *testing.T, l *Log, p *Partition) {
			if _, err := p.Truncate(testContext(t), 4); err != nil {
				t.Fatal(err)
			}
		},
		"a record was deleted": func(t *testing.T, l *Log, p *Partition) {
			if n, err := p.EraseOffsets(testContext(t), []int64{3}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		},
		"another is the keeper": nil,
	} {
		t.Run(name, func(t *testing.T) {
			l, _ := startEtcd(t)
			p, _ := filled(t, l, 5)
			ctx := testContext(t)
			first, err := p.Compacted(ctx)
			if err == nil {
				first.UpTo = 2
				err = p.NoteCompacted(ctx, Office{}, &first)
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := p.Compacted(ctx)
			if err != nil {
				t.Fatal(err)
			}
			page := paged(t, p, 0)
			b.RestOn(page[len(page)-1])
			want, office := ErrOtherLog, Office{}
			if change == nil {
				want, office = ErrNotKeeper, Office{value: "me", revision: 1}
			} else {
				change(t, l, p)
			}
			before := fmt.Sprint(under(t, l, ""), len(alivePast(t, p)))
			if done, err := p.EraseFrom(ctx, office, &b, page, all, never); !errors.Is(err, want) || done.Records != 0 {
				t.Errorf("erased %+v, %v", done, err)
			}
			if after := fmt.Sprint(under(t, l, ""), len(alivePast(t, p))); after != before {
				t.Errorf("left is %s, want %s", after, before)
			}
			only := name == "the start moved" || name == "a record was deleted"
			if same, err := p.Stands(ctx, &b); err != nil || same != (only || change == nil) {
				t.Errorf("it stands: %v, %v", same, err)
			}
			if err := p.NoteCompacted(ctx, office, &b); !errors.Is(err, want) && !only || only && err != nil {
				t.Errorf("noted: %v", err)
			}
		})
	}
}

// alivePast counts records that are left, of whatever batches there are.
func alivePast(t testing.TB, p *Partition) (left []int64) {
	t.Helper()
	start, _, err := p.Bounds(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for g := p.Pager(start); ; {
		page, err := g.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return left
		}
		for _, s := range page {
			if _, err := format.Erase(s.Entry, s.Batch, func(at int64, _ *messages.Payload) bool { left = append(left, at); return false }, messages.CompressNone, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}
