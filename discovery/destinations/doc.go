// Package destinations reads what etcd has of destinations: their senders, groups and
// members. It is for people who look and administer; senders and members watch keys of
// their own.
//
// List and Describe read everything at one revision, block until etcd replies or their
// context ends, and return errors of discovery.Classify. Of makes the same of a listing.
package destinations
