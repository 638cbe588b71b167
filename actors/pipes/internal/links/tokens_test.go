package links

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages/pb"
)

// generation is the key of a generation.
func generation(t *testing.T, g *pb.TokenGeneration) []byte {
	t.Helper()
	record, err := proto.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// admits reports whether a token admits to a group.
func admits(ts *Tokens, group string, token []byte) bool {
	return slices.ContainsFunc(slices.Collect(func(yield func([]byte) bool) {
		for _, a := range ts.Admit(group) {
			if a != nil && !yield(a) {
				return
			}
		}
	}), func(a []byte) bool { return bytes.Equal(a, token) })
}

// Promise: a group has one token until it is dropped, which is not another group's, and no
// key is wanted once all is over.
func TestTokens(t *testing.T) {
	wanted := func(ts *Tokens, group string) []byte {
		secret, _ := ts.Wanted(group)
		return secret.GetToken()
	}
	var ts Tokens
	ts.Drop("a")
	if ts.Of("a") != nil || wanted(&ts, "a") != nil || ts.Before("a") != nil || len(ts.End()) > 0 {
		t.Error("there is a token that was not drawn")
	}
	ts = Tokens{}
	ts.Draw("a", nil)
	ts.Draw("b", nil)
	first := ts.Of("a")
	ts.Draw("a", nil)
	if len(first) != 32 || !bytes.Equal(ts.Of("a"), first) || bytes.Equal(ts.Of("b"), first) || !bytes.Equal(wanted(&ts, "a"), first) {
		t.Error("a group has not one token of its own")
	}
	if !admits(&ts, "a", first) || admits(&ts, "b", first) {
		t.Error("the token does not admit to its group alone")
	}
	ts.Draw(AllGroups, nil)
	if all := ts.Of(AllGroups); !admits(&ts, "a", all) || !admits(&ts, "c", all) {
		t.Error("the token for all groups does not admit to all")
	}
	ts.Drop("a")
	if ts.Of("a") != nil || wanted(&ts, "a") != nil || admits(&ts, "a", first) {
		t.Error("a dropped token is there")
	}
	ts.Draw("a", nil)
	if bytes.Equal(ts.Of("a"), first) {
		t.Error("the next token is the one before")
	}
	if got := ts.End(); len(got) != 1 || got[0] != "a" {
		t.Errorf("keys of %q may be there", got)
	}
	if wanted(&ts, "b") != nil {
		t.Error("a key is written after the end")
	}
	ts.Removed("a")
	if got := ts.End(); len(got) > 0 {
		t.Errorf("keys of %q may be there", got)
	}
}

// Promise: what a key held is told from a token of a group of that name before.
func TestTokensDrew(t *testing.T) {
	var ts Tokens
	ts.Draw("a", nil)
	key := func() []byte {
		secret, _ := ts.Wanted("a")
		held, err := proto.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	var held [][]byte
	for i := range 3 {
		held = append(held, key())
		ts.Follow("a", generation(t, &pb.TokenGeneration{Generation: uint64(i + 1), GraceMs: 1000}))
	}
	for i, h := range append(held, key(), []byte{0xff}) {
		if !ts.Drew("a", h) {
			t.Errorf("key %d is of another life", i)
		}
	}
	ts.Drop("a")
	if ts.Drew("a", held[2]) {
		t.Error("a group that is gone")
	}
	ts.Draw("a", nil)
	for i, h := range held {
		if ts.Drew("a", h) {
			t.Errorf("key %d is of this life", i)
		}
	}
}

// Promise: a generation replaces the token, and the one before admits beside it for the
// grace. Two admit at a time, and none of a generation that was revoked.
func TestTokensFollow(t *testing.T) {
	var ts Tokens
	ts.Draw("a", nil)
	first := ts.Of("a")
	if over := ts.Follow("a", nil); over != nil {
		t.Errorf("the same generation ends %v", over)
	}
	if over := ts.Follow("b", nil); over != nil {
		t.Errorf("a group without tokens: %v", over)
	}
	over := ts.Follow("a", generation(t, &pb.TokenGeneration{Generation: 1, GraceMs: 1000}))
	if len(over) != 1 || !bytes.Equal(over[0].Token, first) || over[0].AtOnce || over[0].Grace != time.Second {
		t.Errorf("a rotation ends %+v", over)
	}
	second := ts.Of("a")
	secret, _ := ts.Wanted("a")
	if !admits(&ts, "a", first) || !admits(&ts, "a", second) || secret.GetGeneration() != 1 || secret.Before == nil || secret.GetBefore() != 0 {
		t.Errorf("not both admit: %v", secret)
	}
	record := generation(t, &pb.TokenGeneration{Generation: 2, GraceMs: 1000})
	over = ts.Follow("a", record)
	third := ts.Of("a")
	if len(over) != 2 || admits(&ts, "a", first) || !admits(&ts, "a", second) || !admits(&ts, "a", third) || over[0].AtOnce || over[0].Grace != 0 {
		t.Errorf("the second rotation ends %+v", over)
	}
	if ts.Expire("a", first) || !bytes.Equal(ts.Before("a"), second) || !ts.Expire("a", second) || admits(&ts, "a", second) {
		t.Error("the grace ends another token, or does not end")
	}
	if _, under := ts.Wanted("a"); !bytes.Equal(under, record) {
		t.Error("the key is written under another generation")
	}
	ts.Follow("a", generation(t, &pb.TokenGeneration{Generation: 3, GraceMs: 1000}))
	fourth := ts.Of("a")
	over = ts.Follow("a", generation(t, &pb.TokenGeneration{Generation: 4, Least: 4, GraceMs: 1000}))
	if len(over) != 2 || !over[0].AtOnce || !over[1].AtOnce || admits(&ts, "a", third) || admits(&ts, "a", fourth) || ts.Of("a") == nil {
		t.Errorf("a revocation ends %+v", over)
	}
	fifth := ts.Of("a")
	if over = ts.Renew("a"); len(over) != 1 || over[0].Grace != RenewGrace || !admits(&ts, "a", fifth) {
		t.Errorf("renewed: %+v", over)
	}
	sixth := ts.Of("a")
	if over = ts.Revoke("a"); len(over) != 2 || !over[0].AtOnce || !over[1].AtOnce || admits(&ts, "a", fifth) || admits(&ts, "a", sixth) {
		t.Errorf("deleted: %+v", over)
	}
	for range 3 {
		ts.Renew("a")
	}
	if over = ts.Revoke("a"); len(over) != 4 {
		t.Errorf("deleted while the links of two earlier ones are ending: %+v", over)
	}
	if secret, _ := ts.Wanted("a"); secret.GetGeneration() != 4 || secret.Before != nil {
		t.Errorf("a deleted token is followed by one of generation %v", secret)
	}
}

// Promise: whatever is done to generations, two tokens of a group admit at most, the newest
// among them, and a token that has ended admits never again. After a revocation no link
// stands on an earlier token, though that was replaced before, and though a generation went back.
func TestTokensAdmit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var ts Tokens
		ts.Draw("a", nil)
		dead, stands := make(map[string]bool), make(map[string]bool)
		g := &pb.TokenGeneration{GraceMs: 1000}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			var over []Over
			stands[string(ts.Of("a"))] = true
			revoked := false
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				g.Generation++
				over = ts.Follow("a", generation(t, g))
			case 1:
				g.Generation++
				g.Least, revoked = g.Generation, true
				over = ts.Follow("a", generation(t, g))
			case 2:
				over = ts.Renew("a")
			case 3:
				over, revoked = ts.Revoke("a"), true
			case 5: // etcd was restored
				g.Generation = rapid.Uint64Range(0, g.Generation).Draw(rt, "back")
				g.Least = min(g.Least, g.Generation)
				over = ts.Follow("a", generation(t, g))
			case 4:
				if b := ts.Before("a"); b != nil && ts.Expire("a", b) {
					dead[string(b)] = true
					delete(stands, string(b))
				}
			}
			for _, o := range over {
				if o.Grace == 0 {
					dead[string(o.Token)] = true
				}
				if o.AtOnce {
					delete(stands, string(o.Token))
				}
			}
			if revoked && len(stands) > 0 {
				rt.Fatalf("links stand on %d tokens that were revoked", len(stands))
			}
			n := 0
			for _, token := range ts.Admit("a") {
				if token == nil {
					continue
				}
				if n++; dead[string(token)] {
					rt.Fatal("a token that has ended admits")
				}
			}
			if n < 1 || n > 2 || !admits(&ts, "a", ts.Of("a")) {
				rt.Fatalf("%d tokens admit", n)
			}
		}
	})
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
