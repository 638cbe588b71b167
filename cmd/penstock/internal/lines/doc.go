// Package lines moves messages between a stream of bytes and Penstock: lines that
// are read become messages or records, and what comes from a member or a
// subscription is written.
//
// Into Penstock, Each reads lines with a Reader and gives them to a function, and
// Flush waits until what was taken has been acked or committed. The end of the
// context ends both; a read of standard input cannot be cancelled, so its goroutine
// is left to the end of the process.
//
// Out of Penstock, a Pump writes the deliveries of a member and a RecordPump the
// records of a subscription. Both promise that a message counts as handled only
// after its bytes were written: a failed write gives everything unwritten back to
// the group.
//
// It knows no command, and not how one prints: that is the function Encode of a
// pump.
package lines
