// Package pipes holds the commands of pipes: send, recv and rm.
//
// Send promises that its last line accounts for every message (outcome.go): accepted,
// acked by every group, dropped, given up. Recv acks a message after it was
// written, and takes nothing where its output reaches nobody. Rm removes a group
// that nobody is in.
//
// It knows no topics; what it shares with their commands is in cli and lines.
package pipes
