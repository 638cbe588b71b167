// Package governor has the actor that looks how full etcd is, so that appends are slowed
// and refused before etcd's own alarm stops everything.
//
// The actor looks while there are appends: each second, ten times as often where the
// quota is near, and not at all while nothing is put. What it sees it tells the gate of
// package quota, which decides. What it may not ask it says once, and everything passes.
package governor
