package pb

// Levels: what a release can do on the wire, so that releases that differ can share a
// link, or refuse each other by name.

import "fmt"

// Level is what a release can do on the wire and in the keys of pipes. Each release that
// adds to them has the next one. A sender has its level in its key and its Challenge, a
// member in its key and its Hello. A link uses what the lower of the two levels has.
//
// Whoever adds a field or a frame: give it a level here, with a line in levels, and write
// it only where the link's level has it (socket.Conn.Level, or the Sender's level in etcd
// before there is a link). A field of Hello or Challenge is covered by both proofs from
// its level on: socket's transcript has the place. Levels are never used again.
type Level uint32

// The levels.
const (
	// LevelBase is that of releases that do not know levels.
	LevelBase Level = iota
	// LevelProofs: both proofs cover the levels of both sides, and a sender has a token for
	// each group.
	LevelProofs
	// LevelZones: a Hello has the member's zone.
	LevelZones

	// LevelNow is this release's.
	LevelNow Level = iota - 1
	// LevelOldest is the oldest that this release has links with.
	LevelOldest = LevelBase
)

// levels says what each level brings, for people.
var levels = [...]string{
	LevelBase:   "pipes as of the first release; nothing says a level",
	LevelProofs: "the proofs of both sides cover both levels; each group has tokens of its own",
	LevelZones:  "a member says its zone, see PreferZone",
}

// Brings says what the level added to the one before, for people; empty for one of a
// later release.
func (l Level) Brings() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return ""
}

// Levels are what one side of a link can do.
type Levels struct {
	// Oldest is the lowest level of others that it has links with, Own its own.
	Oldest, Own Level
}

// LevelsNow are those of this release.
func LevelsNow() Levels { return Levels{LevelOldest, LevelNow} }

// With is the level of a link with a side of level other.
func (l Levels) With(other Level) Level { return min(l.Own, other) }

// Refuse says why there is no link with a side of level other, which runs version (empty
// where that is not known); nil when there may be. who names that side in the text.
func (l Levels) Refuse(who string, other Level, version string) error {
	if other >= l.Oldest {
		return nil
	}
	if version == "" {
		version = "a release"
	}
	return fmt.Errorf("%s runs %s of level %d, and this side, of level %d, has links with level %d and later only: upgrade %s first",
		who, version, other, l.Own, l.Oldest, who)
}
