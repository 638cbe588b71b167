// Package topics runs scenarios of topics end to end: producers and the members of
// consumer groups in this process, each in a runtime of its own.
//
// Every record is numbered by its producer. What a group gets is checked for
// loss, duplicates, order within a partition and content, and that it committed
// everything in the end.
//
// Values do not compress unless a scenario wants it. At full speed etcd grows by
// 2.3 times what is put: mind its disk.
package topics
