// Command penstock sends, receives and looks around from a shell.
//
//	penstock serve               run an etcd here, for trying things out
//	penstock send orders < file  one message for each line
//	penstock recv orders billing one line for each message, as a member of a group
//	penstock topic create audit  a durable, partitioned log in etcd
//	penstock put audit < file    one record for each line
//	penstock sub audit billing   its records, as a member of a consumer group
//	penstock read audit          its records, without a group
//	penstock group reset ...     move the offsets of a consumer group
//	penstock group pause ...     have a group hand out nothing until a time; resume ends that
//	penstock group delete ...    forget a consumer group that nobody is in
//	penstock schedule add ...    put a record again and again; ls, show, run, pause, resume, rm
//	penstock ls                  who sends what, and who takes it; topics
//	penstock describe orders     one destination, and until when its groups are kept
//	penstock rm orders billing   remove a group that nobody is in
//	penstock rm orders           remove all groups of a destination that nobody is in
//	penstock actors ADDR         what a running process is doing
//	penstock doctor              what is wrong with etcd or the network
//	penstock bench pipe          what pipes do here, or between two machines; topics and actors too
//	penstock demo                two groups, a member killed, nothing lost
//	penstock demo --topics       a topic, members that come, go and die, nothing lost
//
// What a command finds goes to standard output, and nothing else does; what it
// has to say about it goes to standard error. SIGINT and SIGTERM end a command
// in order: what was taken is finished, the rest is given back. One that comes a
// second or more after the first ends it at once. The exit code says what became of it:
//
//	0  done
//	1  failed
//	2  used wrongly: a flag, a name, an address
//	3  etcd cannot be reached
//	4  not finished: time ran out or a signal came first
//	5  etcd denies the rights
//
// This package is the list of commands (commands.go) and the signals (main.go).
// The commands are in packages below internal, each a struct of its flags with a
// method run:
//
//	pipes      send, recv, describe, rm  topics    topic, put, sub, read, group
//	look       ls, actors                doctor    doctor
//	demo       demo and its parts        serve     serve
//	bench      bench                     version   version
//	letters    dlq                       schedules schedule
//
// What they share: cli is the frame, the flags and the exit codes, lines the way
// from a stream to Penstock and back, inventory what etcd holds. The tests here run
// the program as a process; those of a package's own decisions are beside it.
package main
