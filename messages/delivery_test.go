package messages

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

type settlements struct{ calls []string }

func (s *settlements) Ack(seq uint64) { s.calls = append(s.calls, fmt.Sprint("ack ", seq)) }
func (s *settlements) GiveBack(seq uint64, g GiveBack) {
	s.calls = append(s.calls, fmt.Sprint(g.Verb, " ", seq, " ", g.After, " ", g.Cause))
}
func (s *settlements) InProgress(seq uint64) {
	s.calls = append(s.calls, fmt.Sprint("in progress ", seq))
}

func TestDeliverySettles(t *testing.T) {
	var s settlements
	d := Delivery{Seq: 3, Settler: &s, Payload: Payload{Value: []byte("v")}}
	d.InProgress()
	d.Nack(errors.New("no"))
	d.NackAfter(time.Second, errors.New("busy"))
	d.NackAfter(-time.Second, nil)
	d.NackAfter(1000*time.Hour, nil)
	d.Nack(RetryAfter(time.Minute, errors.New("later")))
	d.Nack(fmt.Errorf("no order: %w", ErrReject))
	d.Release()
	d.Reject(errors.New("never"))
	d.Clone().Ack()
	want := []string{
		"in progress 3", "nacked 3 0s no", "nacked 3 1s busy", "nacked 3 1ns <nil>", "nacked 3 24h0m0s <nil>",
		"nacked 3 1m0s later", "rejected 3 0s no order: rejected", "released 3 0s <nil>", "rejected 3 0s never", "ack 3",
	}
	if !slices.Equal(s.calls, want) {
		t.Errorf("got %v, want %v", s.calls, want)
	}

	var alone Delivery
	alone.Ack()
	alone.Nack(nil)
	alone.NackAfter(time.Second, nil)
	alone.Release()
	alone.Reject(nil)
	alone.InProgress()
}

func TestDeliveryCloneKeepsNothingOfTheFrame(t *testing.T) {
	frame := []byte("value")
	d := Delivery{Payload: Payload{Value: frame}, Destination: "orders", Attempt: 2}
	c := d.Clone()
	clear(frame)
	if string(c.Value) != "value" || c.Destination != "orders" || c.Attempt != 2 {
		t.Errorf("got %+v", c)
	}
}

// wicked is an error whose method panics.
type wicked struct{}

func (wicked) Error() string { return "wicked" }
func (wicked) Is(error) bool { panic("Is") }

// Promise: what the error of a handler says survives wrapping, a rejection wins over a
// delay, and an error that panics when it is asked is a failure like any other.
func TestGiveBackOf(t *testing.T) {
	plain := errors.New("plain")
	for name, tc := range map[string]struct {
		err   error
		verb  Verb
		after time.Duration
		text  string
	}{
		"nil":                 {nil, VerbNack, 0, "<nil>"},
		"any":                 {plain, VerbNack, 0, "plain"},
		"reject":              {ErrReject, VerbReject, 0, "rejected"},
		"wrapped reject":      {fmt.Errorf("order 7: %w", ErrReject), VerbReject, 0, "order 7: rejected"},
		"joined reject":       {errors.Join(plain, ErrReject), VerbReject, 0, "plain\nrejected"},
		"later":               {RetryAfter(time.Second, plain), VerbNack, time.Second, "plain"},
		"later, without why":  {RetryAfter(time.Second, nil), VerbNack, time.Second, "to be tried again after 1s"},
		"at once":             {RetryAfter(0, nil), VerbNack, 1, "to be tried again after 0s"},
		"negative":            {RetryAfter(-time.Hour, plain), VerbNack, 1, "plain"},
		"too long":            {RetryAfter(48*time.Hour, plain), VerbNack, MaxRetryAfter, "plain"},
		"wrapped later":       {fmt.Errorf("db: %w", RetryAfter(time.Second, plain)), VerbNack, time.Second, "db: plain"},
		"reject within later": {RetryAfter(time.Second, ErrReject), VerbReject, 0, "rejected"},
		"untried":             {Untried(plain), VerbRelease, 0, "it was released: plain"},
		"wrapped untried":     {fmt.Errorf("late: %w", Untried(plain)), VerbRelease, 0, "late: it was released: plain"},
		"wicked":              {wicked{}, VerbNack, 0, "wicked"},
	} {
		t.Run(name, func(t *testing.T) {
			g := GiveBackOf(tc.err)
			if g.Verb != tc.verb || g.After != tc.after || fmt.Sprint(g.Cause) != tc.text {
				t.Errorf("%v after %v because %v", g.Verb, g.After, g.Cause)
			}
		})
	}
	if !errors.Is(RetryAfter(0, plain), plain) {
		t.Error("RetryAfter hides what it wraps")
	}
}
