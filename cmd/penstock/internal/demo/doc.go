// Package demo holds the command demo: it shows what pipes and topics promise, on
// processes that really die.
//
// The command runs an etcd and a runtime in its own process, and starts its own
// executable again for each child: demo-member, demo-producer and
// demo-consumer, which are hidden commands. A child writes a line when it is ready,
// then one for each message or record that it has handled, before that is acked or
// committed; so its parent knows what a killed child had done. It ends when its
// input does.
//
//	demo.go                  the command, and what both runs share
//	processes.go             the children, seen from their parent
//	child.go, *_child*.go    what a child does
//	pipes.go, topics.go      the scenario: who joins, leaves and dies when
//	*_run.go, *_sender.go    the scenario at work, and what is waited for
//	*_tally.go               what was handled: once, twice, or never
//
// Result and TopicResult are what --json prints. A message that was lost ends the
// command with an error.
package demo
