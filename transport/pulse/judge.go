package pulse

// What dialing a peer shows, and what that means.

import "time"

// outcome is how one attempt at an address ended.
type outcome uint8

const (
	// kept: the peer proved itself, and the connection lasted until it closed.
	kept outcome = iota
	// brief is kept for less than a while.
	brief
	// refused: the host says that nobody listens there.
	refused
	// unclear: everything else.
	unclear
)

// verdict is what to do next.
type verdict uint8

const (
	again verdict = iota // dial the same address, after a moment
	later                // dial any address, after a while
	dead                 // the process has ended
)

const (
	// tries is how often a peer is dialed whose connection closed before that shows
	// nothing: a kernel may take connections while it closes those of a process.
	tries = 8
	// moment is the first wait between them, which doubles: half a second in all.
	moment = 4 * time.Millisecond
	// while and longestWhile are the first and the longest wait for a peer that
	// cannot be reached, which doubles.
	while, longestWhile = time.Second, time.Minute
)

// judge decides about one peer. Its zero value has seen nothing.
type judge struct {
	lost     int // attempts since a connection closed, or 0
	briefs   int // connections in a row that were brief
	failures int // attempts without a connection that was kept, or 0
}

// sees takes an outcome, and says what to do and after how long.
func (j *judge) sees(o outcome) (verdict, time.Duration) {
	switch o {
	case brief:
		j.briefs++
	case kept:
		j.briefs = 0
	}
	switch {
	case o == kept, o == brief && j.briefs < tries:
		j.lost, j.failures = 1, 0
		return again, 0
	case j.lost > 0 && o == refused:
		return dead, 0
	case o == unclear && j.lost > 0 && j.lost < tries:
		j.lost++
		return again, moment << (j.lost - 2)
	}
	// It may be cut off, or take connections and close them. What is refused from now on may be by somebody else.
	j.lost, j.briefs = 0, 0
	wait := min(while<<min(j.failures, 10), longestWhile)
	j.failures++
	return later, wait
}
