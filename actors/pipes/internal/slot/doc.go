// Package slot holds the connection that an actor's hosted work opens, until the actor stops.
//
// It promises that stopping closes the connection even when it came at the last moment:
// what is put into a closed slot is closed at once. The package is pure: it knows no
// connection but the function that ends one.
package slot
