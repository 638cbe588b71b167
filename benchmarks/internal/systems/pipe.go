package systems

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Pipes as a user gets them: defaults, at least once, tcp over loopback, a runtime for
// each end.

// Destination is the name of the only one; GroupName those of its groups.
const Destination = "bench"

// GroupName is the name of group i.
func GroupName(i int) string { return fmt.Sprintf("g%d", i) }

// patience is how long an end may take to close.
const patience = 5 * time.Second

// Runtime starts one.
func Runtime(ctx context.Context, at side.Place, opts ...penstock.StartOption) (*penstock.Runtime, error) {
	return penstock.Start(ctx, append([]penstock.StartOption{penstock.Etcd(at.Address)}, opts...)...)
}

type members struct {
	rt   *penstock.Runtime
	read chan error // the end of each loop
	n    int
}

// receivePipe has a member of each group, whose loop acks each message as it takes the
// next.
func receivePipe(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
	return receive(ctx, at, to, take)
}

// reusePipe has the memory of frames used again.
func reusePipe(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
	return receive(ctx, at, to, take, penstock.ReuseBuffers())
}

func take(member *penstock.Member, r *side.Receiver) error {
	for msg, err := range member.Messages(context.Background()) {
		if err != nil {
			return err
		}
		r.Take(msg.Value)
	}
	return nil
}

// replyPipe replies to each request with its bytes.
func replyPipe(ctx context.Context, at side.Place, to []*side.Receiver) (side.Receiving, error) {
	return receive(ctx, at, to, func(member *penstock.Member, r *side.Receiver) error {
		return member.Consume(context.Background(), penstock.ReplyHandler(func(_ context.Context, d penstock.Delivery) (penstock.Message, error) {
			r.Take(d.Value)
			return penstock.Message{Value: d.Value}, nil
		}))
	})
}

func receive(ctx context.Context, at side.Place, to []*side.Receiver, loop func(*penstock.Member, *side.Receiver) error, opts ...penstock.JoinOption) (side.Receiving, error) {
	rt, err := Runtime(ctx, at)
	if err != nil {
		return nil, err
	}
	return join(ctx, rt, to, loop, opts...)
}

// receiveOver is receivePipe in a runtime with options.
func receiveOver(ctx context.Context, at side.Place, to []*side.Receiver, opts []penstock.StartOption) (side.Receiving, error) {
	rt, err := Runtime(ctx, at, opts...)
	if err != nil {
		return nil, err
	}
	return join(ctx, rt, to, take)
}

func join(ctx context.Context, rt *penstock.Runtime, to []*side.Receiver, loop func(*penstock.Member, *side.Receiver) error, opts ...penstock.JoinOption) (side.Receiving, error) {
	m := &members{rt: rt, read: make(chan error, len(to))}
	for i, r := range to {
		member, err := m.rt.Join(ctx, Destination, GroupName(i), opts...)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.n++
		go func() { m.read <- loop(member, r) }()
	}
	return m, nil
}

func (m *members) Address() string { return "" }

func (m *members) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := m.rt.Stop(ctx)
	for range m.n {
		select {
		case e := <-m.read:
			if !errors.Is(e, penstock.ErrClosed) {
				err = errors.Join(err, e)
			}
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("the receiving loop continues: %w", ctx.Err()))
		}
	}
	return err
}

type destination struct {
	rt   *penstock.Runtime
	dest *penstock.Destination
}

func sendPipe(ctx context.Context, at side.Place) (side.Sender, error) { return overTCP.send(ctx, at) }

// register registers the destination and waits for its groups and their links.
func register(ctx context.Context, at side.Place, opts ...penstock.StartOption) (*destination, error) {
	d := &destination{}
	var err error
	if d.rt, err = Runtime(ctx, at, opts...); err != nil {
		return nil, err
	}
	if d.dest, err = d.rt.Register(ctx, Destination); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for d.links() < max(1, at.Groups) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%d of %d groups are linked: %w", d.links(), at.Groups, context.Cause(ctx)), d.Close())
		}
	}
	return d, nil
}

// links is how many groups have one.
func (d *destination) links() (n int) {
	for _, s := range d.dest.Stats() {
		n += min(1, s.Links)
	}
	return n
}

// Send waits on no context of its own, as a service that never gives up: a context that
// can end costs each call a look at it.
func (d *destination) Send(_ context.Context, body []byte) error {
	return d.dest.Send(context.Background(), penstock.Message{Value: body})
}

func (d *destination) Push() error { return nil }

func (d *destination) Flush(ctx context.Context) (bool, error) { return true, d.dest.Flush(ctx) }

func (d *destination) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return d.rt.Stop(ctx)
}

// requests sends each message as a request.
type requests struct{ *destination }

func requestPipe(ctx context.Context, at side.Place) (side.Sender, error) {
	d, err := register(ctx, at, penstock.Listen(overTCP.url))
	if err != nil {
		return nil, err
	}
	return requests{d}, nil
}

func (r requests) Send(ctx context.Context, body []byte) error {
	reply, err := r.dest.Request(ctx, penstock.Message{Value: body})
	if err != nil {
		return err
	}
	return same(reply.Value, body)
}

// same is an error unless the reply is what was asked.
func same(reply, body []byte) error {
	if string(reply) != string(body) {
		return fmt.Errorf("a request of %d bytes was replied to with %d others", len(body), len(reply))
	}
	return nil
}

// records is what a putter reuses for a batch.
type records []penstock.Message

func (r *records) of(values [][]byte) []penstock.Message {
	*r = (*r)[:0]
	for _, v := range values {
		*r = append(*r, penstock.Message{Value: v})
	}
	return *r
}
