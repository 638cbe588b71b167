package socket

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// Promise: a member that borrows from its own runtime and one of another runtime with the same
// certificate are judged apart: one keeps its link, the other one loses it.
func TestJudgeTellsOwnMembersFromOthers(t *testing.T) {
	secret := NewSecret()
	url, err := address.Parse("tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), ListenerConfig{
		URLs: []address.URL{url}, Lookup: func(string) (Secret, bool) { return secret, true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	welcomed := make(map[string]*Conn)
	for _, own := range []string{"ours", ""} {
		outcome := make(chan error, 1)
		go func() {
			c, err := l.Accept(t.Context())
			if err == nil {
				welcomed[own] = c
				err = c.Welcome("s", 1000)
			}
			outcome <- err
		}()
		c, err := Dial(t.Context(), DialConfig{URL: l.URL(), Token: secret.Token, Hello: frame.Hello{Destination: "d", Group: "g", Member: "m" + own, Window: 1, Concurrency: 1, Own: own}})
		if err := errors.Join(err, <-outcome); err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for range 8 { // whoever is asked about first
		l.Judge(t.Context(), func(h frame.Hello, _ carrier.Identity) error {
			if h.Own == "" {
				return context.Canceled
			}
			return nil
		})
		if err := welcomed["ours"].Err(); err != nil {
			t.Fatalf("ours: %v", err)
		}
		if err := welcomed[""].Err(); !errors.Is(err, ErrNotAllowed) {
			t.Fatalf("the other one: %v", err)
		}
	}
}
