// Package topics has the open topics of a runtime, which are durable, partitioned
// logs in etcd.
//
// Topics creates, opens, lists, describes, changes and deletes them. Topic is the
// handle to put and read with. Subscriptions to consumer groups are in package
// groups.
//
//	engine
//	├── topic/<name>             follows the topic's settings and its index
//	│   └── partition/<p>        appends batches, and reads for all groups here
//	└── subscription/<t>/<g>     a place in a consumer group
//
// A put returns when etcd has committed it. An append whose response was lost is
// looked up and never repeated blindly.
//
// Topics, Branch and Held are for the engine, which alone can make them.
package topics
