package format

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
)

func someSchedule() messages.ScheduleInfo {
	at := time.UnixMilli(1780000000123).UTC()
	return messages.ScheduleInfo{
		Name: "clock",
		Schedule: messages.Schedule{
			Topic: "ticks", Key: []byte("k"), Value: []byte("v"), Headers: []messages.Header{{Name: "a", Value: []byte("b")}},
			Cron: "30 2 * * *", TimeZone: "Europe/Berlin", Missed: messages.MissedAll, MaxMissed: 7,
		},
		Paused: true, Created: at, Changed: at.Add(1e9), From: at.Add(2e9), Tick: at.Add(3e9), Fired: at.Add(4e9), Next: at.Add(5e9),
		FiredCount: 1, MissedCount: 2, FailedCount: 3, Trouble: "trouble", Revision: 9,
	}
}

// Promise: a schedule is read as it was written, and no value is written twice.
func TestScheduleValue(t *testing.T) {
	want := someSchedule()
	value := ScheduleValue(&want)
	got, err := ParseSchedule("clock", []byte(value), 9)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if value == ScheduleValue(&want) {
		t.Error("two values are the same")
	}
}

// Promise: whatever stands in etcd, reading it ends with a schedule that could have been put, or
// with an error that wraps ErrCorrupt.
func FuzzParseSchedule(f *testing.F) {
	info := someSchedule()
	f.Add([]byte(ScheduleValue(&info)))
	f.Add([]byte{})
	f.Add([]byte{0xff})
	f.Add([]byte{0x38, 0x07})
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := ParseSchedule("clock", value, 1)
		if err != nil {
			if !errors.Is(err, messages.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := ParseSchedule("clock", []byte(ScheduleValue(&s)), 1)
		if err != nil || !s.Same(&again.Schedule) {
			t.Fatalf("%+v, and then %+v, %v", s, again, err)
		}
	})
}
