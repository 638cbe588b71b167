// Package look holds the commands that show what runs: ls lists what etcd holds,
// actors the tree of actors of one process.
//
// They change nothing. Ls asks etcd alone, so a process that died is shown until
// its lease runs out; actors asks the diagnostics listener of the process.
package look
