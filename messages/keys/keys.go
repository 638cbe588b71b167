package keys

// The keys of pipes. A key that a builder learns to make, Parse must learn to
// read.

// Dests is the prefix of everything about destinations, and of no token.
func (s Space) Dests() string { return string(s) + "/dest/" }

// Dest is the prefix of everything about one destination but its tokens.
func (s Space) Dest(dest string) string { return s.Dests() + dest + "/" }

// LoansOf is the prefix of all destinations that Loans makes for one topic.
func (s Space) LoansOf(topicID string) string { return s.Dests() + Loans(topicID, "") }

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

// GroupSecrets is the prefix of the tokens that admit to one group.
func (s Space) GroupSecrets(dest, group string) string { return s.Secrets(dest) + group + "/" }

// GroupSecret is the key of one sender's token for a group.
func (s Space) GroupSecret(dest, group, id string) string { return s.GroupSecrets(dest, group) + id }

// generation is in no name that ValidateName takes.
const generation = "~generation"

// Generation is the key of the generation that a group's tokens are to have; without a
// group, of that of the tokens for all groups.
func (s Space) Generation(dest, group string) string {
	if group == "" {
		return s.Secrets(dest) + generation
	}
	return s.GroupSecrets(dest, group) + generation
}

// AllAllowed is the prefix of those who may join groups.
func (s Space) AllAllowed() string { return string(s) + "/allow/" }

// AllowedTo is the prefix of those who may join groups of a destination.
func (s Space) AllowedTo(dest string) string { return s.AllAllowed() + dest + "/" }

// Allowed is the key of one identity that may join a group; name is for people.
func (s Space) Allowed(dest, group, name string) string {
	return s.AllowedTo(dest) + group + "/" + name
}

// Groups is the prefix of a destination's groups.
func (s Space) Groups(dest string) string { return s.Dest(dest) + "groups/" }

// Group is the prefix of everything about one group.
func (s Space) Group(dest, group string) string { return s.Groups(dest) + group + "/" }

// GroupMeta is the key of a group's settings.
func (s Space) GroupMeta(dest, group string) string { return s.Group(dest, group) + "meta" }

// Deserted is the key of the mark that a group has no member.
func (s Space) Deserted(dest, group string) string { return s.Group(dest, group) + "deserted" }

// Paused is the key of a group's pause.
func (s Space) Paused(dest, group string) string { return s.Group(dest, group) + "paused" }

// Members is the prefix of a group's members.
func (s Space) Members(dest, group string) string { return s.Group(dest, group) + "members/" }

// Member is the key of one member.
func (s Space) Member(dest, group, id string) string { return s.Members(dest, group) + id }
