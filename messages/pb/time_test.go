package pb

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Promise: whatever number is in a field, its time can be shown and its duration
// has the sign and order that the number has.
func TestTimesAndDurationsOfAnyNumber(t *testing.T) {
	for _, ms := range []int64{math.MinInt64, -1, 0, 1, math.MaxInt64, firstMs, lastMs} {
		if _, err := json.Marshal(Time(ms)); err != nil {
			t.Error(ms, err)
		}
	}
	if got := Time(1_700_000_000_123); got.UnixMilli() != 1_700_000_000_123 {
		t.Error(got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		if _, err := json.Marshal(Time(a).In(time.FixedZone("east", 14*3600))); err != nil {
			t.Fatal(err)
		}
		if a < b && (Milliseconds(a) > Milliseconds(b) || Time(a).After(Time(b))) || a > 0 && Milliseconds(a) <= 0 {
			t.Fatalf("%d is %v, %v; %d is %v, %v", a, Milliseconds(a), Time(a), b, Milliseconds(b), Time(b))
		}
	})
}
