// Package format has what a topic keeps in etcd as bytes and as Go values: batches
// of records and the index entries that describe them, the settings of topics and
// groups, and who has claimed a partition and how far the group is in it.
//
// It promises:
//
//   - It is pure: it performs no I/O, keeps nothing but spare buffers and coders,
//     and imports neither etcd nor an actor. Functions and values are safe for
//     concurrent use unless a comment says otherwise.
//   - Bytes that are read are not trusted. Sizes are checked before memory is
//     allocated, and a batch also by its checksum. What does not decode is an
//     error that wraps messages.ErrCorrupt and names the key or the fault, or false
//     where the caller skips such keys.
//   - What is written can be read by the generated code of package pb, byte for
//     byte: batches are written by hand only because they are large.
//
// Package commitlog reads and writes these values in transactions.
package format
