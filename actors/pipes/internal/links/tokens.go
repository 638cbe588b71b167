package links

// Tokens that admit to one group of a destination, or to all of its groups: which of them
// admit now, what follows when others are to, and when their keys are written.

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
)

// AllGroups is the name under which Tokens has the token that admits to any group.
const AllGroups = ""

// RenewGrace is how long a token admits that Renew replaced: long, since members may not
// reach etcd yet.
const RenewGrace = 2 * messages.DefaultTokenGrace

// NewToken draws a token of 32 random bytes.
func NewToken() []byte {
	token := make([]byte, 32)
	rand.Read(token)
	return token
}

// Tokens are those that a sender has drawn for the groups of a destination, and what is
// known of their keys. The zero value is ready. They are safe for concurrent use.
//
// Each group has one token that its members are to use and, for the grace after it was
// replaced, the one before. Nothing else admits.
type Tokens struct {
	mu     sync.Mutex
	byName map[string]*drawn
	put    map[string]struct{} // whose keys are the registry's, or may be
	over   bool                // the destination takes its keys away
	turn   chan struct{}       // has room for one: who writes keys
}

// drawn are the tokens of a group.
type drawn struct {
	now    Token
	before *Token  // admits still; nil for none
	fading []Token // admit nobody more, and links that stand on them are ending in order
	record []byte  // the key of the generation that now is of; nil where there is none
}

// Token is one token of a sender.
type Token struct {
	Generation uint64
	Bytes      []byte
	Since      time.Time
}

// Over is a token that was replaced.
type Over struct {
	Token []byte
	// AtOnce: its links end now.
	AtOnce bool
	// Grace is how long it admits still, in which its links end in order. Without, and not
	// at once, it admits nobody more, and its links are ending in order already.
	Grace time.Duration
}

// Generation reads the key of a generation; of nil, and of what does not decode, it is the
// one before the first rotation.
func Generation(record []byte) *pb.TokenGeneration {
	g := &pb.TokenGeneration{}
	if record == nil || proto.Unmarshal(record, g) != nil {
		return &pb.TokenGeneration{GraceMs: messages.DefaultTokenGrace.Milliseconds()}
	}
	return g
}

// Admit are the tokens that admit to a group now, always as many: nil where there is none.
func (t *Tokens) Admit(group string) [4][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all [4][]byte
	for i, name := range [2]string{AllGroups, group} {
		if d := t.byName[name]; d != nil {
			all[2*i] = d.now.Bytes
			if d.before != nil {
				all[2*i+1] = d.before.Bytes
			}
		}
	}
	return all
}

// Of is the token that a group's members are to use; nil for none.
func (t *Tokens) Of(group string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.byName[group]; d != nil {
		return d.now.Bytes
	}
	return nil
}

// Groups are those that have tokens, AllGroups among them.
func (t *Tokens) Groups() (groups []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for group := range t.byName {
		groups = append(groups, group)
	}
	slices.Sort(groups)
	return groups
}

// Draw makes a token for a group that has none, of the generation of record.
func (t *Tokens) Draw(group string, record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName, t.put = make(map[string]*drawn), make(map[string]struct{})
	}
	if t.byName[group] == nil {
		t.byName[group] = &drawn{now: draw(record), record: record}
	}
}

func draw(record []byte) Token {
	return Token{Generation: Generation(record).GetGeneration(), Bytes: NewToken(), Since: time.Now()}
}

// Drew reports whether what a group's key held is a token of the group as it is now, not of
// one of that name before. What does not decode may be.
func (t *Tokens) Drew(group string, held []byte) bool {
	secret := &pb.Secret{}
	if proto.Unmarshal(held, secret) != nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if d == nil {
		return false
	}
	same := func(t Token) bool { return bytes.Equal(t.Bytes, secret.GetToken()) }
	return same(d.now) || d.before != nil && same(*d.before) || slices.ContainsFunc(d.fading, same)
}

