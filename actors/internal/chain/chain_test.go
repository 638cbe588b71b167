package chain

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// noted is middleware that notes when it is entered and left.
func noted[F ~func(context.Context, M) error, M any](notes *[]string, name string) func(F) F {
	return func(next F) F {
		return func(ctx context.Context, m M) error {
			*notes = append(*notes, name)
			err := next(ctx, m)
			*notes = append(*notes, "/"+name)
			return err
		}
	}
}

// Promise: the first of a list is the outermost.
func TestTheFirstIsTheOutermost(t *testing.T) {
	var notes []string
	failed := errors.New("failed")
	f, err := Wrap(func(context.Context, int) error { notes = append(notes, "f"); return failed },
		[]func(func(context.Context, int) error) func(context.Context, int) error{
			noted[func(context.Context, int) error](&notes, "a"), noted[func(context.Context, int) error](&notes, "b"),
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := f(t.Context(), 1); !errors.Is(err, failed) {
		t.Errorf("the error of f came as %v", err)
	}
	if want := []string{"a", "b", "f", "/b", "/a"}; !slices.Equal(notes, want) {
		t.Errorf("called %q, want %q", notes, want)
	}
}

// Promise: middleware that is nothing, or makes nothing, is refused by its number.
func TestNothingIsNoMiddleware(t *testing.T) {
	nothing := func(messages.Handler) messages.Handler { return nil }
	something := func(next messages.Handler) messages.Handler { return next }
	if err := Check([]func(messages.Handler) messages.Handler{something, nil}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("a nil function: %v", err)
	}
	if err := Check([]func(messages.Handler) messages.Handler{something, something}); err != nil {
		t.Error(err)
	}
	var handler messages.Handler = func(context.Context, messages.Delivery) error { return nil }
	if _, err := Wrap(handler, []func(messages.Handler) messages.Handler{nothing, something}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("one that returns nil: %v", err)
	}
	if _, err := NewSends([]func(messages.Send) messages.Send{func(messages.Send) messages.Send { return nil }}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("one of sends that returns nil: %v", err)
	}
	if s, err := NewSends(nil); s != nil || err != nil {
		t.Errorf("no middleware is %v, %v", s, err)
	}
}

// sends puts use around sends, which it must be able to.
func sends(t testing.TB, use ...func(messages.Send) messages.Send) *Sends {
	t.Helper()
	s, err := NewSends(use)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Promise: each call decides what the innermost send does, and within a middleware's own
// sends the calls do not mix.
func TestEachCallHasItsOwnInnermost(t *testing.T) {
	var got []string
	to := func(name string) messages.Send {
		return func(_ context.Context, m messages.Message) error {
			got = append(got, name+" "+string(m.Value))
			return nil
		}
	}
	inner := sends(t, func(next messages.Send) messages.Send { return next })
	outer := sends(t, func(next messages.Send) messages.Send {
		return func(ctx context.Context, m messages.Message) error {
			return errors.Join(inner.Do(ctx, messages.Message{Value: []byte("copy")}, to("inner")), next(ctx, m))
		}
	})
	for _, name := range []string{"send", "put"} {
		if err := outer.Do(t.Context(), messages.Message{Value: []byte("m")}, to(name)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"inner copy", "send m", "inner copy", "put m"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Promise: a middleware that loses its context is told so, and nothing is sent.
func TestALostContextIsAnError(t *testing.T) {
	s := sends(t, func(next messages.Send) messages.Send {
		return func(_ context.Context, m messages.Message) error { return next(context.Background(), m) }
	})
	err := s.Do(t.Context(), messages.Message{}, func(context.Context, messages.Message) error {
		t.Error("it was sent")
		return nil
	})
	if !errors.Is(err, messages.ErrInvalid) {
		t.Error(err)
	}
}

// Promise: a put has the place of its record and the error of the middleware; one that
// is kept back has no place.
func TestPutThroughMiddleware(t *testing.T) {
	refused, late := errors.New("refused"), errors.New("late")
	for name, tc := range map[string]struct {
		around func(next messages.Send) messages.Send
		put    error
		want   messages.PutResult
	}{
		"passed":      {func(next messages.Send) messages.Send { return next }, nil, messages.PutResult{Partition: 2, Offset: 7}},
		"failed":      {func(next messages.Send) messages.Send { return next }, refused, messages.PutResult{Partition: 2, Offset: 7, Err: refused}},
		"kept back":   {func(messages.Send) messages.Send { return nothing(nil) }, nil, messages.PutResult{Partition: -1, Offset: -1}},
		"not let by":  {func(messages.Send) messages.Send { return nothing(refused) }, nil, messages.PutResult{Partition: -1, Offset: -1, Err: refused}},
		"failed late": {func(next messages.Send) messages.Send { return then(next, late) }, nil, messages.PutResult{Partition: 2, Offset: 7, Err: late}},
		"hushed up":   {func(next messages.Send) messages.Send { return then(next, nil) }, refused, messages.PutResult{Partition: 2, Offset: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			got := sends(t, tc.around).Put(t.Context(), messages.Message{}, func(context.Context, messages.Message) messages.PutResult {
				return messages.PutResult{Partition: 2, Offset: 7, Err: tc.put}
			})
			if got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func nothing(err error) messages.Send {
	return func(context.Context, messages.Message) error { return err }
}

func then(next messages.Send, err error) messages.Send {
	return func(ctx context.Context, m messages.Message) error {
		_ = next(ctx, m)
		return err
	}
}

// BenchmarkChain is what three middlewares that do nothing cost a message.
func BenchmarkChain(b *testing.B) {
	b.Run("handler", func(b *testing.B) {
		pass := func(next messages.Handler) messages.Handler {
			return func(ctx context.Context, d messages.Delivery) error { return next(ctx, d) }
		}
		h, err := Wrap(messages.Handler(func(context.Context, messages.Delivery) error { return nil }), []func(messages.Handler) messages.Handler{pass, pass, pass})
		if err != nil {
			b.Fatal(err)
		}
		var d messages.Delivery
		b.ReportAllocs()
		for b.Loop() {
			_ = h(b.Context(), d)
		}
	})
	b.Run("send", func(b *testing.B) {
		pass := func(next messages.Send) messages.Send {
			return func(ctx context.Context, m messages.Message) error { return next(ctx, m) }
		}
		s, send := sends(b, pass, pass, pass), nothing(nil)
		b.ReportAllocs()
		for b.Loop() {
			_ = s.Do(b.Context(), messages.Message{}, send)
		}
	})
}
