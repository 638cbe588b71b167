// Package inventory reads what etcd holds under a prefix: destinations with their
// senders, groups and members, and topics.
//
// An Inventory is a snapshot that can be printed for people (Print) and encoded as
// JSON for programs. It promises to show what a user may read and to say what is
// left out: Read lists as much as the rights of the user cover and names the rest
// in Denied; a key whose value does not decode is in Unreadable, and is no error.
//
// It writes nothing, and needs a client of etcd but no runtime.
package inventory
