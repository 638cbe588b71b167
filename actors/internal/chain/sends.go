package chain

// Middleware of senders and producers. It is put together once, and each call says
// what the innermost send does: sending, putting, or only taking a message.

import (
	"context"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

// Sends is middleware of one sender or producer. It is safe for concurrent use.
type Sends struct{ outer messages.Send }

// NewSends puts use around the sends of one handle. Without middleware it returns nil,
// which is for the caller to look at: nothing else is to cost anything then.
func NewSends(use []func(next messages.Send) messages.Send) (*Sends, error) {
	if len(use) == 0 {
		return nil, nil
	}
	outer, err := Wrap(innermost, use)
	if err != nil {
		return nil, err
	}
	return &Sends{outer}, nil
}

// call carries what the innermost send does through the middleware.
type call struct {
	context.Context
	do  messages.Send
	put *messages.PutResult // of a put, once it is done; else nil
}

type callKey struct{}

// Value returns the call itself for its key.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// innermost does what the call is for.
var innermost messages.Send = func(ctx context.Context, m messages.Message) error {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return fmt.Errorf("send: a middleware gave next a context that is not made of its own; derive it with context.With...: %w", messages.ErrInvalid)
	}
	return c.do(ctx, m)
}

// Do sends m through the middleware, the innermost of which is do.
func (s *Sends) Do(ctx context.Context, m messages.Message, do messages.Send) error {
	return s.outer(&call{Context: ctx, do: do}, m)
}

// Put is Do for a put that returns where the record is. A message that a middleware
// keeps back without an error has no place.
func (s *Sends) Put(ctx context.Context, m messages.Message, put func(context.Context, messages.Message) messages.PutResult) messages.PutResult {
	r := messages.PutResult{Partition: -1, Offset: -1}
	c := &call{Context: ctx, put: &r}
	c.do = func(ctx context.Context, m messages.Message) error {
		r = put(ctx, m)
		return r.Err
	}
	err := s.outer(c, m)
	r.Err = err
	return r
}

// PlaceIn returns where a put's result will be when next has returned, or nil when ctx is
// of another call. It is for the outermost middleware.
func PlaceIn(ctx context.Context) *messages.PutResult {
	if c, ok := ctx.(*call); ok {
		return c.put
	}
	return nil
}
