package frames

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// finding has memory found in this test, with the race detector, too: there is one
// goroutine that looks into it.
func finding(t *testing.T) {
	was := found
	found = true
	t.Cleanup(func() { found = was })
}

func at(b []byte) uintptr {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}

// collected collects until so holds. Finalizers run beside a collection.
func collected(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 1000 {
		if runtime.GC(); so() {
			return
		}
		runtime.Gosched()
	}
	t.Fatalf("not after 1,000 collections: %s", what)
}

func TestKeptMemoryComesBack(t *testing.T) {
	finding(t)
	for _, n := range []int{keptLeast, 16<<10 + 30, 64<<10 + 30, 264<<10 + 30, 1<<20 + 30} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if b := Kept(n); len(b) != n || cap(b) != n {
				t.Fatalf("%d bytes of %d", len(b), cap(b))
			}
			collected(t, "memory that was dropped is used again", func() bool {
				b := Kept(n)
				was := b[n-1] == 9 // new memory is zero
				b[n-1] = 9
				return was
			})
		})
	}
}

// What a user refers to, be it one byte, is not handed out again, and what it drops may be.
func TestKeptMemoryIsItsUsers(t *testing.T) {
	finding(t)
	rapid.Check(t, func(t *rapid.T) {
		type use struct {
			part []byte
			fill byte
		}
		var uses []use
		for i := range rapid.IntRange(1, 24).Draw(t, "frames") {
			n := rapid.SampledFrom([]int{keptLeast, 20 << 10, 66 << 10, 300 << 10}).Draw(t, "n")
			b := Kept(n)
			if b == nil {
				b = make([]byte, n)
			}
			fill := byte(i + 1)
			copy(b, bytes.Repeat([]byte{fill}, n))
			from := rapid.IntRange(0, n-1).Draw(t, "from")
			uses = append(uses, use{b[from : from+1+rapid.IntRange(0, n-1-from).Draw(t, "more")], fill})
			if rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
				uses = uses[rapid.IntRange(0, len(uses)).Draw(t, "drops"):]
			}
			if rapid.IntRange(0, 9).Draw(t, "collect") == 0 {
				runtime.GC()
			}
			for _, u := range uses {
				if bytes.Count(u.part, []byte{u.fill}) != len(u.part) {
					t.Fatalf("memory that is referred to has other bytes")
				}
			}
		}
	})
}

// There is so much of it and no more, and it is free again when nobody wants it.
func TestKeptMemoryIsBounded(t *testing.T) {
	finding(t)
	collected(t, "what other tests had is free", func() bool { return kept.made.Load() == 0 })
	const n = 250 << 10
	var all [][]byte
	seen := map[uintptr]bool{}
	for b := Kept(n); b != nil; b = Kept(n) {
		if seen[at(b)] {
			t.Fatal("the same memory twice")
		}
		seen[at(b)] = true
		all = append(all, b)
	}
	if made := kept.made.Load(); made > keptLimit || made < keptLimit-int64(sizeOf(classOf(n))) || len(all) < 50 {
		t.Errorf("%d pieces, %d bytes of %d", len(all), made, keptLimit)
	}
	if b := Kept(keptLimit); b != nil {
		t.Error("more than the limit in one piece")
	}
	if b := Kept(keptLeast - 1); b != nil {
		t.Error("little memory is kept")
	}
	runtime.KeepAlive(all)
	collected(t, "what nobody wants is free", func() bool { return kept.made.Load() == 0 })
}

func BenchmarkKept(b *testing.B) {
	for _, n := range []int{16 << 10, 64 << 10, 264 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			for b.Loop() {
				m := Kept(n)
				if m == nil {
					m = make([]byte, n)
				}
				m[0] = 1
			}
		})
	}
}
