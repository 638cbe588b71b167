package topics

// Puts that are timed while somebody wants to know how long they take.

import (
	"context"
	"time"

	"github.com/penstock-io/penstock/actors/internal/usercode"
	"github.com/penstock-io/penstock/messages"
)

func (t *Topic) put(ctx context.Context, m *messages.Message) messages.PutResult {
	began := t.path.Env.Runs.Begins()
	r := t.producer.Put(ctx, m)
	t.took(began, r.Err)
	return r
}

func (t *Topic) putTo(ctx context.Context, partition int, m *messages.Message) messages.PutResult {
	began := t.path.Env.Runs.Begins()
	r := t.producer.PutTo(ctx, partition, m)
	t.took(began, r.Err)
	return r
}

// putEach is one put, however many records it is of.
func (t *Topic) putEach(ctx context.Context, msgs []messages.Message, through func(context.Context, messages.Message, messages.Send) error) ([]messages.PutResult, error) {
	began := t.path.Env.Runs.Begins()
	results, err := t.producer.PutEach(ctx, msgs, through)
	t.took(began, err)
	return results, err
}

// timed is done, which tells how long it took until it is called.
func (t *Topic) timed(done func(messages.PutResult)) func(messages.PutResult) {
	began := t.path.Env.Runs.Begins()
	if done == nil || began.IsZero() {
		return done
	}
	return func(r messages.PutResult) {
		t.took(began, r.Err)
		done(r)
	}
}

// took notes a put that was committed.
func (t *Topic) took(began time.Time, err error) {
	if err == nil {
		t.path.Env.Runs.Took(began, usercode.TimedPut, t.path.Name, "")
	}
}
