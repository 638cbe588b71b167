// Package frame is what goes over a pipe's connection, as bytes and as values: the
// records of a sender (Data), what a member settles and allows (Ack, Nack), the end
// in order (Drain, Bye), and the Hello with which a member begins.
//
// # Bytes
//
// A frame is one pb.Frame that holds one kind. Data and Ack are hot: they are
// written by AppendDataHeader and AppendAck and read by Open and Frame.Decode, by
// hand, without an allocation for each. All others go through the generated code:
// their Wire method makes the message, AppendControl writes it. Both ways mean the
// same: what one writes, the other reads.
//
// Fields that are not known are skipped, so that a newer peer may add some; a frame
// of an unknown kind, or of two, is corrupt.
//
// # Errors
//
// Bytes that do not decode are messages.ErrCorrupt. What decodes and has no place is
// ErrProtocol. No error holds anything of a message. Breaks tells both, and a frame that is
// too large, from a broken network.
//
// # Memory
//
// A decoded Data's records alias the bytes that were decoded. Slices of numbers in a
// Frame are reused by the next Decode into it.
//
// The package is pure: it reads no clock, starts no goroutine and holds no state.
// Which side may send which frame, and when, is transport/socket's.
package frame
