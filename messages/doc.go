// Package messages holds what crosses the boundaries of Penstock as plain Go
// values: what callers send and receive (Message, Delivery, Record), how a failed
// message is retried (Retry), what a group is (Mode, QueuePolicy), what happened
// (Event), what was counted (Stats) and what went wrong (ErrClosed and the other
// sentinels). The root package and package actors both use them.
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
// panic on any input: bytes that do not decode are ErrCorrupt.
//
// # Events
//
// Every drop, redelivery, fence, restart and refusal is an Event, a struct with
// documented fields. EventName and EventAttrs say how it is logged, and LogEvent logs
// it; no log line says more than its event does.
//
// Nothing here blocks, starts a goroutine or keeps state; values are safe to share
// once they are no longer written to.
package messages
