// Package messages holds what crosses the boundaries of Penstock as plain Go
// values: what callers send and receive (Message, Delivery, Record), what
// happened (Event) and what went wrong (ErrClosed and the other sentinels). Both faces of Penstock, the root package and actors,
// speak these.
//
// # Bytes
//
// A Message's bytes are the caller's; they are copied once when they are
// accepted, by AppendRecord, and are free again then. A Payload's bytes belong to
// the buffer it was decoded from: they stay valid for as long as anybody holds
// them, keep that whole buffer in memory, and are shared, so nobody writes into
// them. Clone makes bytes of one's own.
//
// # Records and batches
//
// A batch is a run of records exactly as they stand in a protobuf message with
// the field `repeated Record records = 2`. AppendRecord writes one, ConsumeRecord
// reads the next, CountRecords checks the bounds of all. They agree with the code
// generated from pb/record.proto in both directions, do not allocate, and do not
// panic on any input: bytes that do not decode answer ErrCorrupt.
//
// # Events
//
// Every drop, redelivery, fence, restart and refusal is an Event, a struct with
// documented fields. LogEvent makes a log line of one; no log line says more than
// its event does.
//
// Nothing here blocks, starts a goroutine or keeps state; values are safe to share
// once they are no longer written to.
package messages
