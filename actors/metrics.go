package actors

// The counters as OpenTelemetry metrics. Labels are bounded: destinations,
// groups and names of events, never ids.

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstock-io/penstock/messages"
)

// Scope is the name of the meter that Instrument asks for.
const Scope = "github.com/penstock-io/penstock"

// instrument is one observable of a row of the stats.
type instrument[Row any] struct {
	name, unit, about string
	gauge             bool
	value             func(Row) int64
}

var topicInstruments = []instrument[messages.TopicStats]{
	{"penstock.topic.accepted", "{record}", "Records that puts accepted.", false, func(s messages.TopicStats) int64 { return int64(s.Records) }},
	{"penstock.topic.accepted_bytes", "By", "Encoded bytes that puts accepted.", false, func(s messages.TopicStats) int64 { return int64(s.Bytes) }},
	{"penstock.topic.committed", "{record}", "Records that etcd has.", false, func(s messages.TopicStats) int64 { return int64(s.Committed) }},
	{"penstock.topic.failed", "{record}", "Records that were answered with an error.", false, func(s messages.TopicStats) int64 { return int64(s.Failed) }},
	{"penstock.topic.delayed", "{record}", "Records committed that wait until they are due, or did.", false, func(s messages.TopicStats) int64 { return int64(s.Delayed) }},
	{"penstock.topic.duplicates", "{record}", "Records that were not put: the topic had their ids.", false, func(s messages.TopicStats) int64 { return int64(s.Duplicates) }},
	{"penstock.topic.appends", "{batch}", "Batches committed.", false, func(s messages.TopicStats) int64 { return int64(s.Appends) }},
	{"penstock.topic.queued_bytes", "By", "Encoded bytes neither committed nor failed.", true, func(s messages.TopicStats) int64 { return s.QueuedBytes }},
}

