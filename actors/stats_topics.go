package actors

// What topics and subscriptions did so far, for metrics and the command line.

import (
	"cmp"
	"slices"
)

// TopicStats is what this process put into one topic.
type TopicStats struct {
	Topic   string
	Records uint64 // taken
	Bytes   uint64 // of these, encoded
	Appends uint64 // batches committed
	// Committed records are in etcd; Failed ones were answered with an error.
	Committed, Failed uint64
	QueuedBytes       int64 // taken and neither committed nor failed
}

// SubscriptionCounters count since the subscription began.
type SubscriptionCounters struct {
	Finished     uint64 // records handled, or skipped by the user's own doing
	Failed       uint64 // failed handlings
	DeadLettered uint64
	Commits      uint64 // offsets written, one for each partition
	Lost         uint64 // partitions that were fenced away
}

// SubscriptionStats is what one subscription did.
type SubscriptionStats struct {
	Topic, Group, Member string
	SubscriptionCounters
	Partitions   int // owned
	FetchedBytes int // read ahead
}

// topicStats reads the counters of the data paths known to the stats' book.
func (b *statsBook) topicStats() (out []TopicStats) {
	for path := range b.topics {
		s := TopicStats{Topic: path.name}
		for _, part := range path.used() {
			n := part.acc.counters()
			s.Records += n.Records
			s.Bytes += n.Bytes
			s.Appends += n.Appends
			s.Committed += n.Committed
			s.Failed += n.Failed
			s.QueuedBytes += n.Queued
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b TopicStats) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}

func (b *statsBook) subscriptionStats() (out []SubscriptionStats) {
	for s := range b.subs {
		out = append(out, s.Stats())
	}
	slices.SortFunc(out, func(a, b SubscriptionStats) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Member, b.Member))
	})
	return out
}

func (b *statsBook) addTopic(t *topicPath) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.topics[t] = struct{}{}
}

func (b *statsBook) removeTopic(t *topicPath) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, t)
}

func (b *statsBook) addSubscription(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s] = struct{}{}
}

func (b *statsBook) removeSubscription(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.subs, s)
}

// Stats counts what this subscription did.
func (s *Subscription) Stats() SubscriptionStats {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	return SubscriptionStats{
		Topic: s.cfg.Topic, Group: s.cfg.Group, Member: s.cfg.ID,
		SubscriptionCounters: s.shelf.counters, Partitions: len(s.shelf.claims), FetchedBytes: s.shelf.bytes,
	}
}
