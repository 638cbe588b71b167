package senders

// What a link takes back from its member.

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/recordtest"
	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: a message that reaches its limit of deaths because a member keeps it for too
// long, on a link that lives, goes to the dead-letter handler, or is tried on after the
// longest delay, though nothing else happens in the group.
func TestWhatAMemberKeepsReachesItsLimitOfDeaths(t *testing.T) {
	for name, deadLetters := range map[string]bool{"dead letters": true, "parked": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := sendq.New("orders", sendq.Config{
					MaxMessageSize: 1 << 20, Queue: messages.QueueLimits{Messages: 10, Bytes: 1 << 20},
					MaxDeaths: 1, DeadLetters: deadLetters, Retry: messages.Retry{Max: time.Millisecond},
				}, func(messages.Event) {}, func(func()) {})
				b := o.Backlog("billing", messages.GroupSettings{Mode: messages.AtLeastOnce, Policy: messages.QueueBlock})
				place := sendq.NewLink("m", 1, 1<<10)
				o.Attach(b, place)
				ack := frame.Ack{CreditMessages: 10, CreditBytes: 1 << 20, AckWait: 100 * time.Millisecond}
				if err := o.Ack(b, place, &ack); err != nil {
					t.Fatal(err)
				}
				if err := o.Send(context.Background(), recordtest.Numbered(1, 8)); err != nil {
					t.Fatal(err)
				}
				if _, ok := o.Next(b, place); !ok {
					t.Fatal("it is not sent")
				}
				l := &link{linkParts: &linkParts{out: o, pipe: b}, place: place}
				told := 0
				for end := time.Now().Add(time.Minute); told == 0 && time.Now().Before(end); time.Sleep(sendq.OverdueEvery) {
					if l.takeBack() {
						told++
					}
				}
				if look := o.Look(b); told != 1 || look.Exhausted+look.Failed != 1 {
					t.Errorf("the pipe was told %d times, %+v", told, look)
				}
			})
		})
	}
}
