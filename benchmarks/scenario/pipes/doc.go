// Package pipes runs scenarios of pipes end to end: senders and members in this
// process, each sender in a runtime of its own, or in processes of their own, on other
// machines too. Those agree through a second destination, in which the senders' process
// asks the others.
//
// A sender may be several goroutines that call Send of one destination. Each of
// them numbers its messages, and what a member gets of one is checked for loss,
// duplicates, order and content.
package pipes
