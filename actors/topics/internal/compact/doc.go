// Package compact decides which records of a partition that is compacted by key go, and
// when it is looked.
//
// A pass reads the part of a partition that no pass has read, up to as many keys as fit
// into a [Newest], and then the whole partition up to there, of which a [Judge] says what
// goes. It promises, whatever ends in between: the newest record of a key is not erased
// while an older one is left, unless it is a tombstone, or has expired, and was the only
// one of its key for the grace; and a record without a key goes only when it has expired.
// [Look.Due] says when a pass is worth what it reads.
//
// The package knows neither actors nor etcd. Its types belong to one goroutine.
package compact
