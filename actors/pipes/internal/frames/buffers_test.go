package frames

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/transport/frame"
)

// Buffers hold what they are for, and at most an eighth more.
func TestBuffersFitTheirFrames(t *testing.T) {
	fits := func(n int) error {
		class := classOf(n)
		switch size := sizeOf(class); {
		case size < n, class > 0 && sizeOf(class-1) >= n, size > max(smallest, n+n/8):
			return fmt.Errorf("%d bytes get a buffer of %d", n, size)
		case class >= classes:
			return fmt.Errorf("%d bytes are of class %d, and there are %d", n, class, classes)
		}
		return nil
	}
	for _, n := range []int{1, 255, 256, 257, 288, 289, 480, 481, 511, 512, 513, 64<<10 + 30, 1<<20 + 30, frame.Largest} {
		if err := fits(n); err != nil {
			t.Error(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := fits(rapid.IntRange(1, frame.Largest).Draw(t, "n")); err != nil {
			t.Fatal(err)
		}
	})
	var b Buffers
	if got := b.Get(2 * frame.Largest); len(got) != 2*frame.Largest || b.Take() != nil {
		t.Errorf("%d bytes of a frame that is too large", len(got))
	}
}
