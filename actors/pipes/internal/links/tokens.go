package links

// Tokens that admit to one group of a destination, and when their keys are written.

import (
	"context"
	"crypto/rand"
	"sync"
)

// NewToken draws a token of 32 random bytes.
func NewToken() []byte {
	token := make([]byte, 32)
	rand.Read(token)
	return token
}

// Tokens are those that a sender has drawn for the groups of a destination, and what is
// known of their keys. The zero value is ready. They are safe for concurrent use.
type Tokens struct {
	mu     sync.Mutex
	byName map[string][]byte
	put    map[string]struct{} // whose keys are the registry's, or may be
	over   bool                // the destination takes its keys away
	turn   chan struct{}       // has room for one: who writes keys
}

// Of is a group's token; nil for none.
func (t *Tokens) Of(group string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byName[group]
}

// Draw makes a token for a group that has none.
func (t *Tokens) Draw(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName, t.put = make(map[string][]byte), make(map[string]struct{})
	}
	if t.byName[group] == nil {
		t.byName[group] = NewToken()
	}
}

// Drop ends a group's token, and returns it.
func (t *Tokens) Drop(group string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := t.byName[group]
	delete(t.byName, group)
	return token
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

// Wanted is what a group's key is to hold; nil when it is not to be there. Whoever asks
// writes that, in its turn.
func (t *Tokens) Wanted(group string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.byName[group] == nil {
		return nil
	}
	t.put[group] = struct{}{}
	return t.byName[group]
}

// Removed: the key is not there any more.
func (t *Tokens) Removed(group string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.put, group)
}
