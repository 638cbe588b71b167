package actors

import (
	"reflect"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// What the members of a consumer group count is added up, whatever it is.
func TestCountersOfAConsumerGroup(t *testing.T) {
	row := messages.SubscriptionStats{Topic: "audit", Group: "export", Member: "m"}
	counters := reflect.ValueOf(&row.SubscriptionCounters).Elem()
	for i := range counters.NumField() {
		counters.Field(i).SetUint(uint64(i + 1))
	}
	sums := byConsumerGroup(messages.Stats{Subscriptions: []messages.SubscriptionStats{row, row}})
	if len(sums) != 1 {
		t.Fatalf("%d rows for one group", len(sums))
	}
	got := reflect.ValueOf(sums[0].SubscriptionCounters)
	for i := range got.NumField() {
		if n := got.Field(i).Uint(); n != 2*uint64(i+1) {
			t.Errorf("%s is %d, two members had %d each", got.Type().Field(i).Name, n, i+1)
		}
	}
}
