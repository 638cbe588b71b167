package suite

// The series of recoveries: how long it takes from a SIGKILL until what it held up goes on.
// Who is killed is a process of its own, as are those that the time is taken of.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/internal/part"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
)

// recovering bounds a recovery, with all that is set up for it.
const recovering = 90 * time.Second

// recovery makes a step of what returns how long it took.
func recovery(name string, took time.Duration, do func(ctx context.Context, r *rescue) (time.Duration, error)) step {
	return step{id: "recovery." + name, series: "recovery", takes: took, rounds: 3,
		run: func(ctx context.Context, b *bed, _ time.Duration) (_ results.Run, err error) {
			out := results.Run{System: "penstock", Settings: map[string]string{"killed": name}, Figures: map[results.Figure]float64{}}
			ctx, cancel := context.WithTimeout(ctx, recovering)
			defer cancel()
			r := &rescue{}
			defer func() { err = errors.Join(err, r.close()) }()
			if r.etcd, err = openStore(ctx, inside, true); err != nil {
				return out, err
			}
			d, err := do(ctx, r)
			if err != nil {
				return out, err
			}
			h := results.NewHistogram()
			h.Note(d)
			out.Figures[results.RecoveryMS] = float64(d.Microseconds()) / 1000
			out.Latencies = map[string]*results.Histogram{"recovered": h}
			out.Check.Sent = 1
			return out, nil
		}}
}

// rescue is what a recovery needs.
type rescue struct {
	etcd  *store
	parts []*part.Process
	rts   []*penstock.Runtime
}

func (r *rescue) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), recovering)
	defer cancel()
	var errs []error
	for _, p := range r.parts {
		errs = append(errs, p.Close())
	}
	for _, rt := range r.rts {
		_ = rt.Stop(ctx) // what was on its way to the dead is given up
	}
	if r.etcd != nil {
		errs = append(errs, r.etcd.close())
	}
	return errors.Join(errs...)
}

const recoveryPrefix = "/recovery"

// begin starts a part, and waits until it is ready.
func (r *rescue) begin(ctx context.Context, role part.Role) (*part.Process, error) {
	p, err := part.Start(ctx, part.Spec{Role: role, Endpoints: r.etcd.endpoints, Prefix: recoveryPrefix, Name: "rescue", Group: "g"})
	if err != nil {
		return nil, err
	}
	r.parts = append(r.parts, p)
	_, err = p.Ready(ctx)
	return p, err
}

func (r *rescue) runtime(ctx context.Context) (*penstock.Runtime, error) {
	rt, err := r.etcd.start(recoveryPrefix)(ctx)
	if err == nil {
		r.rts = append(r.rts, rt)
	}
	return rt, err
}

// background does something until ctx ends, or it fails, which only ends it: what waits
// for its effects says so.
func background(ctx context.Context, each time.Duration, do func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for scenario.Pause(ctx, each) == nil {
			_ = do(ctx)
		}
	}()
	return func() { cancel(); <-over }
}

// took is from a kill to what a part said.
func took(killed time.Time, s part.Said) time.Duration {
	return time.Duration(s.At - killed.UnixNano())
}

// memberDies: from the death of a member that has messages in hand until another gets the
// first of them.
func memberDies(ctx context.Context, r *rescue) (time.Duration, error) {
	rt, err := r.runtime(ctx)
	if err != nil {
		return 0, err
	}
	dest, err := rt.Register(ctx, "rescue")
	if err != nil {
		return 0, err
	}
	holder, err := r.begin(ctx, part.Holder)
	if err != nil {
		return 0, err
	}
	other, err := r.begin(ctx, part.Member)
	if err != nil {
		return 0, err
	}
	defer background(ctx, time.Millisecond, func(ctx context.Context) error {
		return dest.Send(ctx, penstock.Message{Value: make([]byte, 64)})
	})()
	if _, err := holder.Until(ctx, "message", func(s part.Said) bool { return s.Took }); err != nil {
		return 0, err
	}
	killed, err := holder.Kill()
	if err != nil {
		return 0, err
	}
	s, err := other.Until(ctx, "redelivered message", func(s part.Said) bool { return s.Redelivered })
	return took(killed, s), err
}

