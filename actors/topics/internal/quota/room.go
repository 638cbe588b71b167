package quota

// How much room there is: functions over what was seen.

import "time"

// Size is what a look at etcd shows.
type Size struct {
	// InUse is what the keys and their history take, File what the database has taken
	// of its file so far: pages between them are free. Quota is what File may not
	// reach; 0 is not known.
	InUse, File, Quota int64
}

// amplification is how much larger the database gets by a batch, pages and all.
const amplification = 2.5

// reserve is what is kept free below a quota: a tenth, and enough for what others may
// put between two looks.
func reserve(quota int64) int64 { return max(quota/10, min(4<<20, quota/4)) }

// Room is how many bytes the database may yet grow by, none or less when it is to be
// written no more.
func Room(s Size) int64 {
	if s.Quota <= 0 {
		return unlimited
	}
	kept, free := reserve(s.Quota), max(0, s.File-s.InUse)
	room := s.Quota - kept - s.InUse
	// Half of the free pages, for a large value needs some in a row.
	file := max(0, s.Quota-kept/2-s.File) + free/2
	if s.File > s.Quota-kept/4 { // the next page behind its end may be the last
		file = free/2 - s.Quota/4
	}
	return min(room, file)
}

const unlimited = 1 << 62

const (
	// mostWriters is how many processes are taken to write at most.
	mostWriters = 64
	// leastGrant is what each may have between two looks while there is room for it.
	leastGrant = 512 << 10
)

// fewestWriters is how many processes are taken to write at least. What a large quota
// leaves cannot be written between two looks; what a small one leaves can.
func fewestWriters(quota int64) int64 {
	if quota < 1<<30 {
		return 16
	}
	return 4
}

// writers is how many processes seem to write like this one, from how much the database
// grew while this one put so many bytes.
func writers(quota, before, grown, own int64) int64 {
	if own < 64<<10 {
		return max(fewestWriters(quota), before*7/8)
	}
	now := grown * 2 / int64(amplification*float64(own))
	return min(max(now, before*7/8, fewestWriters(quota)), mostWriters)
}

// grant is how many bytes a process may put until the next look.
func grant(room, writers int64) int64 {
	if room <= 0 {
		return 0
	}
	share := int64(float64(room) / amplification / float64(writers))
	return max(share, min(leastGrant, int64(float64(room)/amplification/8)))
}

// interval is how long after a look the next one is, while there are appends.
func interval(s Size) time.Duration {
	if s.Quota > 0 && Room(s) < s.Quota/2 {
		return nearInterval
	}
	return farInterval
}

const (
	nearInterval = 100 * time.Millisecond
	farInterval  = time.Second
)
