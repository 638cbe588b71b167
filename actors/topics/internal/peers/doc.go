// Package peers watches, for all subscriptions of a runtime, the processes of other
// members of their groups, and lets those watch its own.
//
// There is one connection to a process, whichever groups it is in. A subscription says
// whom it wants watched ([Want]), and hears of those that have ended ([Ended]), once
// each. What is done about that is the subscription's to decide; see package
// transport/pulse for what the word is worth. A process that was said to have ended is
// not watched any more: when it lives all the same, the lease decides about it.
package peers
