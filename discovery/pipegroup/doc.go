// Package pipegroup keeps the settings of pipe groups in etcd, each under a lease of
// its own, so that etcd removes a group after its time without members. Make a
// Groups with New.
//
// # The life of a pipe group's settings
//
//	   ┌───────────────────declare─────────────────────┐
//	   │      join                nobody is in         ▼
//	absent ─────────▶ attended ─────────────────▶ deserted
//	   ▲                │   ▲────────join────────────┘ │
//	   │ nobody renewed │                              │ KeepFor
//	   └────────────────┴──────────────────────────────┘
//
// Unless they are kept forever, settings always stand under a lease, so it is
// etcd that removes a group, by its own clock, whoever still runs. Attended, it
// is a lease of KeepFor and a slack, which the processes of the members renew;
// the last renewal is never older than the slack, so a group whose members died
// without a word lives for KeepFor and at most the slack longer. Whoever finds a
// group without members moves the settings, and a mark beside them, to a lease
// of KeepFor that nobody renews. Whoever joins moves them back in one
// transaction, which takes the mark away. A group that is declared before its first
// member is deserted from the start.
//
// # Running it
//
// Groups.Run blocks and emits events on its goroutine; the package starts none.
// While etcd is away Run emits Delayed and tries again, with growing pauses, until
// its context ends.
package pipegroup