var subscriptionInstruments = []instrument[messages.SubscriptionStats]{
	{"penstock.subscription.finished", "{record}", "Records handled.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Finished) }},
	{"penstock.subscription.failed", "{record}", "Failed handlings.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Failed) }},
	{"penstock.subscription.dead_lettered", "{record}", "Records that the dead-letter handler took.", false, func(s messages.SubscriptionStats) int64 { return int64(s.DeadLettered) }},
	{"penstock.subscription.expired", "{record}", "Records that were passed over after their ExpiresAt.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Expired) }},
	{"penstock.subscription.rejected", "{record}", "Rejected records that were passed over for want of a dead-letter handler.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Rejected) }},
	{"penstock.subscription.commits", "{offset}", "Offsets written.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Commits) }},
	{"penstock.subscription.lost", "{partition}", "Partitions fenced away.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Lost) }},
	{"penstock.subscription.died", "{death}", "Times that a member of a shared group may have died over a record.", false, func(s messages.SubscriptionStats) int64 { return int64(s.Died) }},
	{"penstock.subscription.lent", "{record}", "Records of the partitions owned that members of a shared group have.", true, func(s messages.SubscriptionStats) int64 { return int64(s.Lent) }},
	{"penstock.subscription.partitions", "{partition}", "Partitions owned.", true, func(s messages.SubscriptionStats) int64 { return int64(s.Partitions) }},
	{"penstock.subscription.lag", "{record}", "Records of the partitions owned that are not committed.", true, func(s messages.SubscriptionStats) int64 { return s.Lag }},
	{"penstock.subscription.fetched_bytes", "By", "Bytes read ahead.", true, func(s messages.SubscriptionStats) int64 { return int64(s.FetchedBytes) }},
}

// instruments makes the observables of one kind of row.
func instruments[Row any](meter metric.Meter, all []instrument[Row], note func(metric.Observable, error)) []metric.Int64Observable {
	out := make([]metric.Int64Observable, len(all))
	for i, p := range all {
		var err error
		if p.gauge {
			out[i], err = meter.Int64ObservableGauge(p.name, metric.WithUnit(p.unit), metric.WithDescription(p.about))
		} else {
			out[i], err = meter.Int64ObservableCounter(p.name, metric.WithUnit(p.unit), metric.WithDescription(p.about))
		}
		note(out[i], err)
	}
	return out
}

var registryInstruments = []instrument[messages.RegistryStats]{
	{"penstock.registry.refusals", "{refusal}", "Refusals of single keys by etcd.", false, func(s messages.RegistryStats) int64 { return int64(s.Refusals) }},
	{"penstock.registry.delays", "{delay}", "Waits for etcd while keys were to be put right.", false, func(s messages.RegistryStats) int64 { return int64(s.Delays) }},
	{"penstock.registry.troubled", "{key}", "Keys that etcd refuses to have put right.", true, func(s messages.RegistryStats) int64 { return int64(s.Troubled) }},
}

var etcdInstruments = []instrument[messages.EtcdStats]{
	{"penstock.etcd.in_use", "By", "What keys and their history take of etcd's database.", true, func(s messages.EtcdStats) int64 { return s.InUse }},
	{"penstock.etcd.size", "By", "What etcd's database has taken of its file.", true, func(s messages.EtcdStats) int64 { return s.Size }},
	{"penstock.etcd.quota", "By", "What the size may not reach; 0 before it is known.", true, func(s messages.EtcdStats) int64 { return s.Quota }},
	{"penstock.etcd.slowed", "{batch}", "Appends that had to wait, because etcd is near its quota.", false, func(s messages.EtcdStats) int64 { return int64(s.Slowed) }},
	{"penstock.etcd.refused", "{batch}", "Appends that were refused, because etcd is near its quota.", false, func(s messages.EtcdStats) int64 { return int64(s.Refused) }},
}

var keeperInstruments = []instrument[messages.KeeperStats]{
	{"penstock.keeper.keeping", "{keeper}", "1 while this runtime is the keeper of topics, else 0.", true, func(s messages.KeeperStats) int64 {
		if s.Keeping {
			return 1
		}
		return 0
	}},
	{"penstock.keeper.trimmed", "{record}", "Records deleted because of limits of their topics.", false, func(s messages.KeeperStats) int64 { return int64(s.TrimmedRecords) }},
	{"penstock.keeper.trimmed_bytes", "By", "Bytes of their batches in etcd.", false, func(s messages.KeeperStats) int64 { return int64(s.TrimmedBytes) }},
	{"penstock.keeper.expired", "{record}", "Records erased after their ExpiresAt, from batches that stay.", false, func(s messages.KeeperStats) int64 { return int64(s.ExpiredRecords) }},
	{"penstock.keeper.swept", "{key}", "Keys of trimmed batches deleted later.", false, func(s messages.KeeperStats) int64 { return int64(s.SweptKeys) }},
	{"penstock.keeper.delivered", "{record}", "Delayed records delivered.", false, func(s messages.KeeperStats) int64 { return int64(s.Delivered) }},
	{"penstock.keeper.passes", "{pass}", "Passes over partitions that are compacted by key.", false, func(s messages.KeeperStats) int64 { return int64(s.CompactionPasses) }},
	{"penstock.keeper.rewritten", "{batch}", "Batches that these rewrote.", false, func(s messages.KeeperStats) int64 { return int64(s.RewrittenBatches) }},
	{"penstock.keeper.superseded", "{record}", "Records that they erased because newer ones have their keys.", false, func(s messages.KeeperStats) int64 { return int64(s.SupersededRecords) }},
	{"penstock.keeper.removed", "{record}", "Tombstones and expired records that they erased.", false, func(s messages.KeeperStats) int64 { return int64(s.RemovedTombstones) }},
	{"penstock.keeper.compacted_bytes", "By", "Bytes by which the batches became smaller.", false, func(s messages.KeeperStats) int64 { return int64(s.CompactedBytes) }},
	{"penstock.keeper.ticks_fired", "{tick}", "Ticks of schedules whose record was put.", false, func(s messages.KeeperStats) int64 { return int64(s.TicksFired) }},
	{"penstock.keeper.ticks_missed", "{tick}", "Ticks of schedules that were given up, because no keeper was there.", false, func(s messages.KeeperStats) int64 { return int64(s.TicksMissed) }},
	{"penstock.keeper.ticks_failed", "{tick}", "Ticks of schedules whose record could not be put.", false, func(s messages.KeeperStats) int64 { return int64(s.TicksFailed) }},
	{"penstock.keeper.compactions", "{compaction}", "Compactions of etcd's history.", false, func(s messages.KeeperStats) int64 { return int64(s.Compactions) }},
}

var tableInstruments = []instrument[messages.TableStats]{
	{"penstock.table.keys", "{key}", "Keys in tables.", true, func(s messages.TableStats) int64 { return int64(s.Keys) }},
	{"penstock.table.bytes", "By", "Memory that tables take, about.", true, func(s messages.TableStats) int64 { return s.Bytes }},
	{"penstock.table.lag", "{record}", "Records that tables have not read.", true, func(s messages.TableStats) int64 { return s.Lag }},
	{"penstock.table.records", "{record}", "Records that tables have read.", false, func(s messages.TableStats) int64 { return int64(s.Records) }},
	{"penstock.table.loads", "{load}", "How often tables have read their topic as a whole.", false, func(s messages.TableStats) int64 { return int64(s.Loads) }},
}

var pipeInstruments = []instrument[messages.PipeStats]{
	{"penstock.pipe.accepted", "{message}", "Messages that Send took.", false, func(s messages.PipeStats) int64 { return int64(s.Accepted) }},
	{"penstock.pipe.sent", "{message}", "Messages handed to a link, each time.", false, func(s messages.PipeStats) int64 { return int64(s.Sent) }},
	{"penstock.pipe.acked", "{message}", "Messages that a member acked.", false, func(s messages.PipeStats) int64 { return int64(s.Acked) }},
	{"penstock.pipe.nacked", "{message}", "Failed handlings.", false, func(s messages.PipeStats) int64 { return int64(s.Nacked) }},
	{"penstock.pipe.redelivered", "{message}", "Messages put back after a nack or a dead link.", false, func(s messages.PipeStats) int64 { return int64(s.Redelivered) }},
	{"penstock.pipe.released", "{message}", "Messages that a member gave back without having tried to handle them.", false, func(s messages.PipeStats) int64 { return int64(s.Released) }},
	{"penstock.pipe.died", "{message}", "Messages in hand when a link died or AckWait expired.", false, func(s messages.PipeStats) int64 { return int64(s.Died) }},
	{"penstock.pipe.rejected", "{message}", "Messages that a member rejected.", false, func(s messages.PipeStats) int64 { return int64(s.Rejected) }},
	{"penstock.pipe.dropped", "{message}", "Accepted messages that were given up.", false, func(s messages.PipeStats) int64 { return int64(s.Dropped) }},
	{"penstock.pipe.dead_lettered", "{message}", "Messages that the dead-letter handler took.", false, func(s messages.PipeStats) int64 { return int64(s.DeadLettered) }},
	{"penstock.pipe.expired", "{message}", "Messages that were not handed out before their ExpiresAt.", false, func(s messages.PipeStats) int64 { return int64(s.Expired) }},
	{"penstock.pipe.late_replies", "{message}", "Replies that no request waited for.", false, func(s messages.PipeStats) int64 { return int64(s.LateReplies) }},
	{"penstock.pipe.far", "{message}", "Messages handed to members outside the zone that is preferred.", false, func(s messages.PipeStats) int64 { return int64(s.Far) }},
	{"penstock.pipe.pending", "{message}", "Messages accepted and not acked.", true, func(s messages.PipeStats) int64 { return int64(s.Pending) }},
	{"penstock.pipe.pending_bytes", "By", "Encoded bytes accepted and not acked.", true, func(s messages.PipeStats) int64 { return int64(s.PendingBytes) }},
	{"penstock.pipe.keys", "{key}", "Keys of which a message is not settled, in groups that are KeyAffinity.", true, func(s messages.PipeStats) int64 { return int64(s.Keys) }},
	{"penstock.pipe.blocked_keys", "{key}", "Keys of which messages wait for one before.", true, func(s messages.PipeStats) int64 { return int64(s.BlockedKeys) }},
	{"penstock.pipe.blocked", "{message}", "Messages that wait for one before, in groups that keep an order.", true, func(s messages.PipeStats) int64 { return int64(s.Blocked) }},
	{"penstock.pipe.links", "{link}", "Members linked.", true, func(s messages.PipeStats) int64 { return int64(s.Links) }},
}

// Instrument is penstock.Runtime.Metrics. The meter is Scope.
func (e *Engine) Instrument(provider metric.MeterProvider) (metric.Registration, error) {
	if provider == nil {
		return nil, fmt.Errorf("instrument: the meter provider is nil: %w", messages.ErrInvalid)
	}
	meter := provider.Meter(Scope)
	var all []metric.Observable
	var failed error
	note := func(o metric.Observable, err error) {
		if err != nil && failed == nil {
			failed = fmt.Errorf("instrument: %w", err)
		}
		all = append(all, o)
	}
	pipes := instruments(meter, pipeInstruments, note)
	delivered, err := meter.Int64ObservableCounter("penstock.member.delivered", metric.WithUnit("{message}"),
		metric.WithDescription("Messages handed out to loops and handlers."))
	note(delivered, err)
	waiting, err := meter.Int64ObservableGauge("penstock.member.waiting", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that came and were not handed out yet."))
	note(waiting, err)
	linked, err := meter.Int64ObservableGauge("penstock.member.links", metric.WithUnit("{link}"),
		metric.WithDescription("Senders linked."))
	note(linked, err)
	session, err := meter.Int64ObservableGauge("penstock.session.alive", metric.WithUnit("{session}"),
		metric.WithDescription("1 while the session with etcd is certain to live, else 0."))
	note(session, err)
	topics := instruments(meter, topicInstruments, note)
	subs := instruments(meter, subscriptionInstruments, note)
	tables := instruments(meter, tableInstruments, note)
	registry := instruments(meter, registryInstruments, note)
	room := instruments(meter, etcdInstruments, note)
	keeping := instruments(meter, keeperInstruments, note)
	ages := make(map[string]metric.Float64Observable)
	for _, g := range [][2]string{
		{"penstock.pipe.oldest", "Age of the oldest message that is accepted and not acked."},
		{"penstock.member.oldest", "How long the oldest message is here that is not settled."},
		{"penstock.subscription.lag_age", "Age of the oldest record that is not committed."},
	} {
		o, err := meter.Float64ObservableGauge(g[0], metric.WithUnit("s"), metric.WithDescription(g[1]))
		note(o, err)
		ages[g[0]] = o
	}
	events, err := meter.Int64ObservableCounter("penstock.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events, by name."))
	note(events, err)
	times, err := newTimings(meter)
	if err != nil && failed == nil {
		failed = fmt.Errorf("instrument: %w", err)
	}
	if failed != nil {
		return nil, failed
	}
	observed, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.Stats()
		alive := int64(0)
		if _, fresh := e.work.Session.Fresh(); fresh {
			alive = 1
		}
		o.ObserveInt64(session, alive)
		for i, p := range etcdInstruments {
			o.ObserveInt64(room[i], p.value(s.Etcd))
		}
		for i, p := range registryInstruments {
			o.ObserveInt64(registry[i], p.value(s.Registry))
		}
		for i, p := range keeperInstruments {
			o.ObserveInt64(keeping[i], p.value(s.Keeper))
		}
		for _, row := range s.Pipes {
			where := groupLabels(row.Destination, row.Group)
			for i, p := range pipeInstruments {
				o.ObserveInt64(pipes[i], p.value(row), where)
			}
		}
		for at, row := range byGroup(s) {
			where := groupLabels(at.dest, at.group)
			o.ObserveInt64(delivered, int64(row.Delivered), where)
			o.ObserveInt64(waiting, int64(row.Waiting), where)
			o.ObserveInt64(linked, int64(row.Links), where)
		}
		for _, row := range s.Topics {
			for i, t := range topicInstruments {
				o.ObserveInt64(topics[i], t.value(row), topicLabel(row.Topic))
			}
		}
		for _, row := range byTopic(s.Tables) {
			for i, t := range tableInstruments {
				o.ObserveInt64(tables[i], t.value(row), topicLabel(row.Topic))
			}
		}
		for _, row := range byConsumerGroup(s) {
			for i, t := range subscriptionInstruments {
				o.ObserveInt64(subs[i], t.value(row), consumerLabels(row.Topic, row.Group))
			}
		}
		for _, row := range byConsumerGroup(s) {
			o.ObserveFloat64(ages["penstock.subscription.lag_age"], row.LagAge.Seconds(), consumerLabels(row.Topic, row.Group))
		}
		atPipes, atMembers := e.pipes.Ages(time.Now())
		for at, d := range oldest(atPipes) {
			o.ObserveFloat64(ages["penstock.pipe.oldest"], d.Seconds(), groupLabels(at.dest, at.group))
		}
		for at, d := range oldest(atMembers) {
			o.ObserveFloat64(ages["penstock.member.oldest"], d.Seconds(), groupLabels(at.dest, at.group))
		}
		for name, n := range s.Events {
			o.ObserveInt64(events, int64(n), metric.WithAttributes(attribute.String("event", name)))
		}
		return nil
	}, all...)
	if err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	stop := e.node.Runs.Measure(times)
	e.node.Send(e.node.Root, &agesWanted{})
	return &registration{observed, stop}, nil
}

func groupLabels(dest, group string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("destination", dest), attribute.String("group", group))
}

func topicLabel(topic string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("topic", topic))
}

func consumerLabels(topic, group string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("topic", topic), attribute.String("group", group))
}

type groupAt struct{ dest, group string }

// oldest is the oldest message of each group.
func oldest(rows []messages.OldestMessage) map[groupAt]time.Duration {
	out := make(map[groupAt]time.Duration)
	for _, row := range rows {
		at := groupAt{row.Destination, row.Group}
		out[at] = max(out[at], row.Age)
	}
	return out
}

// byGroup adds up the members of each group.
func byGroup(s messages.Stats) map[groupAt]messages.MemberStats {
	sums := make(map[groupAt]messages.MemberStats)
	for _, m := range s.Members {
		at := groupAt{m.Destination, m.Group}
		sum := sums[at]
		sum.Delivered += m.Delivered
		sum.Waiting += m.Waiting
		sum.Links += m.Links
		sums[at] = sum
	}
	return sums
}

// byTopic adds up the tables of each topic.
func byTopic(rows []messages.TableStats) (sums []messages.TableStats) {
	for _, row := range rows { // sorted by topic
		n := len(sums)
		if n == 0 || sums[n-1].Topic != row.Topic {
			sums = append(sums, messages.TableStats{Topic: row.Topic})
			n++
		}
		sum := &sums[n-1]
		sum.Keys += row.Keys
		sum.Bytes += row.Bytes
		sum.Lag += row.Lag
		sum.Records += row.Records
		sum.Loads += row.Loads
	}
	return sums
}

// byConsumerGroup adds up the subscriptions of each group.
func byConsumerGroup(s messages.Stats) (sums []messages.SubscriptionStats) {
	for _, row := range s.Subscriptions { // sorted by topic and group
		n := len(sums)
		if n == 0 || sums[n-1].Topic != row.Topic || sums[n-1].Group != row.Group {
			sums = append(sums, messages.SubscriptionStats{Topic: row.Topic, Group: row.Group})
			n++
		}
		sum := &sums[n-1]
		sum.Finished += row.Finished
		sum.Failed += row.Failed
		sum.DeadLettered += row.DeadLettered
		sum.Rejected += row.Rejected
		sum.Expired += row.Expired
		sum.Commits += row.Commits
		sum.Lost += row.Lost
		sum.Died += row.Died
		sum.Lent += row.Lent
		sum.Partitions += row.Partitions
		sum.FetchedBytes += row.FetchedBytes
		sum.Lag += row.Lag
		sum.LagAge = max(sum.LagAge, row.LagAge)
	}
	return sums
}
