package supervisor

// Strategy says which children a failed one takes along when it is restarted.
// It is about restarts only: Terminate and Escalate concern the failed child.
type Strategy int

const (
	// OneForOne restarts the failed child alone.
	OneForOne Strategy = iota
	// RestForOne restarts the failed child and those spawned after it.
	RestForOne
	// AllForOne restarts all children.
	AllForOne
)

// from is the index of the first child to restart, and to the one after the
// last, when the failed one of n children in spawn order is at index i.
func (s Strategy) span(i, n int) (from, to int) {
	switch s {
	case RestForOne:
		return i, n
	case AllForOne:
		return 0, n
	}
	return i, i + 1
}
