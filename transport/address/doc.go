// Package address is what a listener may be told to bind, and what it tells others
// to dial: URLs, and the addresses of this machine that others can dial.
//
// Parsing and the choice of a host are functions of their input; only Hosts, Choices, Own
// and Listening ask the system. Errors wrap messages.ErrInvalid and name the part that is wrong.
package address
