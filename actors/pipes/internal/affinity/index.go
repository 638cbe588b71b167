package affinity

// Which lane a key has: a table with open addresses, which costs the garbage collector
// nothing. Its hash has a seed of its own, so that nobody who chooses keys can aim at one
// place, or at one lane.

// index has lanes by the hashes of their keys. The zero value is empty.
type index struct {
	slots []place // as many as a power of two
	used  int
}

// place is one lane in the index, or free where that is 0.
type place struct {
	tag  uint32 // the lower half of the hash
	lane int32
}

// leastPlaces is how many there are at least.
const leastPlaces = 64

// home is where a lane with that half of a hash is looked for first.
func (x *index) home(tag uint32) int { return int(tag) & (len(x.slots) - 1) }

// put adds a lane that is not there.
func (x *index) put(hash uint64, lane int32) {
	if 4*(x.used+1) > 3*len(x.slots) {
		old := x.slots
		x.slots = make([]place, max(leastPlaces, 2*len(old)))
		for _, p := range old {
			if p.lane != 0 {
				x.slots[x.free(p.tag)] = p
			}
		}
	}
	x.used++
	x.slots[x.free(uint32(hash))] = place{uint32(hash), lane}
}

func (x *index) free(tag uint32) int {
	i := x.home(tag)
	for x.slots[i].lane != 0 {
		i = (i + 1) & (len(x.slots) - 1)
	}
	return i
}

// remove takes a lane out that is there.
func (x *index) remove(hash uint64, lane int32) {
	i, mask := x.home(uint32(hash)), len(x.slots)-1
	for x.slots[i].lane != lane {
		i = (i + 1) & mask
	}
	x.used--
	// Whoever would not be found any more, because the search ends at i, moves there.
	for j := (i + 1) & mask; x.slots[j].lane != 0; j = (j + 1) & mask {
		if away := (j - x.home(x.slots[j].tag)) & mask; away >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = place{}
}
