// Package quota decides how much a process may yet put into an etcd that has a quota.
//
// A [Gate] stands before each append. It is told what a look at etcd has shown, and
// grants bytes until the next look: all that is wanted while there is room, less the
// closer the quota is, and none behind a limit below it. Then an append waits, and is
// refused after some seconds, or at once where there is no room at all. What stays free
// is for leases, registrations and commits: etcd's own alarm, which would stop these
// too, is never to fire.
//
// It promises: a refusal rests on a look that is no older than a tenth of a second, so
// room that is made is found. While nobody can look, everything is let through: the
// append itself says what etcd thinks of it. Who appends often asks once, and without a
// look a gate costs a lock and a comparison.
//
// The package knows neither actors nor etcd. A Gate is safe for concurrent use.
package quota
