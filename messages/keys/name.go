package keys

// Names are the only part of a key that comes from outside. What is allowed
// here decides what can appear between two slashes.

import (
	"fmt"
	"strings"

	"github.com/penstock-io/penstock/messages"
)

// MaxName is the longest name allowed, in bytes.
const MaxName = 128

// DefaultSpace is where Penstock keeps its keys by default.
const DefaultSpace Space = "/penstock"

// ValidateName reports whether name can be used for a destination, group, sender
// or member: a letter or digit, then up to 127 letters, digits, dots,
// underscores or dashes. kind is what the name is for and appears in the error,
// which wraps messages.ErrInvalid and says what is wrong with the name.
func ValidateName(kind, name string) error {
	if fault := nameFault(name); fault != "" {
		return fmt.Errorf("%w: %s name %q %s", messages.ErrInvalid, kind, clip(name), fault)
	}
	return nil
}

// loansMark is in no name that ValidateName takes.
const loansMark = "~"

// Loans is the name of the destination through which the owners of partitions lend the
// records of a shared group. ValidateName refuses it, so it is nobody else's.
func Loans(topicID, group string) string { return loansMark + topicID + loansMark + group }

// IsLoans reports whether a destination's name is one that Loans makes.
func IsLoans(dest string) bool {
	topic, group, ok := strings.Cut(strings.TrimPrefix(dest, loansMark), loansMark)
	return ok && strings.HasPrefix(dest, loansMark) && nameFault(topic) == "" && nameFault(group) == ""
}

// ValidateDestination is ValidateName for a destination, or for one that Loans makes where
// loans says so.
func ValidateDestination(name string, loans bool) error {
	if loans && IsLoans(name) {
		return nil
	}
	return ValidateName("destination", name)
}

// Space is the prefix of all keys, such as /penstock. Its zero value is not
// usable; see DefaultSpace.
type Space string

// Validate reports whether the space can be used: one or more names, each after
// a slash, with none at the end. The error wraps messages.ErrInvalid.
func (s Space) Validate() error {
	fail := func(fault string) error {
		return fmt.Errorf("%w: namespace %q %s", messages.ErrInvalid, clip(string(s)), fault)
	}
	switch {
	case s == "":
		return fail("is empty")
	case s[0] != '/':
		return fail("must begin with a slash")
	case len(s) > 4*MaxName:
		return fail(fmt.Sprintf("is longer than %d bytes", 4*MaxName))
	case strings.HasSuffix(string(s), "/"):
		return fail("must not end in a slash")
	}
	for part := range strings.SplitSeq(string(s[1:]), "/") {
		if fault := nameFault(part); fault != "" {
			return fail(fmt.Sprintf("has a part %q that %s", clip(part), fault))
		}
	}
	return nil
}

// nameFault says what is wrong with a name, or nothing.
func nameFault(name string) string {
	if name == "" {
		return "is empty"
	}
	if len(name) > MaxName {
		return fmt.Sprintf("is %d bytes long, over the limit of %d", len(name), MaxName)
	}
	if !alphanumeric(name[0]) {
		return "must begin with a letter or digit"
	}
	for i := 1; i < len(name); i++ {
		if c := name[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			return fmt.Sprintf("has a character at byte %d that is not a letter, digit, dot, underscore or dash", i)
		}
	}
	return ""
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// clip keeps a hostile name from filling a log.
func clip(s string) string {
	if len(s) > MaxName+8 {
		return s[:MaxName+8] + "…"
	}
	return s
}
