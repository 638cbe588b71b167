package lines

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

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// fakePoller hands out what it was given, then waits.
type fakePoller struct {
	polls     [][]penstock.Record
	max       []int
	inHand    int // records of the last poll, which are not finished
	finished  int
	committed int
	err       error // what the poll after the last one returns; nil waits
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
		recs = append(recs, recordOf("v"))
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
		want      End
		err       error
		written   int
		finished  int
		committed int
	}{
		"count": {poller: fakePoller{polls: [][]penstock.Record{records(3), records(3)}}, count: 5,
			want: EndCounted, written: 5, finished: 3, committed: 2},
		"idle": {poller: fakePoller{polls: [][]penstock.Record{records(3)}}, idle: time.Millisecond,
			want: EndIdle, written: 3, finished: 3},
		"signal": {ctx: signalled, poller: fakePoller{polls: [][]penstock.Record{records(3)}},
			want: EndSignal, written: 3, finished: 3},
		"left": {poller: fakePoller{polls: [][]penstock.Record{records(3)}, err: penstock.ErrClosed},
			want: EndLeft, written: 3, finished: 3},
		"error": {poller: fakePoller{err: broken}, want: EndLeft, err: broken},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ctx == nil {
				c.ctx = t.Context()
			}
			var out bytes.Buffer
			p := RecordPump{From: &c.poller, Out: &out, Encode: encodeValue, Count: c.count, Idle: c.idle}
			end, err := p.Run(c.ctx)
			if end != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("ends with %q, %v, want %q, %v", end, err, c.want, c.err)
			}
			if out.Len() != 2*c.written || p.Written() != int64(c.written) {
				t.Errorf("wrote %d bytes and counts %d records, want %d", out.Len(), p.Written(), c.written)
			}
			if got := c.poller; got.finished != c.finished || got.committed != c.committed {
				t.Errorf("finished %d, committed %d", got.finished, got.committed)
			}
		})
	}
}

func TestRecordPumpAsksForNoMoreThanItWants(t *testing.T) {
	from := &fakePoller{polls: [][]penstock.Record{records(4), records(9)}}
	p := RecordPump{From: from, Out: io.Discard, Encode: encodeValue, Count: 6}
	if _, err := p.Run(t.Context()); err != nil || !slices.Equal(from.max, []int{6, 2}) {
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
	p := RecordPump{From: from, Out: out, Encode: encodeValue, Left: "go back"}
	_, err := p.Run(t.Context())
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "3 records go back") {
		t.Errorf("ends with %v", err)
	}
	if from.finished != 2 || from.committed != 0 || from.inHand != 3 {
		t.Errorf("%+v", from)
	}
}

func TestRecordPumpWritesInPieces(t *testing.T) {
	big := recordOf(strings.Repeat("x", pumpBuffer))
	from := &fakePoller{polls: [][]penstock.Record{append(records(2), big, big, recordOf("last"))}}
	var sizes []int
	out := writerFunc(func(b []byte) (int, error) { sizes = append(sizes, len(b)); return len(b), nil })
	p := RecordPump{From: from, Out: out, Encode: encodeValue, Count: 5}
	if _, err := p.Run(t.Context()); err != nil || !slices.Equal(sizes, []int{4 + pumpBuffer + 1, pumpBuffer + 1, 5}) {
		t.Errorf("wrote %v, %v", sizes, err)
	}
}

// recordOf is a record as it is handed out.
func recordOf(value string) penstock.Record {
	m := penstock.Message{Value: []byte(value), Time: time.Unix(1, 5)}
	return penstock.Record{Payload: messages.PayloadOf(&m), Topic: "audit", Partition: 3, Offset: 42, Fence: 7, Attempt: 1}
}
