// Package cli is what all commands of penstock share, and knows none of them.
//
// An App holds the streams, the environment and the flags of one command line. A
// command is a function that takes an App and returns a *cobra.Command; App.Run
// performs a command line and returns the exit code of the process.
//
// It promises the same conduct of every command:
//
//   - Results go to App.Out, everything else to App.Err through Say and Complain.
//   - Flags come before Penstock's variables, and those before etcdctl's (etcd.go).
//     A password is never printed.
//   - A fault of the caller is an error of Usagef. It is found before etcd is asked,
//     and ends the command with ExitUsage.
//   - An etcd that does not reply is named, with the most likely remedy
//     (unreachable.go), and ends the command with ExitUnreachable.
//   - What time or a signal cut short is an error of Incompletef and ends with
//     ExitIncomplete. After a signal a command has DrainFor to finish what it took.
//   - Help fits the terminal, and the tab key waits no longer than TabPatience.
package cli
