package rebalance

// Who owns which partition of a topic: pure, so that every member that computes
// it from the same facts comes to the same answer.

import "slices"

// Assign gives each partition below partitions to one of members, which are
// distinct and sorted by age, oldest first. It returns the whole assignment and
// how many partitions change hands, counting those of members that are gone and
// not those that nobody had in current.
//
// No member has two partitions more than another, and no assignment that is as
// even moves fewer: a member gives up only what is over its share, and the
// larger shares go to those who would otherwise give up most. What Assign
// returned moves nothing when it is assigned again. Without members nobody has
// anything.
func Assign(members []string, partitions int, current map[int]string) (next map[int]string, moved int) {
	next = make(map[int]string, partitions)
	if len(members) == 0 || partitions <= 0 {
		return next, 0
	}
	index := make(map[string]int, len(members))
	for i, m := range members {
		index[m] = i
	}
	owned := make([][]int, len(members))
	free := make([]int, 0, partitions)
	for p := range partitions {
		if i, ok := index[current[p]]; ok {
			owned[i] = append(owned[i], p)
		} else {
			free = append(free, p)
		}
	}

	// The share of each, and one more for as many as the remainder allows.
	share, larger := partitions/len(members), partitions%len(members)
	for i, ps := range owned {
		most := share
		if len(ps) > share && larger > 0 {
			larger--
			most++
		}
		if len(ps) > most {
			free = append(free, ps[most:]...)
			owned[i] = ps[:most]
		}
	}

	// Nobody is over the share now, so filling up from below ends even.
	slices.Sort(free)
	for _, p := range free {
		least := 0
		for i := range owned {
			if len(owned[i]) < len(owned[least]) {
				least = i
			}
		}
		owned[least] = append(owned[least], p)
	}

	for i, ps := range owned {
		for _, p := range ps {
			next[p] = members[i]
			if before, had := current[p]; had && before != members[i] {
				moved++
			}
		}
	}
	return next, moved
}
