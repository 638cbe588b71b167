// Package groups has the subscriptions of a runtime: its memberships in the
// consumer groups of topics.
//
// The members of a group share out the partitions: each has one owner at a time,
// which a claim in etcd proves. A claim is a fence: an owner that lost a partition
// without knowing cannot commit any more. How far the group is in a partition is
// an offset, and what is finished behind it.
//
//	engine
//	└── subscription/<t>/<g>     watches the group, claims, commits, releases
//	    ├── consumer/<p>         fills the buffer from one owned partition
//	    └── handler              one worker of Consume
//
// What the group should do is decided by package rebalance; what is handed out, in
// which order and how far, by package prefetch. This package performs it.
//
// Subscriptions, Branch and Held are for the engine, which alone can make them.
package groups
