package messages

// What etcd shows of a destination.

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// DestinationInfo is a destination with its senders and groups, as of one revision of
// etcd. There is one for each name that a sender, a group or a member stands under.
type DestinationInfo struct {
	Name string
	// Sole is the id of the only sender allowed; empty when others are.
	Sole string
	// Senders and Groups are sorted by ID and Name.
	Senders []SenderInfo
	Groups  []PipeGroupInfo
	// Revision is that of etcd, at which all of it was read.
	Revision int64
	// Err is nil, or says which keys do not make sense and are passed over; it wraps
	// ErrCorrupt.
	Err error
}

// SenderInfo is a process that is registered for a destination.
type SenderInfo struct {
	ID string
	// URLs are where members find it, in the order in which they try them.
	URLs []string
	// PlainURLs are where stock nanomsg PULL peers find it; members do not dial them.
	PlainURLs []string
	// Identities are the names of which its certificate has one, on encrypted URLs.
	Identities []string
	Host       string
	// Since is when it registered, by its own clock.
	Since time.Time
	// Version is the release of Penstock that it runs; empty when it was not built from
	// one.
	Version string
	// Level is what that release can do on the wire of pipes; 0 for releases before there
	// were levels. See docs/upgrading.md.
	Level uint32
	// Zone is where it runs, as its runtime was told; empty for none.
	Zone string
}

// LargestZone is how many bytes the name of a zone has at most.
const LargestZone = 63

// ValidateZone returns an ErrInvalid for a zone that is longer than LargestZone, or has
// characters that cannot be printed. The empty one is valid: no zone.
func ValidateZone(zone string) error {
	switch {
	case len(zone) > LargestZone:
		return fmt.Errorf("zone of %d bytes: it may have %d: %w", len(zone), LargestZone, ErrInvalid)
	case !utf8.ValidString(zone) || strings.ContainsFunc(zone, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("zone %q: it may have printable characters only: %w", zone, ErrInvalid)
	}
	return nil
}

// PipeGroupInfo is a group of a destination.
type PipeGroupInfo struct {
	Name string
	// Mode and Policy are empty where only members or a mark of desertion are left. Those
	// of a later version are named as there.
	Mode    Mode
	Policy  QueuePolicy
	KeepFor time.Duration // or Forever
	// Members are sorted by ID.
	Members []PipeMemberInfo
	// Deserted is since when there is no member, by the clock of the host that found it
	// so; zero with members, and for a group that is kept Forever.
	Deserted time.Time
	// KeptUntil is when etcd removes the group if nobody joins, to the second; zero with
	// members, for a group that is kept Forever, and in a list.
	KeptUntil time.Time
	// PausedUntil is when the group's pause ends, by the clock of who paused it; zero for
	// none.
	PausedUntil time.Time
}

// PipeMemberInfo is a live member of a destination's group.
type PipeMemberInfo struct {
	ID, Host string
	// Since is when it joined, by its own clock.
	Since  time.Time
	Window int
	// TLS is "preferred" where it has certificates for links, "required" where it has no
	// other links, and else empty.
	TLS string
	// Level is as a sender's.
	Level uint32
	// Zone is as a sender's.
	Zone string
}

// TokenInfo is which tokens the senders of a destination have for one group, without the
// tokens themselves.
type TokenInfo struct {
	// Group is empty for the tokens that admit to any group.
	Group string
	// Generation is the one that senders are to have; 0 before the first rotation.
	Generation uint64
	// Least is the lowest generation that is not revoked.
	Least uint64
	// Since is when that was asked for, by the clock of who did; zero before the first
	// rotation. Grace is how long the generation before admits beside it.
	Since time.Time
	Grace time.Duration
	// Senders are sorted by name.
	Senders []SenderToken
}

// SenderToken is a token that a sender has.
type SenderToken struct {
	Sender     string
	Generation uint64
	// Two says that a token of the generation Before admits beside it, until its grace is
	// over. Generation and Before are the same where the key had been gone.
	Two    bool
	Before uint64
	// Since is when the sender drew it, by its own clock; zero of releases before there were
	// generations.
	Since time.Time
}
