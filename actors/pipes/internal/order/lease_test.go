package order

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: a lease begins when the ping was sent that the sender repeated last, and not
// when the repetition came: what lay in a buffer for long renews nothing.
func TestLeaseBeginsWithThePing(t *testing.T) {
	var l Lease
	at := time.Now()
	if l.Valid(at) {
		t.Error("a lease is valid before the sender has heard anything")
	}
	first := l.Ping(at)
	second := l.Ping(at.Add(PingEvery))
	if renewed := l.Heard(first, at.Add(10*time.Millisecond)); !renewed || !l.Valid(at.Add(HandsOutFor-time.Millisecond)) {
		t.Error("a lease is not valid after the first ping was heard")
	}
	if l.Valid(at.Add(HandsOutFor)) {
		t.Error("a lease lasts for longer than HandsOutFor")
	}
	late := at.Add(time.Minute) // the process stood still; the repetition lay there
	if renewed := l.Heard(second, late); renewed || l.Valid(late) {
		t.Error("an old ping renewed the lease")
	}
	third := l.Ping(late)
	if l.Heard(first, late); l.Valid(late) {
		t.Error("a ping that was heard before renewed the lease")
	}
	if !l.Heard(third, late) || !l.Valid(late) {
		t.Error("a new ping did not renew the lease")
	}
}

// Promise: whoever was told that the lease is over hears of its renewal, also when the ping
// was heard between the time that it read and its look.
func TestWhoeverWasRefusedHearsOfTheRenewal(t *testing.T) {
	var l Lease
	at := time.Now()
	l.Heard(l.Ping(at), at)
	next := l.Ping(at.Add(time.Second))
	if l.Valid(at.Add(HandsOutFor)) {
		t.Fatal("the lease is valid for longer than HandsOutFor")
	}
	if !l.Heard(next, at.Add(HandsOutFor-time.Millisecond)) {
		t.Error("a ping that was heard before the lease was over, and is noted after, renews it in silence")
	}
	if l.Heard(l.Ping(at.Add(HandsOutFor)), at.Add(HandsOutFor)) {
		t.Error("a renewal that nobody waits for is told")
	}
}

// Promise: a number that the member did not send, or long ago, says nothing.
func TestLeaseOfNumbersNeverSent(t *testing.T) {
	var l Lease
	at := time.Now()
	for range 100 {
		l.Ping(at)
	}
	for _, number := range []uint64{0, 1, 84, 101, 1 << 63} {
		if l.Heard(number, at) || l.Valid(at) {
			t.Errorf("the lease is valid by ping %d of 100", number)
		}
	}
	if !l.Heard(85, at) || !l.Valid(at) {
		t.Error("the lease is not valid by one of the last pings")
	}
}

// Promise: a clock of the member's that stood still, because its machine was suspended, does
// not make the lease longer: the time of day counts as well.
func TestLeaseOfASuspendedMachine(t *testing.T) {
	var l Lease
	at := time.Now()
	l.Heard(l.Ping(at), at)
	slept := at.Round(0).Add(time.Hour) // without the clock that only goes forward
	if l.Valid(slept) {
		t.Error("the lease is valid after an hour of the time of day")
	}
}

// Promise: the member's lease is over before the sender gives to others what was out.
func TestLeaseIsOverBeforeTheSenderGivesUp(t *testing.T) {
	var l Lease
	var h Heard
	if !h.Over().IsZero() {
		t.Error("a lease that never began is over at some time")
	}
	at := time.Now()
	number := l.Ping(at)
	if !h.Ping(number, at) || h.Ping(number, at.Add(time.Second)) {
		t.Error("a ping is to be repeated once")
	}
	l.Heard(h.Number(), at)
	if l.Valid(h.Over()) || h.Over().Sub(at) != GivenUpAfter {
		t.Errorf("the lease is valid when the sender gives it up, %s after the ping", h.Over().Sub(at))
	}
}

// Promise: only what is sent again takes along what is behind it; a kind that is not known
// counts as a failed handling.
func TestWhatBreaks(t *testing.T) {
	for kind, want := range map[uint32]bool{
		frame.NackFailed: true, frame.NackReturned: true, frame.NackExpired: true,
		frame.NackRejected: false, frame.NackLapsed: false, 99: true,
	} {
		if Breaks(kind) != want {
			t.Errorf("a nack of kind %d breaks: %t", kind, !want)
		}
	}
}
