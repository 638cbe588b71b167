// Package keyed is the newest record of each key of a topic, made of its batches.
//
// View takes in the batches of each partition in order, and says what changed. It has what
// was deleted since taken out: by the start of a partition, by erasing single records, by
// expiry. A View does no locking: whoever shares one has a lock around it.
//
// Newest means: within a partition by offset. A key that is in several partitions, because
// the topic got more of them or its partitioner does not go by the key, has the record
// whose batch was put last, by the clocks of those who put them. Entries of one partition
// are taken to be put in the order of their offsets, whatever the clocks say.
package keyed
