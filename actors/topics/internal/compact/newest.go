package compact

// Which offset the newest record of each key has.

import (
	"hash/maphash"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// MostKeys is how many keys a pass knows at most: some 16 MiB. A batch more fits.
const MostKeys = 256 << 10

// Newest knows the newest record of each key, of a run of batches. A hash of 128 bits,
// under seeds that nobody outside of the process knows, stands for a key.
type Newest struct {
	most  int
	seeds [2]maphash.Seed
	at    map[[2]uint64]int64
}

// NewNewest makes one that is full with so many keys.
func NewNewest(most int) *Newest {
	return &Newest{most: most, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, at: make(map[[2]uint64]int64)}
}

// Take takes in a batch, which is behind those before. The error wraps
// messages.ErrCorrupt.
func (n *Newest) Take(b *format.Batch) error {
	rest := b.Raw
	for at := b.Base; len(rest) > 0; at++ {
		var r messages.Payload
		size, err := messages.ConsumeRecord(rest, &r)
		if err != nil {
			return err
		}
		if len(r.Key) > 0 {
			n.at[n.hash(r.Key)] = at
		}
		rest = rest[size:]
	}
	return nil
}

// Full reports whether no further batch should be taken.
func (n *Newest) Full() bool { return len(n.at) >= n.most }

// Supersedes reports whether there is a record with a key behind an offset.
func (n *Newest) Supersedes(key []byte, offset int64) bool {
	if len(key) == 0 || len(n.at) == 0 {
		return false
	}
	at, ok := n.at[n.hash(key)]
	return ok && at > offset
}

func (n *Newest) hash(key []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(n.seeds[0], key), maphash.Bytes(n.seeds[1], key)}
}
