// Package tables has the tables of a runtime: maps of the newest record of each key of a
// topic, kept fresh from its log.
//
//	engine
//	└── table/<t>    reads every partition from its start, and follows
//
// A table reads as any reader does, without a group: it writes nothing to etcd and claims
// nothing. Deleted records leave it as well: it hears of each partition's start and of each
// batch that is rewritten. Where an older record of a key may be the newest again it reads
// its topic once more, beside what it has, and changes over when it is through. So it does
// after a crash, and when etcd was set back. That makes it what a reading from the start
// would make, sooner or later.
//
// Which record counts is decided by package keyed, which this one feeds.
//
// Tables and Branch are for the engine, which alone can make them.
package tables
