// Package rebalance is what one member of a topic's consumer group sees of its
// group, and what it decides to do about it.
//
// A [View] is the group as the member knows it: who is in it, who has claimed
// which partition, and which assignment holds. It is built from the group's keys:
// [View.Begin] takes all of them, [View.Change] what changed since. [View.Decide]
// compares the view with what the member knows of itself and returns [Actions]:
// write an assignment, claim partitions, revoke the claims of others, release or
// give up its own, put the group's settings back. [Assign] spreads partitions over
// members.
//
// There is no coordinator: the oldest member writes the assignment, and every
// member acts on it by itself. A view may be behind etcd, so an action is a
// proposal, which a transaction with guards carries out or refuses. Whatever comes
// and goes, and however late a member hears of it, no partition has two owners;
// once nothing changes, each partition is claimed by the member that it was given
// to, and Decide returns nothing to do.
//
// The package performs nothing: it starts no goroutine, reads no clock, and knows
// neither actors nor etcd. A View is for one goroutine.
package rebalance
