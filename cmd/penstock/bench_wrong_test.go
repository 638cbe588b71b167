package main

// What is lost, doubled or out of order ends bench with code 1: here because a stranger
// takes messages as a member of bench's own group, and sends some of them again.

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// Promise: bench pipe, and both of its halves, see what is wrong and end with code 1.
func TestBenchPipeSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	args := []string{"--size", "64", "--rate", "200", "--warmup", "0s", "--duration", "2500ms", "--json"}
	for name, start := range map[string]func(t *testing.T) []*process{
		"pipe": func(t *testing.T) []*process {
			return []*process{begin(t, nil, nil, append([]string{"bench", "pipe"}, args...)...)}
		},
		"halves": func(t *testing.T) []*process {
			return []*process{begin(t, nil, nil, append([]string{"bench", "sender", "--listen", "tcp://127.0.0.1:0"}, args...)...), begin(t, nil, nil, "bench", "member", "--json")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := start(t)
			all[0].says("received") // before, bench waits for as many links as there should be
			strangeMember(t)
			for _, p := range all {
				wrong(t, p)
			}
		})
	}
}

// wrong requires that a process found all that is wrong.
func wrong(t *testing.T, p *process) {
	t.Helper()
	out, errs := p.ends(cli.ExitFailed)
	var r struct {
		Check struct{ Sent, Lost, Duplicates, Disordered uint64 }
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %q, %s", err, out, errs)
	}
	if r.Check.Lost == 0 || r.Check.Duplicates == 0 || r.Check.Disordered == 0 || r.Check.Sent != 500 {
		t.Errorf("%+v, %s", r.Check, errs)
	}
}

func stranger(t *testing.T) (context.Context, *penstock.Runtime) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	rt, err := penstock.Start(ctx, penstock.Etcd(endpoint), penstock.Prefix(prefixOf(t)), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = rt.Stop(ctx) // bench is gone, and what is left goes with it
	})
	return ctx, rt
}

// strangeMember takes ten messages, and sends one again, and another one twice.
func strangeMember(t *testing.T) {
	t.Helper()
	ctx, rt := stranger(t)
	all, err := rt.ListDestinations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	name := all[0].Name // that with the plan is behind it
	m, err := rt.Join(ctx, name, "g0")
	if err != nil {
		t.Fatal(err)
	}
	var taken [][]byte
	for len(taken) < 10 {
		got, err := m.Poll(ctx, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			taken = append(taken, d.Clone().Value)
			d.Ack()
		}
	}
	if err := m.Leave(ctx); err != nil {
		t.Fatal(err)
	}
	dest, err := rt.Register(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{taken[0], taken[1], taken[1]} {
		if err := dest.Send(ctx, penstock.Message{Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if err := dest.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// Promise: bench topic sees what is wrong and ends with code 1.
func TestBenchTopicSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := begin(t, nil, nil, "bench", "topic", "--size", "64", "--partitions", "2", "--rate", "200", "--warmup", "0s", "--duration", "2500ms", "--json")
	p.says("received")
	ctx, rt := stranger(t)
	all, err := rt.ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	topic, err := rt.Topic(ctx, all[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(ctx, "g0")
	if err != nil {
		t.Fatal(err)
	}
	var taken []penstock.Record
	for rec, err := range sub.Records(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if taken = append(taken, rec); len(taken) == 10 {
			break
		}
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 1} {
		if _, _, err := topic.Put(ctx, penstock.Message{Value: taken[i].Value}); err != nil {
			t.Fatal(err)
		}
	}
	wrong(t, p)
}
