package beside

import (
	"context"
	"slices"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/bench"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// What is compared with what, and when it is good enough.

// comparison is one line of the result.
type comparison struct {
	id     string
	kind   kind
	size   int
	share  float64 // of the budget
	pairs  int     // of runs
	target float64 // at least; for latencies, at most
	full   bool    // left out of the quick use
}

// kind is how a comparison is made.
type kind int

const (
	pipeRate kind = iota
	pipeRaw
	pipeLone
	pipeRequest
	topicPut
	topicConsume
	topicLone
	topicEnd
)

// latency reports whether less is better.
func (k kind) latency() bool {
	return k == pipeLone || k == pipeRequest || k == topicLone || k == topicEnd
}

// pipes reports whether it is about pipes.
func (k kind) pipes() bool { return k.peer() == mangos || k.peer() == rawTCP }

// peer is what a comparison needs besides ourselves.
type peer string

const (
	mangos    peer = "mangos"
	rawTCP    peer = "rawtcp"
	jetstream peer = "jetstream"
	plainEtcd peer = "etcd"
)

func (k kind) peer() peer {
	switch k {
	case pipeRate, pipeLone, pipeRequest:
		return mangos
	case pipeRaw:
		return rawTCP
	case topicPut, topicConsume:
		return jetstream
	default:
		return plainEtcd
	}
}

func needs(chosen []comparison, p peer) bool {
	return slices.ContainsFunc(chosen, func(c comparison) bool { return c.kind.peer() == p })
}

var comparisons = []comparison{
	{id: "pipe.tcp.64B.vs.mangos", kind: pipeRate, size: 64, share: 0.13, pairs: 7, target: 16},
	{id: "pipe.tcp.1KiB.vs.mangos", kind: pipeRate, size: 1 << 10, share: 0.13, pairs: 7, target: 4},
	{id: "pipe.tcp.64KiB.vs.mangos", kind: pipeRate, size: 64 << 10, share: 0.08, pairs: 7, target: 0.9},
	{id: "pipe.lone.p50.vs.mangos", kind: pipeLone, size: 64, share: 0.13, pairs: 7, target: 1.5},
	{id: "pipe.request.p50.vs.mangos", kind: pipeRequest, size: 64, share: 0.05, pairs: 7, target: 2.5},
	{id: "topic.put.64B.vs.jetstream", kind: topicPut, size: 64, share: 0.14, pairs: 5, target: 12},
	{id: "topic.put.1KiB.vs.jetstream", kind: topicPut, size: 1 << 10, share: 0.11, pairs: 5, target: 1.2},
	{id: "topic.consume.64B.vs.jetstream", kind: topicConsume, size: 64, share: 0.13, pairs: 4, target: 20},
	{id: "topic.put.lone.p50.vs.etcdput", kind: topicLone, size: 64, share: 0.05, target: 1.5},
	{id: "topic.e2e.p50.vs.etcdput", kind: topicEnd, size: 64, share: 0.05, target: 3},

	{id: "pipe.tcp.16KiB.vs.mangos", kind: pipeRate, size: 16 << 10, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.1MiB.vs.mangos", kind: pipeRate, size: 1 << 20, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.64B.vs.rawtcp", kind: pipeRaw, size: 64, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.1KiB.vs.rawtcp", kind: pipeRaw, size: 1 << 10, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.16KiB.vs.rawtcp", kind: pipeRaw, size: 16 << 10, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.64KiB.vs.rawtcp", kind: pipeRaw, size: 64 << 10, share: 0.1, pairs: 7, full: true},
	{id: "pipe.tcp.1MiB.vs.rawtcp", kind: pipeRaw, size: 1 << 20, share: 0.1, pairs: 7, full: true},
	{id: "topic.put.16KiB.vs.jetstream", kind: topicPut, size: 16 << 10, share: 0.11, pairs: 5, full: true},
}

// A run of lone messages is short, so that the sides alternate often: pairs of
// them make 3,500 samples for each.
const (
	samples = 500
	pause   = 150 * time.Microsecond // a timer makes it about 1 ms
)

func (c comparison) run(ctx context.Context, b *bed, plan bench.Plan) (bench.Result, error) {
	switch c.kind {
	case pipeRate:
		return bench.Rates(ctx, c.id, c.size, b.pipes[0], b.pipes[1], plan)
	case pipeRaw:
		return bench.Rates(ctx, c.id, c.size, b.pipes[0], b.raw, plan)
	case pipeLone:
		return bench.Latencies(ctx, c.id, c.size, samples, pause, b.pipes[0], b.pipes[1], plan)
	case pipeRequest:
		return bench.Requests(ctx, c.id, c.size, 4*samples, plan, b.log.Logger)
	case topicPut:
		return bench.PutRates(ctx, c.id, c.size, b.logs[0], b.logs[1], plan)
	case topicConsume:
		return bench.ConsumeRates(ctx, c.id, c.size, b.logs[0], b.logs[1], plan)
	case topicLone:
		return b.topics.LonePuts(ctx, c.id, c.size, plan.Budget)
	default:
		return b.topics.EndToEnd(ctx, c.id, c.size, plan.Budget)
	}
}

// stored is a result as files keep it.
func (c comparison) stored(r bench.Result, why string) results.Comparison {
	return results.Comparison{
		ID: c.id, Peer: string(c.kind.peer()), Unit: r.Unit, Ours: r.Runs[0], Theirs: r.Runs[1],
		Target: c.target, Less: c.kind.latency(), Note: r.Note, Error: why,
		Took: results.Pair{Ours: r.Took[0], Theirs: r.Took[1]},
	}
}
