// Package topics holds the commands of topics: topic, put, sub and group.
//
// Put promises that its last line says how many records are in the topic, and that
// it counts those that are not apart from those of which nobody knows
// (put_tally.go). Sub commits a record after it was written. Names, flags and offsets are judged before
// etcd is asked.
//
// The structs of view.go and RecordLine are what --json prints: their fields can be
// added to, but not renamed.
//
// It knows no pipes; what it shares with their commands is in cli and lines.
package topics
