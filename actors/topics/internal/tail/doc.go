// Package tail is what the reader of one partition knows of its log, and what it
// decides to do for those who read.
//
// A [Reader] serves everybody in this process who reads the partition. It knows
// where the log ends, keeps the newest batches that this process has appended,
// and holds the requests that wait. For each [Request], [Reader.Needs] says what it
// takes: nothing, because the batches are in memory; news, because the request
// waits at the end; a look at where the end is; a read of batches from etcd; or a
// warning, because the log that was read is gone.
//
// An etcd that was restored from a backup has another log than the one that was
// read. The Reader remembers some batches, so that a look finds out up to which
// offset the log is the same, and whoever has read further is warned.
//
// It promises:
//
//   - In whatever order news come in, memory holds what it says and no more than it
//     may, and what is returned of it is one unbroken run of batches.
//   - However often a log is set back and grows again, whoever has read a record
//     that is not in it any more is warned before it gets another one.
//
// The package performs nothing: it starts no goroutine, reads no clock, and knows
// neither actors nor etcd. A Reader is for one goroutine.
package tail
