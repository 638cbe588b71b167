package messages

// Publish asks a destination's actor to accept a batch. Sent as a request it
// is answered with *Published; sent plainly, a refusal raises PublishRefused.
//
// The batch and its bytes must not be changed until the answer has come.
type Publish struct {
	Messages []Message
}

// Published answers Publish.
type Published struct {
	// Accepted counts the messages taken, from the front of the batch.
	Accepted int
	// Err says why the next one was not; nil when all were taken.
	Err error
}
