// Package usercode knows where a user's functions run: handlers, loops and
// callbacks.
//
// An end (Stop, Leave, Unregister, Unsubscribe, Close) waits for them. Called by
// one of them it would wait for itself. Runs finds that out, by the goroutine
// and by the context that the function was given, so that such an end fails at
// once with messages.ErrBusy.
//
// The package also says how long an end waits for functions that do not return,
// and how their panics are told. It is pure: it knows no actors.
package usercode
