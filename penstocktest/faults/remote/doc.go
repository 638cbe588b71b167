// Package remote tests children of a user's actors in a system whose remoting is enabled.
// It is a module of its own, so that what proto.actor's remote needs stays out of the
// library's go.mod.
package remote
