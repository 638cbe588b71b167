package messages

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// everyEvent holds each event with every field set.
func everyEvent() []Event {
	boom := errors.New("boom")
	return []Event{
		SessionSuspended{Lease: 7, Err: boom},
		SessionLost{Lease: 7},
		SessionRenewed{Lease: 8, Previous: 7},
		RegistrationRestored{Key: "/k", Why: "new session"},
		RegistrationTroubled{Key: "/k", Err: boom},
		RegistryDelayed{Err: boom},
		RegistrationAwaited{Key: "/k", Holder: "h", Left: time.Second},
		DestinationRegistered{Destination: "d", Sender: "s", URLs: []string{"tcp://127.0.0.1:1"}, Local: true},
		SenderMoved{Destination: "d", Sender: "s", URLs: []string{"tcp://127.0.0.1:1"}, Local: true},
		DestinationUnregistered{Destination: "d", Sender: "s"},
		GroupFound{Destination: "d", Group: "g"},
		GroupBegan{Destination: "d", Group: "g", Missed: 7},
		GroupRemoved{Destination: "d", Group: "g", Unsent: 3, Bytes: 30},
		MemberLinked{Destination: "d", Group: "g", Member: "m", Sender: "s", Addr: "a"},
		MemberUnlinked{Destination: "d", Group: "g", Member: "m", Sender: "s", Addr: "a", Cause: boom, Requeued: 2},
		SenderLinked{Destination: "d", Group: "g", Member: "m", Sender: "s", Addr: "a", Passed: boom},
		SenderUnlinked{Destination: "d", Group: "g", Member: "m", Sender: "s", Addr: "a", Cause: boom, Discarded: 2},
		LinkDelayed{Destination: "d", Group: "g", Member: "m", Sender: "s", Err: boom, Attempt: 1, Delay: time.Second},
		LinksExposed{URLs: []string{"tcp://10.0.0.1:1"}},
		PlainPeerLinked{Destination: "d", Group: "g", Member: "m", Addr: "a", URL: "u"},
		PlainPeerUnlinked{Destination: "d", Group: "g", Member: "m", Addr: "a", URL: "u", Cause: boom, Requeued: 2},
		PlainExposed{Destination: "d", URLs: []string{"tcp://10.0.0.1:1"}},
		ListenerTroubled{URL: "ipc:///run/s", Err: boom},
		CertificateTroubled{Err: boom},
		LeftGroup{Destination: "d", Group: "g", Member: "m"},
		ConnectionRefused{Remote: "r", Reason: "bad proof", Count: 5},
		ProtocolViolated{Destination: "d", Group: "g", Member: "m", Sender: "s", Addr: "a", Err: boom},
		Redelivered{Destination: "d", Group: "g", Count: 2, Cause: boom},
		MessageRejected{Destination: "d", Group: "g", Member: "m", Seq: 9, Err: boom, Parked: true, Count: 5},
		DeathCounted{Destination: "d", Group: "g", Member: "m", Deaths: 2, Cause: boom, Count: 5},
		MessageNacked{Destination: "d", Group: "g", Member: "m", Seq: 9, Attempt: 2, Err: boom, Delay: time.Second, Count: 5},
		AckWaitExpired{Destination: "d", Group: "g", Member: "m", Seq: 9, Attempt: 2, Wait: time.Second, Count: 5},
		LateAck{Destination: "d", Group: "g", Member: "m", Seq: 9, Count: 5},
		AttemptsExhausted{Destination: "d", Group: "g", Seq: 9, Attempt: 16, Deaths: 2, Err: boom, Delay: time.Minute, Count: 5},
		DeadLettered{Destination: "d", Group: "g", Attempt: 16, Deaths: 2, Rejected: true, Err: boom, Count: 5},
		MessagesDropped{Destination: "d", Group: "g", Count: 2, Bytes: 20, Why: "drop oldest"},
		MessagesExpired{Destination: "d", Group: "g", Count: 2, Bytes: 20, Untold: 1},
		Abandoned{Destination: "d", Group: "g", Count: 2, Bytes: 20, Cause: boom},
		Drained{Destination: "d", Group: "g", Took: time.Second},
		SendBlocked{Destination: "d", Group: "g", Missing: []string{"a"}, Since: time.Unix(1700000000, 0).UTC(), Why: "full", Count: 5},
		HandlerPanicked{Destination: "d", Group: "g", Value: "v", Stack: "st", Count: 5},
		HandlerStuck{Destination: "d", Group: "g", Member: "m", Seq: 9, Running: time.Minute, Stack: "st", Count: 5},
		ReceiverStuck{Destination: "d", Topic: "t", Group: "g", Receiver: "user/r", Waiting: time.Minute, Why: "it works"},
		UnreadReturned{Destination: "d", Group: "g", Member: "m", Count: 3, Why: "nobody reads"},
		CallbackPanicked{Callback: "logger", Count: 2, Value: "v", Stack: "st"},
		ActorRestarted{Actor: "dest/d", Err: boom, Attempt: 1, Delay: time.Second},
		ActorStopped{Actor: "dest/d", Err: boom},
		RuntimeStopped{Err: boom},
		EventsLost{Count: 4},

		TopicCreated{Topic: "t", ID: "i", Partitions: 4},
		TopicUpdated{Topic: "t", Partitions: 8},
		TopicDeleted{Topic: "t", ID: "i"},
		Subscribed{Topic: "t", Group: "g", Member: "m"},
		Unsubscribed{Topic: "t", Group: "g", Member: "m"},
		GroupAssigned{Topic: "t", Group: "g", Generation: 3, Members: 2, Partitions: 4, Moved: 1},
		PartitionClaimed{Topic: "t", Group: "g", Partition: 3, Offset: 40, Fence: 99},
		PartitionReleased{Topic: "t", Group: "g", Partition: 3, Offset: 50},
		PartitionTakenOver{Topic: "t", Group: "g", Partition: 3, Offset: 50, Takeovers: 2, Careful: 1074},
		ReleaseUnasked{Topic: "t", Group: "g", Partitions: []int{3}},
		PartitionLost{Topic: "t", Group: "g", Partition: 3, Fence: 99, Err: boom},
		MemberBuried{Topic: "t", Group: "g", Member: "n"},
		RecordsMissed{Topic: "t", Group: "g", Partition: 1, From: 2, To: 9, Count: 7},
		KeeperElected{},
		ScheduleFired{Schedule: "s", Topic: "t", Partition: 1, Offset: 2, Tick: time.Unix(3, 0), Late: 4 * time.Millisecond},
		ScheduleMissed{Schedule: "s", Topic: "t", Count: 2, Since: time.Unix(3, 0), Policy: MissedSkip},
		ScheduleFailed{Schedule: "s", Topic: "t", Tick: time.Unix(3, 0), Err: ErrNoTopic},
		KeeperDeposed{},
		KeeperRefused{Job: "history", Err: boom},
		KeeperDelayed{Job: "retention", Err: boom},
		TopicCompacted{Topic: "t", Partition: 1, End: 9, Batches: 2, Superseded: 3, Removed: 1, Bytes: 40, Trimmed: 2, Took: time.Second},
		TableLoads{Topic: "t", Why: "w", Read: 2, Left: 3},
		TableLoaded{Topic: "t", Why: "w", Keys: 2, Bytes: 3, Took: time.Second},
		TableClosed{Topic: "t", Err: boom},
		TopicTrimmed{Topic: "t", Partition: 1, Start: 9, Batches: 2, Records: 3, Bytes: 40, Why: "age"},
		ClockStepped{By: time.Hour},
		RecordsDelivered{Topic: "t", Partition: 1, Count: 2, Late: time.Millisecond},
		RecordsLate{Topic: "t", Partition: 1, Count: 2, Late: time.Second},
		HistoryCompacted{Revision: 9},
		ProcessUnwatched{Err: boom},
		ClaimRevoked{Topic: "t", Group: "g", Partition: 3, Member: "n", Why: "overdue"},
		CommitDelayed{Topic: "t", Group: "g", Err: boom},
		AppendDelayed{Topic: "t", Partition: 3, Err: boom},
		PutsSlowed{Used: 1, Size: 2, Quota: 3}, PutsRefused{Used: 1, Size: 2, Quota: 3}, PutsFree{Used: 1, Size: 2, Quota: 3}, EtcdAlarmed{Alarms: "NOSPACE", Used: 1, Size: 3, Quota: 3, Do: "make room"}, EtcdUnwatched{Err: boom},
		AppendFailed{Topic: "t", Partition: 3, Records: 7, Err: boom},
		ReadDelayed{Topic: "t", Partition: 3, Err: boom},
		BatchCorrupt{Topic: "t", Partition: 3, Offset: 40, Err: boom},
		LogRolledBack{Topic: "t", Partition: 3, Position: 50, End: 40},
		RecordHandlerStuck{Topic: "t", Group: "g", Member: "m", Partition: 3, Offset: 40, Running: time.Minute, Stack: "st", Count: 5},
		RecordFailed{Topic: "t", Group: "g", Partition: 3, Offset: 40, Attempt: 2, Delay: time.Second, Err: boom, Count: 5},
		RecordDeadLettered{Topic: "t", Group: "g", Partition: 3, Offset: 40, Attempts: 12, Deaths: 4, Omitted: "value", Err: boom, Count: 5},
		DeadLettersRepeated{Topic: "t", Group: "g", Member: "m", Run: 20, Letters: 30, Of: 50, Until: time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)},
		GroupPaused{Destination: "d", Topic: "t", Group: "g", Member: "m", Until: time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)},
		GroupResumed{Destination: "d", Topic: "t", Group: "g", Member: "m"},
		RecordRejected{Topic: "t", Group: "g", Partition: 3, Offset: 40, Attempts: 1, Err: boom, Count: 5},
		RecordsExpired{Topic: "t", Group: "g", Partition: 3, Offset: 40, Count: 5, Untold: 1},
		OffsetsReset{Topic: "t", Group: "g", Partitions: 4, Forced: true},
	}
}

