// Package actors runs scenarios of the actor face end to end. Actors publish to a
// destination that is their child, and actors receive what a member hands them, one
// message at a time or many; or actors are told and asked, supervised or as proto.actor
// has them. All are in this process; each publisher has a runtime in an actor system of
// its own, and the receivers share one.
//
// What an actor gets is checked for loss, duplicates, order and content.
package actors
