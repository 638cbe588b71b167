package actors

// Times of handlers and puts as OpenTelemetry histograms. Without a meter no clock is
// read for them.

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstock-io/penstock/actors/internal/usercode"
)

// timeBuckets are the bounds of the histograms, in seconds: from what a message costs to
// what is stuck.
var timeBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// timings records times into a meter's histograms.
type timings struct {
	delivery, records, put metric.Float64Histogram
	labels                 sync.Map // of timedAt: metric.MeasurementOption
}

type timedAt struct {
	what      usercode.Timed
	of, group string
}

func newTimings(meter metric.Meter) (*timings, error) {
	t := &timings{}
	for _, h := range []struct {
		to          *metric.Float64Histogram
		name, about string
	}{
		{&t.delivery, "penstock.member.handler_time", "How long handlers took for a message."},
		{&t.records, "penstock.subscription.handler_time", "How long handlers took for a record, or a call's records."},
		{&t.put, "penstock.topic.put_time", "How long puts took until they were committed."},
	} {
		var err error
		*h.to, err = meter.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.about),
			metric.WithExplicitBucketBoundaries(timeBuckets...))
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Took records one time.
func (t *timings) Took(what usercode.Timed, of, group string, d time.Duration) {
	at := timedAt{what, of, group}
	labels, ok := t.labels.Load(at)
	if !ok {
		if labels = consumerLabels(of, group); what == usercode.TimedDelivery {
			labels = groupLabels(of, group)
		} else if what == usercode.TimedPut {
			labels = topicLabel(of)
		}
		t.labels.Store(at, labels)
	}
	to := t.delivery
	switch what {
	case usercode.TimedRecords:
		to = t.records
	case usercode.TimedPut:
		to = t.put
	}
	to.Record(context.Background(), d.Seconds(), labels.(metric.RecordOption))
}

// registration ends the times with the counters.
type registration struct {
	metric.Registration
	stop func()
}

func (r *registration) Unregister() error {
	r.stop()
	return r.Registration.Unregister()
}
