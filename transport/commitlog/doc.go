// Package commitlog keeps topics in etcd: append-only partitions, the groups that
// read them, and their offsets. It consists of transactions and has no actor, no
// watch and no cache. Whatever must hold is compared by the transaction that writes,
// so any number of processes may write at once, and each may be wrong about what
// it knows.
//
// What it promises:
//
//   - Offsets of a partition are contiguous from 0, and a batch exists whole or
//     not at all. An append that returned a base was written once; see Appender
//     for what an unknown outcome is and how it is resolved.
//   - A topic's name is in one key. All other keys contain an id that is never used
//     again, and every write that creates a key compares the topic's key: what
//     is deleted stays deleted, and a topic of the same name is another.
//   - A partition has one claim in a group. Its CreateRevision is the fence; a
//     commit that carries another is refused, alone, whatever else was in the
//     request. A takeover deletes the claim and makes a new one, never puts over
//     it.
//   - Descriptions and lags are of one revision of etcd.
//   - What etcd holds is not trusted: values that do not decode are errors that
//     name the key and wrap messages.ErrCorrupt.
//
// A call that ends with messages.ErrUnavailable, ErrNoSpace or its context's error
// may have been applied. It can be called again with the same arguments, and
// then does what was asked for once; but CreateTopic may meet the topic of its
// first call, and Append has more to say.
//
// Each request but those of appends and reads of batches is given five seconds;
// a call makes as many as its comment says, one after the other.
//
// The values that it reads and writes are those of package format.
package commitlog