func TestEveryEventIsListedAndSpelled(t *testing.T) {
	var declared []string
	for _, name := range []string{"event.go", "event_giveback.go", "event_table.go", "event_topic.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if _, ok := spec.Type.(*ast.StructType); ok {
					declared = append(declared, spec.Name.Name)
				}
			}
			return true
		})
	}
	var listed []string
	names := make(map[string]bool)
	snake := regexp.MustCompile(`([a-z])([A-Z])`)
	for _, e := range everyEvent() {
		v := reflect.ValueOf(e)
		typ := v.Type().Name()
		listed = append(listed, typ)
		if want := strings.ToLower(snake.ReplaceAllString(typ, "${1}_${2}")); EventName(e) != want {
			t.Errorf("%s is named %s", typ, EventName(e))
		}
		if names[EventName(e)] {
			t.Errorf("the name %s is used twice", EventName(e))
		}
		names[EventName(e)] = true
		// No line says less than its event.
		attrs := EventAttrs(e)
		if len(attrs) != v.NumField() {
			t.Errorf("%s has %d fields and %d attributes", typ, v.NumField(), len(attrs))
			continue
		}
		for i := range v.NumField() {
			f := v.Field(i)
			if f.IsZero() {
				t.Errorf("%s.%s is not set in this test", typ, v.Type().Field(i).Name)
			}
			key, want := strings.ToLower(v.Type().Field(i).Name), f.Interface()
			switch is := want.(type) {
			case error:
				want = is.Error()
			case time.Duration: // as JSON too
				key, want = key+"_ms", is.Milliseconds()
			}
			if attrs[i].Key != key {
				t.Errorf("%s.%s is logged as %s, want %s", typ, v.Type().Field(i).Name, attrs[i].Key, key)
			}
			if got := attrs[i].Value; got.String() != slog.AnyValue(want).String() {
				t.Errorf("%s.%s is logged as %s, want %v", typ, v.Type().Field(i).Name, got, want)
			}
		}
	}
	slices.Sort(declared)
	slices.Sort(listed)
	if !slices.Equal(declared, listed) {
		t.Errorf("declared %v\nlisted   %v", declared, listed)
	}
}

