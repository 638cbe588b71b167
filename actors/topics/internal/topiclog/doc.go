// Package topiclog is one open topic in this process.
//
// Topic and Partition are the data path that puts fill and readers empty; they
// outlive the actors around them. The actor of a topic follows its settings and,
// while somebody reads, the index of all partitions with one watch. The actor of a
// partition hosts the append loop, and reads etcd once for all groups.
//
//	engine
//	└── topic/<name>
//	    └── partition/<p>
//
// What a put waits for is decided by package produce, what a reader gets by
// package tail.
package topiclog
