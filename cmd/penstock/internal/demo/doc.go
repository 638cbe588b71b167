// Package demo holds the command demo: it shows what pipes and topics promise, on
// processes that really die.
//
// The command runs an etcd and a runtime in its own process, and starts its own
// executable again for each further part: demo-member, demo-producer and
// demo-consumer, which are hidden commands. A part writes a line when it is ready,
// then one for each message or record that it has handled, before that is acked or
// committed; so its parent knows what a killed part had done. It ends when its
// input does.
//
//	demo.go           the command, and what both plays share
//	crew.go           the processes, seen from their parent
//	part.go           what a process does, whatever its part
//	pipes.go          two groups, of which one loses a member
//	topics.go         a consumer group whose members join, leave and die
//	*_tally.go        the books: what was handled, twice, or never
//
// Result and TopicResult are what --json prints. A message that was lost ends the
// command with an error.
package demo
