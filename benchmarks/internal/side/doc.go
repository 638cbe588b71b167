// Package side runs one side of a comparison: a system whose receiver, sender and,
// where it has one, broker are processes of their own.
//
// A System says how its ends are opened. Main serves one of them in a process, which is
// asked on standard input and answers on standard output, one JSON object a line. Start
// begins the processes of a side, and Side.Run has them do one run: messages as fast as
// the system takes them, messages at a rate, lone messages, records that are put and
// consumed.
//
// The ends check every message: its place in the run, its length and its content. The
// first that is lost, comes twice, out of order or damaged ends a run with an error.
//
// Times of different processes are compared, so all of them have the clock of one
// machine.
package side
