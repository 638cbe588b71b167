// Package letters has the command dlq: the dead letters in a topic that
// penstock.DeadLetterTopic has filled.
//
// It promises that redrive puts each dead letter back once, whatever ends it, and that
// nothing else changes the topic.
package letters