func TestEventWithoutOptionalFields(t *testing.T) {
	tests := []struct {
		event Event
		level slog.Level
		keys  string
	}{
		{MemberUnlinked{Cause: errors.New("x")}, slog.LevelWarn, "destination group member sender addr cause requeued"},
		{MemberUnlinked{}, slog.LevelInfo, "destination group member sender addr requeued"},
		{SenderUnlinked{}, slog.LevelInfo, "destination group member sender addr discarded"},
		{LinkDelayed{Attempt: 1}, slog.LevelInfo, "destination group member sender attempt delay_ms"},
		{LinkDelayed{Attempt: 3}, slog.LevelDebug, "destination group member sender attempt delay_ms"},
		{LinkDelayed{Attempt: 8}, slog.LevelInfo, "destination group member sender attempt delay_ms"},
		{LinkDelayed{Attempt: 16}, slog.LevelWarn, "destination group member sender attempt delay_ms"},
		{LinkDelayed{Attempt: 3, Err: ErrDenied}, slog.LevelWarn, "destination group member sender err attempt delay_ms"},
		{ConnectionRefused{Reason: "closing"}, slog.LevelDebug, "remote reason count"},
		{ActorStopped{}, slog.LevelInfo, "actor"},
		{ActorStopped{Err: errors.New("x")}, slog.LevelError, "actor err"},
		{RuntimeStopped{}, slog.LevelInfo, ""},
		{RuntimeStopped{Err: errors.New("x")}, slog.LevelError, "err"},
		{SendBlocked{}, slog.LevelWarn, "destination since why count"},
		{Drained{}, slog.LevelInfo, "destination took_ms"},
		{GroupRemoved{}, slog.LevelInfo, "destination group unsent bytes"},
		{GroupRemoved{Unsent: 1}, slog.LevelWarn, "destination group unsent bytes"},
		{SessionSuspended{}, slog.LevelWarn, "lease"},
	}
	for _, tt := range tests {
		var keys []string
		for _, a := range EventAttrs(tt.event) {
			keys = append(keys, a.Key)
		}
		if got := strings.Join(keys, " "); got != tt.keys || EventLevel(tt.event) != tt.level {
			t.Errorf("%T: %s at %v, want %s at %v", tt.event, got, EventLevel(tt.event), tt.keys, tt.level)
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write testdata/events.txt again")

// The log lines of all events, for people to review.
func TestEventTranscript(t *testing.T) {
	var out bytes.Buffer
	logger := lineLogger(&out, slog.LevelDebug)
	for _, e := range everyEvent() {
		LogEvent(context.Background(), logger, e)
	}
	const path = "testdata/events.txt"
	if *rewrite {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("the lines changed; if that is meant, run with -rewrite. Now:\n%s", out.String())
	}
}

// lineLogger writes text lines without the time.
func lineLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

func TestLogEvent(t *testing.T) {
	var out bytes.Buffer
	logger := lineLogger(&out, slog.LevelInfo)
	LogEvent(context.Background(), logger, Redelivered{Destination: "orders", Group: "billing", Count: 2, Cause: errors.New("link dead")})
	want := "level=INFO msg=redelivered destination=orders group=billing count=2 cause=\"link dead\"\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
	out.Reset()
	LogEvent(context.Background(), logger, MessageNacked{})
	if out.Len() != 0 {
		t.Errorf("a line below the level: %s", out.String())
	}
	LogEvent(context.Background(), nil, SessionLost{})
}
