package frames

// Memory that comes back when the collector finds that nobody refers to it.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// keptLimit bounds the memory that comes back, in use or not, for the whole process.
	// A collection finds as much of it as was dropped: the more there is, the fewer
	// collections frames cost. Beyond this more is no faster.
	keptLimit = 48 << 20
	// keptLeast is the least that is worth finding again.
	keptLeast = 8 << 10
)

// kept is the memory of Kept.
var kept = struct {
	free []sync.Pool // of *byte, by class: nobody refers to it
	back []func(*byte)
	made atomic.Int64 // bytes, in use or not
}{free: make([]sync.Pool, classes), back: make([]func(*byte), classes)}

func init() {
	for class := range kept.back {
		kept.back[class] = func(p *byte) { kept.free[class].Put(p) }
	}
}

// Kept returns n bytes, with whatever they held before, for somebody who may refer to any
// of them without end. It returns nil where memory of its own is as good: for little, and once
// there is much that comes back.
//
// The memory has a finalizer, which is run when no slice, string or pointer into it is left.
// Then it is here again.
func Kept(n int) []byte {
	class := classOf(n)
	if !found || n < keptLeast || class >= classes {
		return nil
	}
	p, ok := kept.free[class].Get().(*byte)
	if !ok {
		size := int64(sizeOf(class))
		if kept.made.Add(size) > keptLimit {
			kept.made.Add(-size)
			return nil
		}
		p = unsafe.SliceData(make([]byte, size))                               //nolint:gosec // the pointer keeps all of it
		runtime.AddCleanup(p, func(size int64) { kept.made.Add(-size) }, size) // once it does not come back
	}
	runtime.SetFinalizer(p, kept.back[class])
	return unsafe.Slice(p, n) //nolint:gosec // the class has at least n
}
