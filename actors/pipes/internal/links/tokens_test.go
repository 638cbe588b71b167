package links

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// Promise: a group has one token until it is dropped, which is not another group's, and no
// key is wanted once all is over.
func TestTokens(t *testing.T) {
	var ts Tokens
	if ts.Of("a") != nil || ts.Wanted("a") != nil || ts.Drop("a") != nil || len(ts.End()) > 0 {
		t.Error("there is a token that was not drawn")
	}
	ts = Tokens{}
	ts.Draw("a")
	ts.Draw("b")
	first := ts.Of("a")
	ts.Draw("a")
	if len(first) != 32 || !bytes.Equal(ts.Of("a"), first) || bytes.Equal(ts.Of("b"), first) || !bytes.Equal(ts.Wanted("a"), first) {
		t.Error("a group has not one token of its own")
	}
	if !bytes.Equal(ts.Drop("a"), first) || ts.Of("a") != nil || ts.Wanted("a") != nil {
		t.Error("a dropped token is there")
	}
	ts.Draw("a")
	if bytes.Equal(ts.Of("a"), first) {
		t.Error("the next token is the one before")
	}
	if got := ts.End(); len(got) != 1 || got[0] != "a" {
		t.Errorf("keys of %q may be there", got)
	}
	if ts.Wanted("b") != nil {
		t.Error("a key is written after the end")
	}
	ts.Removed("a")
	if got := ts.End(); len(got) > 0 {
		t.Errorf("keys of %q may be there", got)
	}
}

// Promise: one at a time writes keys, and whoever waits obeys its context.
func TestTokensTurn(t *testing.T) {
	var ts Tokens
	leave, err := ts.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := ts.Enter(ctx); !errors.Is(err, why) {
		t.Errorf("the second enters with %v", err)
	}
	leave()
	if leave, err = ts.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave()
}
