package topics

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

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
	c = put{partition: -1, tombstone: true}
	if f, err = c.lineFormat(); err != nil || !f.message([]byte("a:b")).Tombstone || string(f.message([]byte("a:b")).Key) != "a:b" {
		t.Errorf("a tombstone is %+v, %v", f.message([]byte("a:b")), err)
	}
	for _, c := range []put{{partition: -2}, {headers: []string{"a"}}, {headers: []string{"=b"}}, {timeout: -1}, {partition: -1, tombstone: true, keySep: ":"}, {partition: -1, producer: "a/b"}} {
		if _, err := c.lineFormat(); cli.CodeOf(err) != cli.ExitUsage {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPutVerdict(t *testing.T) {
	full := fmt.Errorf("put: %w", penstock.ErrNoSpace)
	doubt := fmt.Errorf("put: %w", penstock.ErrUnknownOutcome)
	stopped := cli.Incompletef("stopped reading after 9 lines")
	for name, c := range map[string]struct {
		counts               putCounts
		taken                int
		reading, flush, ends error
		want                 cli.ExitCode
		says, saysNot        string
	}{
		"all":              {counts: putCounts{put: 3}, taken: 3, want: cli.ExitDone},
		"none":             {want: cli.ExitDone},
		"full":             {counts: putCounts{put: 1, failed: 2, failure: full}, taken: 3, reading: stopped, want: cli.ExitFailed, says: "2 of 3 records were not put", saysNot: "stopped reading"},
		"full, flush too":  {counts: putCounts{put: 1, failed: 2, failure: full}, taken: 3, flush: full, want: cli.ExitFailed, says: "2 of 3 records were not put: put: etcd is full", saysNot: "full\n"},
		"unknown":          {counts: putCounts{put: 1, unsure: 2, doubt: doubt}, taken: 3, reading: stopped, want: cli.ExitFailed, says: "2 of 3 records may be in the topic, or not", saysNot: "stopped reading"},
		"both":             {counts: putCounts{failed: 1, failure: full, unsure: 2, doubt: doubt}, taken: 3, want: cli.ExitFailed, says: "1 of 3 records were not put: put: etcd is full\n2 of 3 records may be"},
		"signal":           {counts: putCounts{put: 9}, taken: 9, reading: stopped, ends: context.Canceled, want: cli.ExitIncomplete, says: "stopped reading"},
		"timeout, unknown": {counts: putCounts{put: 7, unsure: 2, doubt: doubt}, taken: 9, reading: stopped, ends: cli.ErrTimeout, want: cli.ExitIncomplete, says: "stopped reading after 9 lines\n2 of 9 records may be"},
		"never settled":    {counts: putCounts{put: 1}, taken: 2, flush: penstock.ErrUnavailable, want: cli.ExitUnreachable, says: "1 of 2 records may be in the topic, or not: unknown outcome"},
		"too long":         {counts: putCounts{put: 1}, taken: 1, reading: penstock.ErrTooLarge, want: cli.ExitFailed, says: "too large"},
		"flush":            {counts: putCounts{put: 1}, taken: 1, flush: penstock.ErrUnavailable, want: cli.ExitUnreachable, says: "unavailable"},
	} {
		err := c.counts.verdict(c.taken, c.reading, c.flush, c.ends)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if cli.CodeOf(err) != c.want || !strings.Contains(text, c.says) || c.saysNot != "" && strings.Contains(text, c.saysNot) {
			t.Errorf("%s: %d: %s", name, cli.CodeOf(err), text)
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
