// Package recordtest has messages that can be told apart, for tests of what queues
// and sends records. It is for tests alone.
package recordtest
