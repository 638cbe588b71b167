package age

// Marks of a number that grows.

import (
	"slices"
	"time"
)

// mostMarks bounds what is kept of one number.
const mostMarks = 128

// Marks say when a number was seen to have reached what. The zero Marks is empty.
type Marks struct {
	all []mark // ascending
}

type mark struct {
	at   time.Time
	upTo uint64
}

// Note notes that the number is at upTo now, and forgets what was below oldest, of which
// nobody will ask any more. When there are many marks every second one is dropped: the
// others are newer, so ages become a little less.
func (m *Marks) Note(now time.Time, upTo, oldest uint64) {
	m.all = slices.DeleteFunc(m.all, func(x mark) bool { return x.upTo < oldest })
	if n := len(m.all); upTo < oldest || n > 0 && m.all[n-1].upTo >= upTo {
		return
	}
	if len(m.all) == mostMarks {
		for i := range mostMarks / 2 {
			m.all[i] = m.all[2*i]
		}
		m.all = m.all[:mostMarks/2]
	}
	m.all = append(m.all, mark{now, upTo})
}

// Of is how long ago the number was at of at least, as far as it was noted.
func (m *Marks) Of(now time.Time, of uint64) time.Duration {
	i, _ := slices.BinarySearchFunc(m.all, of, func(x mark, of uint64) int {
		if x.upTo < of {
			return -1
		}
		return 1
	})
	if i == len(m.all) {
		return 0
	}
	return now.Sub(m.all[i].at)
}
