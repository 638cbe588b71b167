package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestParseStart(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"earliest":                  "earliest",
		"latest":                    "latest",
		"0":                         "0",
		"9223372036854775807":       "9223372036854775807",
		"2026-11-22T01:02:03Z":      "2026-11-22T01:02:03Z",
		"2026-11-22T01:02:03.5Z":    "2026-11-22T01:02:03.5Z",
		"2026-11-22T02:02:03+01:00": "2026-11-22T01:02:03Z",
		"9999-12-31T23:59:59Z":      "latest", // no record can be that late
		"1600-01-01T00:00:00Z":      "earliest",
		"2562047h":                  "1734-08-13T04:00:00Z",
		"90s":                       "2026-11-22T02:58:30Z",
		"2h30m":                     "2026-11-22T00:30:00Z",
	} {
		if got, err := parseStart("--from", in, now); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-1", "-5m", "9223372036854775808", "yesterday", "2026-11-22", "EARLIEST"} {
		if got, err := parseStart("--from", in, now); codeOf(err) != exitUsage || !strings.Contains(err.Error(), "--from") {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}

// recordOf is a record as it is handed out.
func recordOf(key, value string) penstock.Record {
	m := penstock.Message{Key: []byte(key), Value: []byte(value), Time: time.Unix(1, 5)}
	return penstock.Record{Payload: messages.PayloadOf(&m), Topic: "audit", Partition: 3, Offset: 42, Fence: 7, Attempt: 1}
}

func TestParseFormat(t *testing.T) {
	r := recordOf("k\n", "v%p")
	for format, want := range map[string]string{
		defaultFormat:           "v%p\n",
		"":                      "",
		"%p:%o %k=%v %t %%":     "3:42 k\n=v%p 1970-01-01T00:00:01.000000005Z %",
		`%%p\t\\\x00\u00e9\xe9`: "%p\t\\\x00é\xe9",
		"é\xff%v":               "é\xffv%p",
		`"%v"`:                  `"v%p"`,
	} {
		encode, err := parseFormat(format)
		if err != nil {
			t.Errorf("%q: %v", format, err)
			continue
		}
		if got := string(encode([]byte(">"), &r)); got != ">"+want {
			t.Errorf("%q prints %q, want %q", format, got, want)
		}
	}
	for _, format := range []string{"%", "%x", "100%", `\`, `\q`, `\x1`, "%v% "} {
		if _, err := parseFormat(format); codeOf(err) != exitUsage {
			t.Errorf("%q: %v", format, err)
		}
	}
}

// What holds no verb and no backslash is printed as it is.
func FuzzParseFormat(f *testing.F) {
	f.Add(`%p:%o\n`)
	f.Add(`\xff%%`)
	f.Fuzz(func(t *testing.T, format string) {
		r := recordOf("", "")
		encode, err := parseFormat(format)
		if err != nil {
			if codeOf(err) != exitUsage {
				t.Errorf("%q: %v", format, err)
			}
			return
		}
		if got := string(encode(nil, &r)); !strings.ContainsAny(format, `%\`) && got != format {
			t.Errorf("%q prints %q", format, got)
		}
	})
}

func TestAppendRecordJSON(t *testing.T) {
	r := recordOf("k", "\xff")
	want := `{"key":"k","value_base64":"/w==","partition":3,"offset":42,"time":"1970-01-01T00:00:01.000000005Z","fence":7,"attempt":1}` + "\n"
	if got := string(appendRecordJSON(nil, &r)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLineFormat(t *testing.T) {
	for _, c := range []struct {
		put        put
		line       string
		key, value string
	}{
		{put{partition: -1}, "a:b", "", "a:b"},
		{put{keySep: ":", partition: -1}, "a:b:c", "a", "b:c"},
		{put{keySep: ":", partition: -1}, "a", "", "a"},
		{put{keySep: ":", partition: -1}, ":a", "", "a"},
		{put{keySep: "::", partition: 0}, "a:b::", "a:b", ""},
	} {
		f, err := c.put.lineFormat()
		m := f.message([]byte(c.line))
		if err != nil || string(m.Key) != c.key || string(m.Value) != c.value {
			t.Errorf("%q by %q: %q, %q, %v", c.line, c.put.keySep, m.Key, m.Value, err)
		}
	}
	c := put{partition: -1, headers: []string{"a=b", "a=c=d", "e="}}
	f, err := c.lineFormat()
	want := []penstock.Header{{Name: "a", Value: []byte("b")}, {Name: "a", Value: []byte("c=d")}, {Name: "e", Value: []byte{}}}
	if err != nil || fmt.Sprint(f.message(nil).Headers) != fmt.Sprint(want) {
		t.Errorf("headers %v, %v, want %v", f.headers, err, want)
	}
	for _, c := range []put{{partition: -2}, {headers: []string{"a"}}, {headers: []string{"=b"}}, {timeout: -1}} {
		if _, err := c.lineFormat(); codeOf(err) != exitUsage {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPutVerdict(t *testing.T) {
	full := fmt.Errorf("put: %w", penstock.ErrNoSpace)
	doubt := fmt.Errorf("put: %w", penstock.ErrUnknownOutcome)
	stopped := incompletef("stopped reading after 9 lines")
	for name, c := range map[string]struct {
		counts               putCounts
		taken                int
		reading, flush, ends error
		want                 exitCode
		says, saysNot        string
	}{
		"all":              {counts: putCounts{put: 3}, taken: 3, want: exitDone},
		"none":             {want: exitDone},
		"full":             {counts: putCounts{put: 1, failed: 2, failure: full}, taken: 3, reading: stopped, want: exitFailed, says: "2 of 3 records were not put", saysNot: "stopped reading"},
		"full, flush too":  {counts: putCounts{put: 1, failed: 2, failure: full}, taken: 3, flush: full, want: exitFailed, says: "2 of 3 records were not put: put: etcd is full", saysNot: "full\n"},
		"unknown":          {counts: putCounts{put: 1, unsure: 2, doubt: doubt}, taken: 3, reading: stopped, want: exitFailed, says: "2 of 3 records may be in the topic, or not", saysNot: "stopped reading"},
		"both":             {counts: putCounts{failed: 1, failure: full, unsure: 2, doubt: doubt}, taken: 3, want: exitFailed, says: "1 of 3 records were not put: put: etcd is full\n2 of 3 records may be"},
		"signal":           {counts: putCounts{put: 9}, taken: 9, reading: stopped, ends: context.Canceled, want: exitIncomplete, says: "stopped reading"},
		"timeout, unknown": {counts: putCounts{put: 7, unsure: 2, doubt: doubt}, taken: 9, reading: stopped, ends: errTimeout, want: exitIncomplete, says: "stopped reading after 9 lines\n2 of 9 records may be"},
		"never settled":    {counts: putCounts{put: 1}, taken: 2, flush: penstock.ErrUnavailable, want: exitUnreachable, says: "1 of 2 records may be in the topic, or not: unknown outcome"},
		"too long":         {counts: putCounts{put: 1}, taken: 1, reading: penstock.ErrTooLarge, want: exitFailed, says: "too large"},
		"flush":            {counts: putCounts{put: 1}, taken: 1, flush: penstock.ErrUnavailable, want: exitUnreachable, says: "unavailable"},
	} {
		err := c.counts.verdict(c.taken, c.reading, c.flush, c.ends)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if codeOf(err) != c.want || !strings.Contains(text, c.says) || c.saysNot != "" && strings.Contains(text, c.saysNot) {
			t.Errorf("%s: %d: %s", name, codeOf(err), text)
		}
	}
}

func TestPutTallyStopsAtTheFirstFailure(t *testing.T) {
	var causes []error
	tally := &putTally{refused: func(cause error) { causes = append(causes, cause) }}
	first, second := errors.New("first"), fmt.Errorf("second: %w", penstock.ErrUnknownOutcome)
	for _, err := range []error{nil, first, second, nil, errors.New("third")} {
		tally.settle(penstock.PutResult{Err: err})
	}
	c := tally.count()
	want := putCounts{put: 2, failed: 2, unsure: 1, failure: first, doubt: second}
	if c != want || len(causes) != 1 || !errors.Is(causes[0], first) {
		t.Errorf("%+v and %v, want %+v and the first only", c, causes, want)
	}
}

func TestTopicChange(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "nothing to change"},
		{[]string{"--partitions", "0"}, "--partitions 0"},
		{[]string{"--partitions", "-3"}, "--partitions -3"},
		{[]string{"--compression", ""}, "--compression"},
		{[]string{"--partitions", "3", "--max-record-bytes", "0"}, "--max-record-bytes 0"},
	} {
		usage(t, append([]string{"topic", "update", "audit"}, c.args...), c.says)
	}
}

// usage runs a command line that needs no etcd to be refused.
func usage(t *testing.T, args []string, says string) {
	t.Helper()
	var errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), io.Discard, &errs, func(string) string { return "" })
	if code != exitUsage || !strings.Contains(errs.String(), says) {
		t.Errorf("%v: %d, says %q, want %q in it", args, code, errs.String(), says)
	}
}

func TestTopicUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"topic", "craete"}, "did you mean create?"},
		{[]string{"topic", "frobnicate"}, `no command "frobnicate"`},
		{[]string{"group", "rest"}, "did you mean reset?"},
		{[]string{"topic", "create"}, "topic create NAME"},
		{[]string{"topic", "create", "audit", "--partitions", "0"}, "0 partitions"},
		{[]string{"topic", "create", "audit", "--partitions", "1025"}, "1025 partitions"},
		{[]string{"topic", "create", "audit", "--compression", "gzip"}, "gzip"},
		{[]string{"topic", "create", "audit", "--max-record-bytes", "2000000"}, "2000000"},
		{[]string{"put", "audit", "--partition", "-2"}, "--partition -2"},
		{[]string{"put", "audit", "--header", "x"}, "name=value"},
		{[]string{"put", "audit", "--timeout", "-1s"}, "--timeout"},
		{[]string{"sub", "audit"}, "sub TOPIC GROUP"},
		{[]string{"sub", "audit", "billing", "--count", "-1"}, "--count"},
		{[]string{"sub", "audit", "billing", "--from", "soon"}, "--from"},
		{[]string{"sub", "audit", "billing", "--format", "%x"}, "--format"},
		{[]string{"sub", "audit", "billing", "--format", "%v", "--json"}, "json"},
		{[]string{"sub", "audit", "billing", "--partitions", "one"}, "--partitions"},
		{[]string{"group", "reset", "audit", "billing"}, "--to is missing"},
		{[]string{"group", "reset", "audit", "billing", "--to", "-1"}, "--to"},
		{[]string{"demo", "--topics", "--messages", "0"}, "--messages"},
	} {
		usage(t, c.args, c.says)
	}
}

// fakePoller hands out what it was given, then waits.
type fakePoller struct {
	polls     [][]penstock.Record
	max       []int
	inHand    int // records of the last poll, which are not finished
	finished  int
	committed int
	err       error // what the poll after the last one answers; nil waits
}

func (p *fakePoller) Poll(ctx context.Context, max int) ([]penstock.Record, error) {
	p.finished += p.inHand
	p.inHand = 0
	p.max = append(p.max, max)
	if len(p.polls) == 0 {
		if p.err != nil {
			return nil, p.err
		}
		<-ctx.Done()
		return nil, fmt.Errorf("poll: %w", context.Cause(ctx))
	}
	recs := p.polls[0]
	recs, p.polls[0] = recs[:min(max, len(recs))], recs[min(max, len(recs)):]
	if len(p.polls[0]) == 0 {
		p.polls = p.polls[1:]
	}
	p.inHand = len(recs)
	return recs, nil
}

func (p *fakePoller) Commit(_ context.Context, recs ...penstock.Record) error {
	p.committed += len(recs)
	return nil
}

func records(n int) (recs []penstock.Record) {
	for range n {
		recs = append(recs, recordOf("", "v"))
	}
	return recs
}

func encodeValue(dst []byte, r *penstock.Record) []byte { return append(append(dst, r.Value...), '\n') }

func TestRecordPumpEnds(t *testing.T) {
	signalled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		ctx       context.Context
		poller    fakePoller
		count     int
		idle      time.Duration
		want      pumpEnd
		err       error
		written   int
		finished  int
		committed int
	}{
		"count": {poller: fakePoller{polls: [][]penstock.Record{records(3), records(3)}}, count: 5,
			want: endCounted, written: 5, finished: 3, committed: 2},
		"idle": {poller: fakePoller{polls: [][]penstock.Record{records(3)}}, idle: time.Millisecond,
			want: endIdle, written: 3, finished: 3},
		"signal": {ctx: signalled, poller: fakePoller{polls: [][]penstock.Record{records(3)}},
			want: endSignal, written: 3, finished: 3},
		"left": {poller: fakePoller{polls: [][]penstock.Record{records(3)}, err: penstock.ErrClosed},
			want: endLeft, written: 3, finished: 3},
		"error": {poller: fakePoller{err: broken}, want: endLeft, err: broken},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			var out bytes.Buffer
			p := recordPump{from: &c.poller, out: &out, encode: encodeValue, count: c.count, idle: c.idle}
			end, err := p.run(c.ctx)
			if end != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("ends with %q, %v, want %q, %v", end, err, c.want, c.err)
			}
			if out.Len() != 2*c.written || p.written.Load() != int64(c.written) {
				t.Errorf("wrote %d bytes and counts %d records, want %d", out.Len(), p.written.Load(), c.written)
			}
			if got := c.poller; got.finished != c.finished || got.committed != c.committed {
				t.Errorf("finished %d, committed %d", got.finished, got.committed)
			}
		})
	}
}

func TestRecordPumpAsksForNoMoreThanItWants(t *testing.T) {
	from := &fakePoller{polls: [][]penstock.Record{records(4), records(9)}}
	p := recordPump{from: from, out: io.Discard, encode: encodeValue, count: 6}
	if _, err := p.run(t.Context()); err != nil || !slices.Equal(from.max, []int{6, 2}) {
		t.Errorf("asked for %v, %v", from.max, err)
	}
}

// writerFunc is a stream.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestRecordPumpDoesNotFinishWhatItDidNotWrite(t *testing.T) {
	from := &fakePoller{polls: [][]penstock.Record{records(2), records(3)}}
	writes := 0
	out := writerFunc(func(b []byte) (int, error) {
		if writes++; writes == 2 {
			return 0, io.ErrClosedPipe
		}
		return len(b), nil
	})
	p := recordPump{from: from, out: out, encode: encodeValue}
	_, err := p.run(t.Context())
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "3 records go back") {
		t.Errorf("ends with %v", err)
	}
	if from.finished != 2 || from.committed != 0 || from.inHand != 3 {
		t.Errorf("%+v", from)
	}
}

func TestRecordPumpWritesInPieces(t *testing.T) {
	big := recordOf("", strings.Repeat("x", pumpBuffer))
	from := &fakePoller{polls: [][]penstock.Record{append(records(2), big, big, recordOf("", "last"))}}
	var sizes []int
	out := writerFunc(func(b []byte) (int, error) { sizes = append(sizes, len(b)); return len(b), nil })
	p := recordPump{from: from, out: out, encode: encodeValue, count: 5}
	if _, err := p.run(t.Context()); err != nil || !slices.Equal(sizes, []int{4 + pumpBuffer + 1, pumpBuffer + 1, 5}) {
		t.Errorf("wrote %v, %v", sizes, err)
	}
}

func TestTrouble(t *testing.T) {
	for _, e := range []penstock.Event{
		messages.AppendDelayed{Topic: "audit"}, messages.ReadDelayed{Topic: "audit"}, messages.CommitDelayed{Topic: "audit"},
		messages.PartitionLost{Topic: "audit"}, messages.BatchCorrupt{Topic: "audit"}, messages.LogRolledBack{Topic: "audit"},
	} {
		if got := troubleOf(e); got.topic != "audit" || got.what == "" || got.text == "" {
			t.Errorf("%T: %+v", e, got)
		}
	}
	if got := troubleOf(messages.SessionLost{}); got != (trouble{}) {
		t.Errorf("%+v", got)
	}
}

func TestDescriptionPrints(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	d := penstock.TopicDescription{
		TopicInfo:  penstock.TopicInfo{Name: "audit", ID: "abc", Created: at, Config: penstock.TopicConfig{Partitions: 2, Compression: "s2", MaxRecordBytes: 1000}},
		Partitions: []messages.PartitionInfo{{Partition: 0, Start: 5, End: 105, Bytes: 4000}, {Partition: 1}, {Partition: 2, Err: penstock.ErrCorrupt}},
		Groups: []penstock.GroupInfo{{
			Topic: "audit", Group: "billing", Mode: messages.GroupAutomatic, Generation: 3, Lag: 60,
			Members: []messages.GroupMember{{ID: "m\x1b", Host: "box", Since: at, Partitions: []int{0, 1}}, {ID: "n", Host: "box", Since: at}},
			Partitions: []messages.GroupPartition{
				{Partition: 0, Start: 5, End: 105, Committed: 45, Lag: 60, Owner: "m", Fence: 9}, {Partition: 1, Committed: -1}, {Partition: 2, Committed: -1, Lag: -1, Err: penstock.ErrCorrupt},
			},
			Err: penstock.ErrCorrupt,
		}},
	}
	var out strings.Builder
	v := viewDescription(d)
	if err := v.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `audit  id abc  partitions 2  compression s2  records to 1000 bytes  created 2026-11-22T03:00:00Z
partition  start  end  records  bytes
0          5      105  100      4000
1          0      0    0        0
2          corrupt
group billing of audit  automatic  generation 3  lag 60
  member m�  box  since 2026-11-22T03:00:00Z  partitions 0,1
  member n   box  since 2026-11-22T03:00:00Z  partitions -
  corrupt
  partition  start  end  committed  lag  owner
  0          5      105  45         60   m
  1          0      0    -          0    -
  2          corrupt
`
	if out.String() != want {
		t.Errorf("printed\n%s, want\n%s", out.String(), want)
	}
	if v.Records != 100 || v.Groups[0].Offsets[1].Committed != nil || *v.Groups[0].Offsets[0].Committed != 45 {
		t.Errorf("%+v", v)
	}
}

func TestInventoryOfTopics(t *testing.T) {
	space := keys.Space("/p")
	topic, err := proto.Marshal(&pb.Topic{Id: "abc", Partitions: 4, Compression: pb.Compression_S2, MaxRecordBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	inv := inventory{}
	inv.takeTopics(space, []discovery.KV{
		{Key: space.Topic("audit"), Value: topic}, {Key: space.Topic("bad"), Value: []byte{0xff}},
	})
	if len(inv.Topics) != 1 || inv.Topics[0].Name != "audit" || inv.Topics[0].Partitions != 4 || !slices.Equal(inv.Unreadable, []string{space.Topic("bad")}) {
		t.Errorf("%+v", inv)
	}
	now := time.Unix(100_000, 0)
	var marks []discovery.KV
	for _, age := range []time.Duration{0, time.Minute, time.Hour} {
		mark, err := proto.Marshal(&pb.Deleting{SinceUnixMs: now.Add(-age).UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		marks = append(marks, discovery.KV{Key: space.Deleting("x"), Value: mark})
	}
	if n := unfinished(marks, now); n != 1 {
		t.Errorf("%d are unfinished, want the one of an hour ago", n)
	}
}

func TestJudgeTopics(t *testing.T) {
	some := &inventory{Topics: []topicView{{Partitions: 3}, {Partitions: 4}}}
	for name, c := range map[string]struct {
		got  check
		want verdict
		says string
	}{
		"well":       {judgeTopics("/p", some, 0, nil), verdictOK, "2 topics, 7 partitions"},
		"denied":     {judgeTopics("/p", some, 0, penstock.ErrDenied), verdictWarn, "--prefix=true /p/"},
		"failed":     {judgeTopics("/p", some, 0, penstock.ErrUnavailable), verdictFail, "unavailable"},
		"unreadable": {judgeTopics("/p", &inventory{Unreadable: []string{"/p/topics/x"}}, 0, nil), verdictFail, "/p/topics/x"},
		"half done":  {judgeTopics("/p", some, 2, nil), verdictWarn, "2 more"},
	} {
		if c.got.Status != c.want || !strings.Contains(c.got.Found+" "+c.got.Do, c.says) {
			t.Errorf("%s: %+v", name, c.got)
		}
	}
}

func TestHandledSurvivesItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := handled{
			rapid.IntRange(0, demoMost).Draw(t, "number"), rapid.IntRange(0, messages.MaxPartitions).Draw(t, "partition"),
			rapid.Int64Min(0).Draw(t, "offset"),
		}
		line := string(appendHandled(nil, h))
		if got, err := parseHandled(strings.TrimSuffix(line, "\n")); err != nil || got != h {
			t.Fatalf("%q: %+v, %v, want %+v", line, got, err, h)
		}
	})
	for _, bad := range []string{"", "1", "1 2", "1 2 x", "1 2 3 4", "-1 2 3", "1 2 -3", "99999999999 1 1", "1  2 3"} {
		if h, err := parseHandled(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, h)
		}
	}
}

func FuzzParseHandled(f *testing.F) {
	f.Add("12 3 400")
	f.Add("-1 0 0")
	f.Fuzz(func(t *testing.T, line string) {
		h, err := parseHandled(line)
		if err == nil && (h.number < 0 || h.partition < 0 || h.offset < 0) {
			t.Errorf("%q: %+v", line, h)
		}
	})
}

func TestTopicTallyKnowsWhatMayBeHandledTwice(t *testing.T) {
	type event struct {
		h  handled
		by handler
	}
	early, late := handled{1, 0, 10}, handled{2, 0, 20} // committed before the kill, and not
	for name, c := range map[string]struct {
		floor                          []int64 // nil: nobody was killed
		events                         []event
		handled, distinct, unexplained int
	}{
		"once each":                  {nil, []event{{early, byVictim}, {late, bySurvivor}}, 2, 2, 0},
		"taken over":                 {[]int64{20}, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 0},
		"taken over, reported late":  {[]int64{20}, []event{{late, bySurvivor}, {late, byVictim}}, 2, 1, 0},
		"though committed":           {[]int64{20}, []event{{early, byVictim}, {early, bySurvivor}}, 2, 1, 1},
		"before the kill":            {nil, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 1},
		"by survivors":               {[]int64{0}, []event{{late, bySurvivor}, {late, bySurvivor}}, 2, 1, 1},
		"by the victim alone":        {[]int64{0}, []event{{late, byVictim}, {late, byVictim}}, 2, 1, 1},
		"taken over twice":           {[]int64{0}, []event{{late, byVictim}, {late, bySurvivor}, {late, bySurvivor}}, 3, 1, 1},
		"nothing was ever committed": {[]int64{-1}, []event{{late, byVictim}, {late, bySurvivor}}, 2, 1, 0},
		"an unknown partition":       {[]int64{0}, []event{{handled{2, 1, 20}, byVictim}, {handled{2, 1, 20}, bySurvivor}}, 2, 1, 1},
	} {
		tally := newTopicTally(3)
		tally.floor = c.floor
		for _, e := range c.events {
			if err := tally.add(e.h, e.by, time.Unix(2, 0)); err != nil {
				t.Fatal(err)
			}
		}
		r := topicResult{Put: c.distinct, Stored: int64(c.distinct)}
		r.fill(tally, time.Unix(1, 0))
		if r.Handled != c.handled || r.Distinct != c.distinct || r.Unexplained != c.unexplained || r.Duplicates != c.handled-c.distinct || r.Lost != 0 || r.PerSecond != float64(c.distinct) {
			t.Errorf("%s: %+v", name, r)
		}
		if err := r.verdict(c.distinct); (err != nil) != (c.unexplained > 0) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := newTopicTally(3).add(handled{number: 3}, byVictim, time.Time{}); err == nil {
		t.Error("a record that was never put was counted")
	}
}

func TestTopicVerdict(t *testing.T) {
	good := topicResult{Put: 3, Stored: 3}
	if err := good.verdict(3); err != nil {
		t.Error(err)
	}
	for says, r := range map[string]topicResult{
		"2 of 3 records were put":           {Put: 2, Stored: 2},
		"1 records were lost":               {Put: 3, Stored: 3, Lost: 1},
		"1 records were handled twice":      {Put: 3, Stored: 3, Unexplained: 1},
		"holds 4 records, and 3 were put":   {Put: 3, Stored: 4},
		"2 records were lost\n1 records we": {Put: 3, Stored: 3, Lost: 2, Unexplained: 1},
	} {
		if err := r.verdict(3); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", r, err, says)
		}
	}
}
