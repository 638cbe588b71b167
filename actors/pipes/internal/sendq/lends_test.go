package sendq

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/frame"
)

// lender is a queue that lends, with one group and one link.
type lender struct {
	q    *Queue
	b    *Backlog
	l    *Link
	back map[string]error // what became of each message
}

func newLender(t *testing.T) *lender {
	t.Helper()
	x := &lender{back: make(map[string]error)}
	x.q = New("~topic~group", Config{
		MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 1000, Bytes: 64 << 20}, Retry: messages.Retry{Min: time.Second, Max: time.Second}, Lends: true,
	}, func(messages.Event) {}, func(func()) {})
	x.b = x.q.Backlog("group", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock})
	x.link("member")
	return x
}

func (x *lender) link(member string) {
	x.l = NewLink(member, 1, 100)
	x.q.Attach(x.b, x.l)
	if _, ok := x.q.Next(x.b, x.l); ok {
		panic("a batch without credit")
	}
}

func (x *lender) lend(t *testing.T, name string, deaths int, tag int64) {
	t.Helper()
	x.lendAt(t, name, deaths, false, tag)
}

func (x *lender) lendAt(t *testing.T, name string, deaths int, first bool, tag int64) {
	t.Helper()
	m := messages.Message{Value: []byte(name)}
	if err := x.q.Lend(t.Context(), &m, Loan{Deaths: deaths, First: first, Tag: tag, Settled: func(err error) { x.back[name] = err }}); err != nil {
		t.Fatal(err)
	}
}

// take has the link carry what it may.
func (x *lender) take(t *testing.T, credit uint64) (names []string) {
	t.Helper()
	if err := x.q.Ack(x.b, x.l, &frame.Ack{CreditMessages: x.l.sent + credit, CreditBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	for {
		b, ok := x.q.Next(x.b, x.l)
		if !ok {
			return names
		}
		for rest := b.Records; len(rest) > 0; {
			var p messages.Payload
			n, err := messages.ConsumeRecord(rest, &p)
			if err != nil {
				t.Fatal(err)
			}
			names, rest = append(names, string(p.Value)), rest[n:]
		}
	}
}

// Promise: what a member did not handle is settled for its lender, who hears why, and it is
// not sent again. What nobody tried is.
func TestLenderHearsWhatBecameOfIt(t *testing.T) {
	x := newLender(t)
	for _, name := range []string{"failed", "later", "rejected", "kept", "returned"} {
		x.lend(t, name, 0, 1)
	}
	if got := x.take(t, 10); len(got) != 5 {
		t.Fatalf("sent %q", got)
	}
	for _, n := range []frame.Nack{
		{Seq: 1, Kind: frame.NackFailed, Reason: "no disk"}, {Seq: 2, Kind: frame.NackFailed, After: time.Minute, Reason: "busy"},
		{Seq: 3, Kind: frame.NackRejected, Reason: "no customer"}, {Seq: 4, Kind: frame.NackExpired, Reason: "too long"}, {Seq: 5, Kind: frame.NackReturned},
	} {
		if out, err := x.q.Nack(x.b, x.l, &n, time.Now()); err != nil || out != (Outcome{}) {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	if g := messages.GiveBackOf(x.back["failed"]); g.Verb != messages.VerbNack || g.After != 0 || g.Cause.Error() != "no disk" {
		t.Errorf("failed: %+v", g)
	}
	if g := messages.GiveBackOf(x.back["later"]); g.Verb != messages.VerbNack || g.After != time.Minute {
		t.Errorf("later: %+v", g)
	}
	if g := messages.GiveBackOf(x.back["rejected"]); g.Verb != messages.VerbReject || g.Cause.Error() != "no customer" {
		t.Errorf("rejected: %+v", g)
	}
	if death, ok := errors.AsType[*messages.DeathError](x.back["kept"]); !ok || death.Member != "member" {
		t.Errorf("kept: %v", x.back["kept"])
	}
	if err, told := x.back["returned"]; told {
		t.Errorf("returned: %v", err)
	}
	if got := x.take(t, 10); !slices.Equal(got, []string{"returned"}) {
		t.Errorf("sent again: %q", got)
	}
}

// Promise: a death is counted of what the member may have started on; the rest of what it
// had is sent again apart, and what members have died over, too.
func TestDeathsOfWhatIsLent(t *testing.T) {
	x := newLender(t)
	for i := range 4 {
		x.lend(t, fmt.Sprint(i), 0, 1)
	}
	x.take(t, 10)
	if n := x.q.Detach(x.b, x.l, true, time.Now()); n != 4 {
		t.Errorf("%d were out", n)
	}
	if _, ok := errors.AsType[*messages.DeathError](x.back["0"]); !ok || len(x.back) != 1 {
		t.Fatalf("told %v", x.back)
	}
	x.link("another")
	x.lend(t, "0 again", 1, 1)
	var order []string
	for range 4 {
		got := x.take(t, 10)
		if len(got) != 1 {
			t.Fatalf("sent %q together", got)
		}
		order = append(order, got...)
		if err := x.q.Ack(x.b, x.l, &frame.Ack{Cumulative: x.l.sent}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(order, []string{"1", "2", "3", "0 again"}) {
		t.Errorf("sent %q", order)
	}
}

// Promise: what is lent first is sent before what waits, also by a link that has other
// messages out.
func TestLentFirstOvertakesWhatWaits(t *testing.T) {
	x := newLender(t)
	for i := range 6 {
		x.lend(t, fmt.Sprint(i), 0, 1)
	}
	x.take(t, 2)
	x.lendAt(t, "first", 0, true, 2)
	if got := x.take(t, 3); !slices.Equal(got, []string{"first", "2", "3"}) {
		t.Errorf("sent %q", got)
	}
}

// Promise: what is recalled comes back: what waits at once, and what members give back when
// it comes, until something is lent under its tag again. Other tags are not touched.
func TestRecall(t *testing.T) {
	x := newLender(t)
	for i := range 6 {
		x.lend(t, fmt.Sprint(i), 0, int64(1+i%2))
	}
	if got := x.take(t, 3); !slices.Equal(got, []string{"0", "1", "2"}) {
		t.Fatalf("sent %q", got)
	}
	x.q.Recall(1)
	if len(x.back) != 1 || !messages.IsRelease(x.back["4"]) {
		t.Fatalf("back are %v", x.back)
	}
	for _, seq := range []uint64{1, 2} {
		if _, err := x.q.Nack(x.b, x.l, &frame.Nack{Seq: seq, Kind: frame.NackReturned}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	x.q.Detach(x.b, x.l, false, time.Now())
	if len(x.back) != 3 || !messages.IsRelease(x.back["0"]) || !messages.IsRelease(x.back["2"]) {
		t.Fatalf("back are %v", x.back)
	}
	x.link("another")
	if got := x.take(t, 10); !slices.Equal(got, []string{"1", "3", "5"}) {
		t.Errorf("sent %q", got)
	}
	x.lend(t, "later", 0, 1)
	if got := x.take(t, 10); !slices.Equal(got, []string{"later"}) {
		t.Errorf("sent %q", got)
	}
	if _, err := x.q.Nack(x.b, x.l, &frame.Nack{Seq: x.l.sent, Kind: frame.NackReturned}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, told := x.back["later"]; told {
		t.Error("what was lent after the recall came back")
	}
}
