// Package window knows which ids the last records of a partition have, so that none is
// put twice.
//
// A [Window] is what a process knows of one partition up to one end of its log. It
// promises: of the records before that end, it finds the first one with an id, as long
// as that is in the window by the topic's settings. So an append that etcd lets in
// behind that very end puts no id twice, whoever else appends, and without a key for
// each id. A [Glance] reads what a window does not know yet, backwards from the end of
// the log, and stops at what it knows, or where the window ends by count, bytes or time.
//
// An id takes about 80 bytes, however long it is: a hash of 128 bits, under seeds that
// nobody outside of the process knows, stands for it.
//
// The package knows neither actors nor etcd. A Window belongs to one goroutine.
package window
