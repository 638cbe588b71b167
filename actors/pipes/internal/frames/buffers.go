package frames

// Memory that comes back when its user says so.

import (
	"math/bits"
	"sync"

	"github.com/penstock-io/penstock/transport/frame"
)

// Sizes of buffers: eight classes to each power of two, so that a buffer is at most an
// eighth larger than what it is for.
const (
	smallest      = 256
	smallestShift = 5 // smallest is 8 << smallestShift
)

// classOf is the smallest class whose buffers hold n bytes.
func classOf(n int) int {
	if n <= smallest {
		return 0
	}
	shift := bits.Len(uint(n-1)) - 4 // the four highest bits of n-1 stay: 8 to 15
	return (shift-smallestShift)*8 + (n-1)>>shift - 8 + 1
}

// sizeOf is how many bytes the buffers of a class have.
func sizeOf(class int) int { return (8 + class%8) << (smallestShift + class/8) }

// classes is how many there are: the last holds the largest frame.
var classes = classOf(frame.Largest) + 1

// free are buffers that nobody uses, by class, for the whole process.
var free = make([]sync.Pool, classes)

// Buffer is a frame's memory that is used again.
type Buffer struct {
	bytes []byte // as many as its class has
	class int
}

// Release lets the buffer be used for another frame. Nobody may look into it after that.
func (b *Buffer) Release() { free[b.class].Put(b) }

// Buffers hands out frames' memory on one link. It is for one goroutine.
type Buffers struct{ last *Buffer }

// Get returns n bytes, with whatever they held before. More than frame.Largest are
// memory of their own.
func (b *Buffers) Get(n int) []byte {
	class := classOf(n)
	if class >= classes {
		b.last = nil
		return make([]byte, n)
	}
	var ok bool
	if b.last, ok = free[class].Get().(*Buffer); !ok {
		b.last = &Buffer{make([]byte, sizeOf(class)), class}
	}
	return b.last.bytes[:n]
}

// Take returns the buffer behind what Get returned last, or nil. The caller releases it, or
// leaves it to the collector.
func (b *Buffers) Take() *Buffer {
	last := b.last
	b.last = nil
	return last
}
