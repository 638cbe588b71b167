package order

// What goes back with a message that is given back.

import "github.com/penstock-io/penstock/transport/frame"

// Breaks reports whether a message that is nacked with that kind is sent again. In a group
// that is messages.Failover everything behind it on its link goes back with it: the member
// hands out nothing of that, and the sender takes it back with the nack. So both agree
// what that is, the sender says with what it sends how many nacks of the link it had taken.
func Breaks(kind uint32) bool {
	switch kind {
	case frame.NackRejected, frame.NackLapsed:
		return false
	}
	return true
}
