// Package prefetch is the data path of one subscription to a topic: what is read
// ahead, handed out, finished and due to be committed.
//
// A [Buffer] lies between the consumers, which fetch batches from partitions, and
// the readers, which take records: a loop over [Buffer.Records], [Buffer.Poll], or
// the workers of a [Consumption]. For each owned partition it has a [Claim], with
// the batches that were read ahead and the place up to which everything is
// finished. A reader takes one claim at a time in hand, by a cursor over its first
// batch, so that the records of a partition are handled one after the other. With
// Config.Concurrency the workers take records one by one out of the claim's window, of
// which package lanes decides what can be handled at the same time.
//
// It promises:
//
//   - Whatever happens to the claims, the records of each partition are handed out in
//     order, none is skipped but what has expired, and none comes twice unless it was
//     handed back.
//   - With Config.Concurrency that holds of the records of one key, and what is finished
//     does not come again, though what is before it is not finished.
//   - What is read ahead stays within Config.MaxFetched, but for one fetch, and no
//     claim waits for room forever while another does not use it.
//   - Nothing is handed out of a claim that was lost, or while the session's lease
//     cannot be trusted. A record that was in hand then finishes nothing.
//   - Only what was handed out, under the fence it was handed out with, can be
//     committed by name.
//   - A loop allocates nothing for a record.
//
// The package writes nothing and starts no goroutine: [Buffer.Due] says what is to
// be committed, [Buffer.Wrote] hears that it was. It knows neither actors nor etcd.
package prefetch