// consumerDies: from the death of a consumer until another gets the next record of one of
// its partitions.
func consumerDies(ctx context.Context, r *rescue) (time.Duration, error) {
	rt, err := r.runtime(ctx)
	if err != nil {
		return 0, err
	}
	const partitions = 4
	topic, err := rt.CreateTopic(ctx, "rescue", penstock.TopicConfig{Partitions: partitions}, penstock.PartitionBy(penstock.RoundRobin()))
	if err != nil {
		return 0, err
	}
	victim, err := r.begin(ctx, part.Consumer)
	if err != nil {
		return 0, err
	}
	heir, err := r.begin(ctx, part.Consumer)
	if err != nil {
		return 0, err
	}
	var owned []int
	if _, err := victim.Until(ctx, "share of the partitions", func(s part.Said) bool {
		owned = s.Owned
		return len(owned) == partitions/2
	}); err != nil {
		return 0, err
	}
	if _, err := heir.Until(ctx, "share of the partitions", func(s part.Said) bool { return len(s.Owned) == partitions/2 }); err != nil {
		return 0, err
	}
	defer background(ctx, 5*time.Millisecond, func(ctx context.Context) error {
		_, _, err := topic.Put(ctx, penstock.Message{Value: make([]byte, 64)})
		return err
	})()
	if _, err := victim.Until(ctx, "record", func(s part.Said) bool { return s.Took }); err != nil {
		return 0, err
	}
	killed, err := victim.Kill()
	if err != nil {
		return 0, err
	}
	s, err := heir.Until(ctx, "record of the dead one's partitions", func(s part.Said) bool {
		return s.Took && slices.Contains(owned, s.Partition)
	})
	return took(killed, s), err
}

// senderDies: from the death of a sender until the process that takes its place, and is
// started at once, has accepted its first message.
func senderDies(ctx context.Context, r *rescue) (time.Duration, error) {
	if _, err := r.begin(ctx, part.Member); err != nil {
		return 0, err
	}
	first, err := r.begin(ctx, part.Sender)
	if err != nil {
		return 0, err
	}
	accepted := func(s part.Said) bool { return s.Accepted }
	if _, err := first.Until(ctx, "message", accepted); err != nil {
		return 0, err
	}
	killed, err := first.Kill()
	if err != nil {
		return 0, err
	}
	second, err := r.begin(ctx, part.Sender)
	if err != nil {
		return 0, err
	}
	s, err := second.Until(ctx, "message", accepted)
	return took(killed, s), err
}

// etcdDies: from the death of etcd, which is started again at once, until a record is
// committed that was put after.
func etcdDies(ctx context.Context, r *rescue) (time.Duration, error) {
	own, err := openStore(ctx, apart, true)
	if own != nil {
		r.etcd, own = own, r.etcd // r closes the one in use
		err = errors.Join(err, own.close())
	}
	if err != nil {
		return 0, err
	}
	rt, err := r.runtime(ctx)
	if err != nil {
		return 0, err
	}
	topic, err := rt.CreateTopic(ctx, "rescue", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		return 0, err
	}
	put := func() error {
		_, _, err := topic.Put(ctx, penstock.Message{Value: make([]byte, 64)})
		return err
	}
	if err := put(); err != nil {
		return 0, err
	}
	killed, err := r.etcd.parts[0].Kill()
	if err != nil {
		return 0, err
	}
	again, err := part.Start(ctx, part.Spec{Role: part.Etcd, Dir: r.etcd.dir + "/0", Listen: r.etcd.endpoints[0]})
	if err != nil {
		return 0, err
	}
	r.etcd.parts[0] = again
	for {
		switch err := put(); {
		case err == nil:
			return time.Since(killed), nil
		case ctx.Err() != nil:
			return 0, fmt.Errorf("nothing is committed: %w", err)
		}
	}
}

func recoverySteps() []step {
	return []step{
		recovery("member", 2*time.Second, memberDies),
		recovery("consumer", 10*time.Second, consumerDies),
		recovery("sender", 2*time.Second, senderDies),
		recovery("etcd", 4*time.Second, etcdDies),
	}
}
