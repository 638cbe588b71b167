package socket

import (
	"strings"
	"unsafe"
)

// fresh answers n bytes of memory of their own, not cleared: what is received
// fills all of them before anybody sees one, and clearing a frame first costs a
// tenth of receiving it. Go clears what make answers; the memory under a
// strings.Builder is the one kind it does not.
func fresh(n int) []byte {
	var b strings.Builder
	b.Grow(n + 1)
	b.WriteByte(0)                                        // the data of an empty string would be unspecified
	return unsafe.Slice(unsafe.StringData(b.String()), n) //nolint:gosec // nobody else has the string, and all of it is written before it is read
}
