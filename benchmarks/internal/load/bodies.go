package load

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Bodies: random bytes with a number stamped in, and what a receiver can tell
// from them at a cost that does not drown what is measured.

// MinBody is the smallest body: a number and one word of content.
const MinBody = 16

// templates bounds how many different contents there are, templateBytes what
// they take together: enough to notice a mix-up, little enough to stay in the
// cache, so that making a body is not what is measured.
const (
	templates     = 16
	templateBytes = 1 << 20
)

// Bodies makes message i of a run and recognises it at the other end. The
// sending and the receiving side may use it at the same time; each side from
// one goroutine only.
type Bodies struct {
	size    int
	content [][]byte // the sender's, stamped in turn
	sums    []uint64 // of the content behind the stamp
}

// NewBodies makes bodies of size bytes, at least MinBody, from random bytes
// that are the same each time.
func NewBodies(size int) *Bodies {
	size = max(size, MinBody)
	b := &Bodies{size: size}
	random := rand.NewChaCha8([32]byte{1})
	for range min(templates, max(2, templateBytes/size)) {
		content := make([]byte, size)
		_, _ = random.Read(content) // it never fails
		b.content = append(b.content, content)
		b.sums = append(b.sums, sum(content))
	}
	return b
}

// Size is the length of each body, in bytes.
func (b *Bodies) Size() int { return b.size }

// At is the body of message i. It is valid until a few calls later: whoever
// sends it copies it first.
func (b *Bodies) At(i uint64) []byte {
	body := b.content[i%uint64(len(b.content))]
	binary.LittleEndian.PutUint64(body, i)
	return body
}

// Check tells what is wrong with body as message i of a run, nil when nothing.
func (b *Bodies) Check(i uint64, body []byte) error {
	if len(body) != b.size {
		return fmt.Errorf("message %d has %d bytes, %d were sent", i, len(body), b.size)
	}
	if got := binary.LittleEndian.Uint64(body); got != i {
		return fmt.Errorf("message %d came where %d was due", got, i)
	}
	if sum(body) != b.sums[i%uint64(len(b.sums))] {
		return fmt.Errorf("message %d came with other content than was sent", i)
	}
	return nil
}

// sum adds up the words behind the stamp: all of them, and in large bodies one
// of each cache line and the last, which still fetches everything.
func sum(body []byte) (s uint64) {
	stride := 8
	if len(body) > 1024 {
		stride = 64
	}
	last := len(body) - 8
	for at := 8; at < last; at += stride {
		s += binary.LittleEndian.Uint64(body[at:])
	}
	return s*31 + binary.LittleEndian.Uint64(body[last:])
}
