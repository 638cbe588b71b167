package actors

// The counters as OpenTelemetry metrics. Labels are bounded: destinations,
// groups and names of events, never ids.

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Scope is the name of the meter that Instrument asks for.
const Scope = "github.com/penstock-io/penstock"

// pipeInstrument is one observable of a pipe.
type pipeInstrument struct {
	name, unit, about string
	gauge             bool
	value             func(PipeStats) int64
}

var pipeInstruments = []pipeInstrument{
	{"penstock.pipe.accepted", "{message}", "Messages that Send took.", false, func(s PipeStats) int64 { return int64(s.Accepted) }},
	{"penstock.pipe.sent", "{message}", "Messages handed to a link, each time.", false, func(s PipeStats) int64 { return int64(s.Sent) }},
	{"penstock.pipe.acked", "{message}", "Messages that a member acked.", false, func(s PipeStats) int64 { return int64(s.Acked) }},
	{"penstock.pipe.nacked", "{message}", "Failed handlings.", false, func(s PipeStats) int64 { return int64(s.Nacked) }},
	{"penstock.pipe.redelivered", "{message}", "Messages put back after a nack or a dead link.", false, func(s PipeStats) int64 { return int64(s.Redelivered) }},
	{"penstock.pipe.dropped", "{message}", "Accepted messages that were given up.", false, func(s PipeStats) int64 { return int64(s.Dropped) }},
	{"penstock.pipe.dead_lettered", "{message}", "Messages that the dead-letter handler took.", false, func(s PipeStats) int64 { return int64(s.DeadLettered) }},
	{"penstock.pipe.pending", "{message}", "Messages accepted and not acked.", true, func(s PipeStats) int64 { return int64(s.Pending) }},
	{"penstock.pipe.pending_bytes", "By", "Encoded bytes accepted and not acked.", true, func(s PipeStats) int64 { return int64(s.PendingBytes) }},
	{"penstock.pipe.links", "{link}", "Members linked.", true, func(s PipeStats) int64 { return int64(s.Links) }},
}

// Instrument registers the engine's counters with a meter provider, under the
// meter Scope. They are read when the provider collects. Unregister ends that;
// it is the caller's to call. Errors are the provider's.
func (e *Engine) Instrument(provider metric.MeterProvider) (metric.Registration, error) {
	meter := provider.Meter(Scope)
	var all []metric.Observable
	var failed error
	note := func(o metric.Observable, err error) {
		if err != nil && failed == nil {
			failed = fmt.Errorf("instrument: %w", err)
		}
		all = append(all, o)
	}
	pipes := make([]metric.Int64Observable, len(pipeInstruments))
	for i, p := range pipeInstruments {
		var err error
		if p.gauge {
			pipes[i], err = meter.Int64ObservableGauge(p.name, metric.WithUnit(p.unit), metric.WithDescription(p.about))
		} else {
			pipes[i], err = meter.Int64ObservableCounter(p.name, metric.WithUnit(p.unit), metric.WithDescription(p.about))
		}
		note(pipes[i], err)
	}
	delivered, err := meter.Int64ObservableCounter("penstock.member.delivered", metric.WithUnit("{message}"),
		metric.WithDescription("Messages handed out to loops and handlers."))
	note(delivered, err)
	waiting, err := meter.Int64ObservableGauge("penstock.member.waiting", metric.WithUnit("{message}"),
		metric.WithDescription("Messages that came and were not handed out yet."))
	note(waiting, err)
	events, err := meter.Int64ObservableCounter("penstock.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events, by name."))
	note(events, err)
	if failed != nil {
		return nil, failed
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := e.Stats()
		for _, row := range s.Pipes {
			where := groupLabels(row.Destination, row.Group)
			for i, p := range pipeInstruments {
				o.ObserveInt64(pipes[i], p.value(row), where)
			}
		}
		for at, row := range s.byGroup() {
			where := groupLabels(at.dest, at.group)
			o.ObserveInt64(delivered, int64(row.Delivered), where)
			o.ObserveInt64(waiting, int64(row.Waiting), where)
		}
		for name, n := range s.Events {
			o.ObserveInt64(events, int64(n), metric.WithAttributes(attribute.String("event", name)))
		}
		return nil
	}, all...)
}

func groupLabels(dest, group string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("destination", dest), attribute.String("group", group))
}

type groupAt struct{ dest, group string }

// byGroup adds up the members of each group.
func (s Stats) byGroup() map[groupAt]MemberStats {
	sums := make(map[groupAt]MemberStats)
	for _, m := range s.Members {
		at := groupAt{m.Destination, m.Group}
		sum := sums[at]
		sum.Delivered += m.Delivered
		sum.Waiting += m.Waiting
		sums[at] = sum
	}
	return sums
}
