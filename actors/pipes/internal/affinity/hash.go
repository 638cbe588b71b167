package affinity

// Which member a key belongs to. It must not change: senders of several versions are to
// find the same one.

// Hash is of a key: FNV-1a in 64 bits, mixed so that similar keys are far apart.
func Hash(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// mix is the end of splitmix64.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// parts is how many parts the keys have that belong to members as a whole, so that a
// member is found without a look at all of them.
const parts = 2048

func partOf(hash uint64) uint16 { return uint16(hash % parts) }

// score is how much a part wants a member: the highest one wins.
func score(part int, member uint64) uint64 { return mix(mix(uint64(part)+1) ^ member) }