// Follow obeys the key of a group's generation: when it is another than that under which
// the token was drawn, the token is replaced. It returns the tokens that are over by that.
// A generation that went back, in an etcd that was restored, is another one, too.
func (t *Tokens) Follow(group string, record []byte) []Over {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if d == nil || bytes.Equal(d.record, record) {
		return nil
	}
	g := Generation(record)
	d.record = record
	revoked := d.now.Generation < g.GetLeast() || g.GetGeneration() > 0 && g.GetLeast() == g.GetGeneration()
	return d.replace(draw(record), revoked, time.Duration(g.GetGraceMs())*time.Millisecond)
}

// Renew replaces a group's token by another one of its generation, in order: its key was
// not there for a time in which somebody may have meant to delete it.
func (t *Tokens) Renew(group string) []Over {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if d == nil {
		return nil
	}
	return d.replace(draw(d.record), false, RenewGrace)
}

// Revoke replaces a group's token at once: somebody has deleted its key.
func (t *Tokens) Revoke(group string) []Over {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if d == nil {
		return nil
	}
	over := d.end()
	over = append(over, Over{Token: d.now.Bytes, AtOnce: true})
	d.now = draw(d.record)
	return over
}

// replace makes next the token to use. What was before the one that it replaces admits no
// more; its links are ending in order already. When the one to use is revoked, nothing
// before it stays either, whatever generation that was of: an etcd that was restored has gone back.
func (d *drawn) replace(next Token, revoked bool, grace time.Duration) (over []Over) {
	if revoked {
		over = d.end()
	}
	if d.before != nil {
		over = append(over, Over{Token: d.before.Bytes})
		d.fading = append(d.fading, *d.before)
	}
	d.before = nil
	if revoked || grace <= 0 {
		over = append(over, Over{Token: d.now.Bytes, AtOnce: true})
	} else {
		over = append(over, Over{Token: d.now.Bytes, Grace: grace})
		was := d.now
		d.before = &was
	}
	d.now = next
	return over
}

// end ends at once what was replaced.
func (d *drawn) end() (over []Over) {
	for _, t := range d.fading {
		over = append(over, Over{Token: t.Bytes, AtOnce: true})
	}
	if d.before != nil {
		over = append(over, Over{Token: d.before.Bytes, AtOnce: true})
	}
	d.fading, d.before = nil, nil
	return over
}

// Expire ends the grace of a token, and reports whether it admitted until now.
func (t *Tokens) Expire(group string, token []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if d == nil {
		return false
	}
	d.fading = slices.DeleteFunc(d.fading, func(t Token) bool { return bytes.Equal(t.Bytes, token) })
	if d.before == nil || !bytes.Equal(d.before.Bytes, token) {
		return false
	}
	d.before = nil
	return true
}

// Before is the token that admits for a while yet; nil for none.
func (t *Tokens) Before(group string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.byName[group]; d != nil && d.before != nil {
		return d.before.Bytes
	}
	return nil
}

// Drop ends the tokens of a group that is over.
func (t *Tokens) Drop(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, group)
}

// Enter waits for its turn to write keys.
func (t *Tokens) Enter(ctx context.Context) (leave func(), err error) {
	t.mu.Lock()
	if t.turn == nil {
		t.turn = make(chan struct{}, 1)
	}
	turn := t.turn
	t.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// End is for good: no key is to be there any more. It returns the groups whose keys may be.
func (t *Tokens) End() (groups []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for group := range t.put {
		groups = append(groups, group)
	}
	return groups
}

// Wanted is what a group's key is to hold, and the key of the generation under which it is
// to be written; nil when it is not to be there. Whoever asks writes that, in its turn.
func (t *Tokens) Wanted(group string) (secret *pb.Secret, record []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.byName[group]
	if t.over || d == nil {
		return nil, nil
	}
	t.put[group] = struct{}{}
	secret = &pb.Secret{Token: d.now.Bytes, Generation: d.now.Generation, SinceUnixMs: d.now.Since.UnixMilli()}
	if d.before != nil {
		secret.Before = &d.before.Generation
	}
	return secret, d.record
}

// Removed: the key is not there any more.
func (t *Tokens) Removed(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.put, group)
}
