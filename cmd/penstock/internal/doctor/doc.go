// Package doctor holds the command doctor, which says what is wrong with etcd, our
// rights in it, and the sockets of senders, and what to do about it.
//
// Each check is in two parts: probe.go asks a question and times it, judge.go turns
// the facts into a line without asking anybody, so that every verdict can be tested.
// diagnosis.go collects and prints the lines.
//
// It writes one key, under a lease of seconds, and deletes it. Every question has a
// deadline, and a check that failed does not keep the others from being made. A
// verdict of fail is an error, warnings are none.
package doctor
