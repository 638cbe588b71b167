package part

// A part, from inside.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// Main is a part when that is what this process was started for, and then ends the
// process. A program that starts parts calls it first.
func Main() {
	if len(os.Args) != 3 || os.Args[1] != command {
		return
	}
	signal.Ignore(os.Interrupt) // it goes to the whole process group, and who asks ends its parts
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is that of who asks
		stop()
		time.AfterFunc(grace, func() { os.Exit(3) })
	}()
	p := &part{out: json.NewEncoder(os.Stdout)}
	if err := p.run(ctx); err != nil {
		p.say(Said{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

type part struct {
	Spec
	mu  sync.Mutex
	out *json.Encoder
}

func (p *part) say(s Said) {
	s.At = time.Now().UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(s) // nobody listens any more
}

func (p *part) run(ctx context.Context) error {
	if err := json.Unmarshal([]byte(os.Args[2]), &p.Spec); err != nil {
		return err
	}
	switch p.Role {
	case Etcd:
		return p.etcd(ctx)
	case Members:
		p.say(Said{Ready: "joining"})
		r, err := p.Half.Run(ctx, p.start(), nil)
		p.say(Said{Result: &r})
		return err
	case Member, Holder:
		return p.with(ctx, p.take)
	case Consumer:
		return p.with(ctx, p.consumer)
	case Sender:
		return p.with(ctx, p.sender)
	default:
		return fmt.Errorf("role %q is not known", p.Role)
	}
}

func (p *part) start() scenario.Start {
	return scenario.Local(clientv3.Config{Endpoints: p.Endpoints, DialTimeout: 5 * time.Second}, p.Prefix)
}

// with runs something with a runtime until ctx ends.
func (p *part) with(ctx context.Context, do func(context.Context, *penstock.Runtime) error) error {
	rt, err := p.start()(ctx)
	if err != nil {
		return err
	}
	err = do(ctx, rt)
	if ctx.Err() != nil {
		err = nil // that is how it ends
	}
	stopping, cancel := context.WithTimeout(context.Background(), grace/2)
	defer cancel()
	_ = rt.Stop(stopping) // a holder gives back what it holds
	return err
}

func (p *part) etcd(ctx context.Context) error {
	opts := []embedded.Option{embedded.Listen(p.Listen)}
	if p.NoSync {
		opts = append(opts, embedded.UnsafeNoFsync())
	}
	if p.Cluster != "" {
		opts = append(opts, embedded.Peer(p.Peer), embedded.Tune(func(c *embed.Config) {
			c.Name, c.InitialCluster, c.InitialClusterToken = p.Member, p.Cluster, p.Cluster
		}))
	}
	s, err := embedded.Start(ctx, p.Dir, opts...)
	if err != nil {
		return err
	}
	p.say(Said{Ready: s.Endpoint()})
	select {
	case <-ctx.Done():
	case err = <-s.Err():
	}
	_ = s.Close() // what it has is deleted
	return err
}

func (p *part) take(ctx context.Context, rt *penstock.Runtime) error {
	m, err := rt.Join(ctx, p.Name, p.Group)
	if err != nil {
		return err
	}
	p.say(Said{Ready: m.ID()})
	for {
		got, err := m.Poll(ctx, 16)
		if err != nil {
			return err
		}
		for _, d := range got {
			p.say(Said{Took: true, Redelivered: d.Redelivered})
			if p.Role == Member {
				d.Ack()
			}
		}
		if p.Role == Holder {
			<-ctx.Done() // another Poll would settle what it has
			return nil
		}
	}
}

func (p *part) consumer(ctx context.Context, rt *penstock.Runtime) error {
	topic, err := rt.Topic(ctx, p.Name)
	if err != nil {
		return err
	}
	sub, err := topic.Subscribe(ctx, p.Group)
	if err != nil {
		return err
	}
	p.say(Said{Ready: p.Group})
	go func() {
		for last := []int(nil); ctx.Err() == nil; {
			if now := slices.Sorted(slices.Values(sub.Partitions())); !slices.Equal(now, last) {
				p.say(Said{Owned: now})
				last = now
			}
			_ = scenario.Pause(ctx, 5*time.Millisecond) // ctx is looked at
		}
	}()
	for rec, err := range sub.Records(ctx) {
		if err != nil {
			return err
		}
		p.say(Said{Took: true, Partition: rec.Partition})
	}
	return nil
}

func (p *part) sender(ctx context.Context, rt *penstock.Runtime) error {
	dest, err := rt.Register(ctx, p.Name)
	if err != nil {
		return err
	}
	p.say(Said{Ready: dest.URL()})
	for n := 0; ; n++ {
		err := dest.Send(ctx, penstock.Message{Value: make([]byte, 64)})
		if err != nil {
			return err
		}
		if n == 0 {
			p.say(Said{Accepted: true})
		}
		if err := scenario.Pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}
