package actors

// What topics and subscriptions did so far, for metrics and the command line.

import (
	"cmp"
	"slices"

	"github.com/penstock-io/penstock/messages"
)

// topicStats reads the counters of the data paths known to the stats' book.
func (b *statsBook) topicStats() (out []messages.TopicStats) {
	for path := range b.topics {
		s := messages.TopicStats{Topic: path.name}
		for _, part := range path.used() {
			n := part.acc.Counters()
			s.Records += n.Records
			s.Bytes += n.Bytes
			s.Appends += n.Appends
			s.Committed += n.Committed
			s.Failed += n.Failed
			s.QueuedBytes += n.Queued
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b messages.TopicStats) int { return cmp.Compare(a.Topic, b.Topic) })
	return out
}

func (b *statsBook) subscriptionStats() (out []messages.SubscriptionStats) {
	for s := range b.subs {
		out = append(out, s.Stats())
	}
	slices.SortFunc(out, func(a, b messages.SubscriptionStats) int {
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

// Stats is penstock.Subscription.Stats.
func (s *Subscription) Stats() messages.SubscriptionStats {
	n, partitions, bytes := s.buffer.Stats()
	return messages.SubscriptionStats{
		Topic: s.cfg.Topic, Group: s.cfg.Group, Member: s.cfg.ID,
		SubscriptionCounters: n, Partitions: partitions, FetchedBytes: bytes,
	}
}
