package lines

// How a pump ends, and when it writes.

// pumpBuffer is the number of bytes that are written although more could be had
// without waiting.
const pumpBuffer = 64 << 10

// End says why a pump ended when nothing failed.
type End string

// The reasons.
const (
	EndCounted End = "count reached"
	EndIdle    End = "idle"   // nothing came for long enough
	EndSignal  End = "signal" // the context ended
	EndLeft    End = "left"   // the member or the subscription ended
)

// stuckError means that the reader of the stream takes nothing, and a write cannot
// be cancelled.
type stuckError struct{}

func (*stuckError) Error() string { return "the output takes nothing: given up" }
