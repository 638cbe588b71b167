package keys

import "strings"

// The builders and their inverse stand side by side: a key that one learns to
// make, the other must learn to read.

// Dests is the prefix of everything about destinations, and of no token.
func (s Space) Dests() string { return string(s) + "/dest/" }

// Dest is the prefix of everything about one destination but its tokens.
func (s Space) Dest(dest string) string { return s.Dests() + dest + "/" }

// Sole is the mark of a destination that has one sender only; its value is the
// id of that sender.
func (s Space) Sole(dest string) string { return s.Dest(dest) + "sole" }

// Senders is the prefix of a destination's senders.
func (s Space) Senders(dest string) string { return s.Dest(dest) + "senders/" }

// Sender is the key of one sender.
func (s Space) Sender(dest, id string) string { return s.Senders(dest) + id }

// AllSecrets is the prefix of the tokens of all destinations.
func (s Space) AllSecrets() string { return string(s) + "/secret/" }

// Secrets is the prefix of the tokens of a destination's senders.
func (s Space) Secrets(dest string) string { return s.AllSecrets() + dest + "/" }

// Secret is the key of one sender's token.
func (s Space) Secret(dest, id string) string { return s.Secrets(dest) + id }

// Groups is the prefix of a destination's groups.
func (s Space) Groups(dest string) string { return s.Dest(dest) + "groups/" }

// Group is the prefix of everything about one group.
func (s Space) Group(dest, group string) string { return s.Groups(dest) + group + "/" }

// GroupMeta is the key of a group's settings.
func (s Space) GroupMeta(dest, group string) string { return s.Group(dest, group) + "meta" }

// Deserted is the key of the time since which a group has had no member.
func (s Space) Deserted(dest, group string) string { return s.Group(dest, group) + "deserted" }

// Members is the prefix of a group's members.
func (s Space) Members(dest, group string) string { return s.Group(dest, group) + "members/" }

// Member is the key of one member.
func (s Space) Member(dest, group, id string) string { return s.Members(dest, group) + id }

// Kind says what a key holds.
type Kind uint8

// The kinds of key. None is no key of ours.
const (
	None Kind = iota
	KindSole
	KindSender
	KindSecret
	KindGroupMeta
	KindDeserted
	KindMember
)

// String names the kind as errors and logs do.
func (k Kind) String() string {
	switch k {
	case KindSole:
		return "sole sender"
	case KindSender:
		return "sender"
	case KindSecret:
		return "secret"
	case KindGroupMeta:
		return "group settings"
	case KindDeserted:
		return "group without members"
	case KindMember:
		return "member"
	default:
		return "none"
	}
}

// Key is a key taken apart. Group is empty but for group settings and members,
// ID is empty for settings and marks.
type Key struct {
	Kind            Kind
	Dest, Group, ID string
}

// In is the key's text in a space; empty for the kind None.
func (k Key) In(s Space) string {
	switch k.Kind {
	case KindSole:
		return s.Sole(k.Dest)
	case KindSender:
		return s.Sender(k.Dest, k.ID)
	case KindSecret:
		return s.Secret(k.Dest, k.ID)
	case KindGroupMeta:
		return s.GroupMeta(k.Dest, k.Group)
	case KindDeserted:
		return s.Deserted(k.Dest, k.Group)
	case KindMember:
		return s.Member(k.Dest, k.Group, k.ID)
	default:
		return ""
	}
}

// Parse takes a key apart. It answers false for a key that lies outside the
// space, that no builder makes, or whose names ValidateName refuses: such a
// key is somebody else's. The result shares no memory beyond key itself.
func (s Space) Parse(key string) (Key, bool) {
	rest, ok := strings.CutPrefix(key, string(s)+"/")
	if !ok {
		return Key{}, false
	}
	// Six parts make the longest key; what has more is not ours.
	k, ok := parts(strings.SplitN(rest, "/", 7))
	if !ok || !k.named() {
		return Key{}, false
	}
	return k, true
}

func parts(p []string) (Key, bool) {
	switch {
	case len(p) == 3 && p[0] == "dest" && p[2] == "sole":
		return Key{Kind: KindSole, Dest: p[1]}, true
	case len(p) == 4 && p[0] == "dest" && p[2] == "senders":
		return Key{Kind: KindSender, Dest: p[1], ID: p[3]}, true
	case len(p) == 3 && p[0] == "secret":
		return Key{Kind: KindSecret, Dest: p[1], ID: p[2]}, true
	case len(p) == 5 && p[0] == "dest" && p[2] == "groups" && p[4] == "meta":
		return Key{Kind: KindGroupMeta, Dest: p[1], Group: p[3]}, true
	case len(p) == 5 && p[0] == "dest" && p[2] == "groups" && p[4] == "deserted":
		return Key{Kind: KindDeserted, Dest: p[1], Group: p[3]}, true
	case len(p) == 6 && p[0] == "dest" && p[2] == "groups" && p[4] == "members":
		return Key{Kind: KindMember, Dest: p[1], Group: p[3], ID: p[5]}, true
	default:
		return Key{}, false
	}
}

// named tells whether each name the kind has is a good one.
func (k Key) named() bool {
	good := func(name string) bool { return nameFault(name) == "" }
	switch k.Kind {
	case KindSole:
		return good(k.Dest)
	case KindSender, KindSecret:
		return good(k.Dest) && good(k.ID)
	case KindGroupMeta, KindDeserted:
		return good(k.Dest) && good(k.Group)
	case KindMember:
		return good(k.Dest) && good(k.Group) && good(k.ID)
	default:
		return false
	}
}
