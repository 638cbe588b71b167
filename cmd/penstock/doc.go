// Command penstock sends, receives and looks around from a shell.
//
//	penstock serve               run an etcd here, for trying things out
//	penstock send orders < file  one message for each line
//	penstock recv orders billing one line for each message, as a member of a group
//	penstock topic create audit  a durable, partitioned log in etcd
//	penstock put audit < file    one record for each line
//	penstock sub audit billing   its records, as a member of a consumer group
//	penstock group reset ...     where a consumer group goes on
//	penstock ls                  who sends what, and who takes it; topics
//	penstock rm orders billing   remove a group that nobody is in
//	penstock actors ADDR         what a running process is doing
//	penstock doctor              what is wrong with etcd or the network
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
// Each file holds one command, as a struct of its flags with a method run. What
// two commands share: root.go the frame, flags.go the way to etcd, exit.go what
// an error means, feed.go the way from a stream to a sender or a topic, pump.go
// that from a member to a stream, record_pump.go that from a subscription.
package main
