package beside

import (
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

// What is compared with what, and when it is good enough.

// contest is a workload that systems do by turns.
type contest struct {
	kind  kind
	run   side.Run // For is set from the budget
	place side.Place
	share float64 // of the budget, for each run of each system
	full  bool    // of a full use only
	rows  []row
}

// kind is what is opened together: contests of one kind follow one another.
type kind string

const (
	ofPipes  kind = "pipes"
	ofTopics kind = "topics"
	ofActors kind = "actors"
	ofLinks  kind = "links"
)

// row is one comparison.
type row struct {
	id     string // what is before ".vs." and the peer's name in ids
	figure figure
	ours   system
	peers  []peer
}

// peer is who ours is compared with.
type peer struct {
	name   string  // as ids have it; empty for the system's
	system system  // who it is
	figure figure  // of the peer; 0 for the row's
	target float64 // of the ratio: at least; for latencies, at most; 0 for none
}

func (p peer) id(r row) string {
	if p.name == "" {
		return r.id + ".vs." + p.system.name
	}
	return r.id + ".vs." + p.name
}

// system is one that runs, and how wide it is.
type system struct {
	name       string
	partitions int  // instead of the contest's
	sized      bool // it is opened for one size
}

// figure is what is compared of runs.
type figure int

const (
	sameFigure figure = iota
	perSecond         // messages sent, or records put
	readPerSecond
	half // of latencies from the intended time: p50
	tail // p99.9
	came // of lone messages and records, from the call to the arrival in another process: p50
	call // of lone calls: p50
)

// latency reports whether less is better.
func (f figure) latency() bool { return f > readPerSecond }

func (f figure) unit() string {
	if f.latency() {
		return "us"
	}
	return "msg/s"
}

// value is the figure of one run.
func (f figure) value(o side.Outcome) float64 {
	switch f {
	case readPerSecond:
		return o.Read
	case half:
		return o.Took.At(50)
	case tail:
		return o.Took.At(99.9)
	case came:
		return results.Median(o.Came)
	case call:
		return results.Median(o.Put)
	default:
		return o.PerSec
	}
}

// latencies are those that the figure is taken of, in histograms.
func (f figure) latencies(o side.Outcome) *results.Histogram {
	var each []float64
	switch f {
	case half, tail:
		return o.Took
	case came:
		each = o.Came
	case call:
		each = o.Put
	default:
		return nil
	}
	h := results.NewHistogram()
	for _, us := range each {
		h.Note(time.Duration(us * float64(time.Microsecond)))
	}
	return h
}

// The systems of benchmarks/internal/systems are in this program, the others in that of
// benchmarks/peers.
var (
	penstock = system{name: "penstock"}
	topic    = system{name: "penstock-topic"}
)

const partitions = 4

// pipeAt is the throughput at one size beside all peers. Targets are those of mangos,
// nats, zmq, grpc and rawtcp. Large messages are received with ReuseBuffers, too.
func pipeAt(name string, size int, share float64, targets [5]float64) contest {
	r := row{id: "pipe.tcp." + name, figure: perSecond, ours: penstock}
	for i, p := range []string{"mangos", "nats", "zmq", "grpc", "rawtcp"} {
		r.peers = append(r.peers, peer{system: system{name: p, sized: p == "zmq"}, target: targets[i]})
	}
	rows := []row{r}
	if size == 16<<10 || size == 64<<10 {
		rows = append(rows, row{id: r.id + ".reuse", figure: perSecond, ours: system{name: "penstock-reuse"}, peers: r.peers[:1:1]})
	}
	return contest{kind: ofPipes, run: side.Run{Way: side.Flat, Size: size}, share: share, rows: rows}
}

// linksAt is the throughput of whole pipes over each transport at one size, beside tcp. The
// targets are those of tls, ws, wss and ipc.
func linksAt(name string, size int, targets [4]float64) []contest {
	apart := contest{kind: ofLinks, run: side.Run{Way: side.Flat, Size: size}, share: linkShare, full: true}
	tcp := peer{name: "tcp", system: penstock}
	for i, over := range []string{"tls", "ws", "wss", "ipc"} {
		tcp.target = targets[i]
		apart.rows = append(apart.rows, row{id: "pipe." + over + "." + name, figure: perSecond, ours: system{name: "penstock-" + over}, peers: []peer{tcp}})
	}
	// What crypto/tls alone can do: the limit of the first row.
	apart.rows[0].peers = append(apart.rows[0].peers, peer{system: rawTLS})
	apart.rows = append(apart.rows, row{id: "raw.tls." + name, figure: perSecond, ours: rawTLS, peers: []peer{{name: "tcp", system: system{name: "rawtcp"}}}})
	within := apart
	within.rows = []row{{id: "pipe.inproc." + name, figure: perSecond, ours: system{name: "penstock-inproc"}, peers: []peer{
		{name: "tcp", system: system{name: "penstock-tcp-one"}, target: 1.5},
		{name: "mangos", system: system{name: "mangos-inproc"}, target: 2},
	}}}
	return []contest{apart, within}
}

// linkShare is short: there are many.
const linkShare = 0.5

var rawTLS = system{name: "rawtls"}

var contests = slices.Concat(most,
	linksAt("100B", 100, [4]float64{0, 0, 0, 1.1}),
	linksAt("1KiB", 1<<10, [4]float64{0.5, 0, 0, 1.1}),
	linksAt("16KiB", 16<<10, [4]float64{0, 0, 0, 1.1}),
	linksAt("64KiB", 64<<10, [4]float64{0.6, 0, 0, 1.1}),
)

// most are those that are in a quick use, too.
var most = []contest{
	pipeAt("64B", 64, 1, [5]float64{16, 6, 4, 0, 0.4}),
	pipeAt("1KiB", 1<<10, 1, [5]float64{4, 3, 0, 0, 0.5}),
	pipeAt("16KiB", 16<<10, 1, [5]float64{1.2, 1, 1, 1, 0}),
	pipeAt("64KiB", 64<<10, 1, [5]float64{1.3, 1, 1, 1, 0.55}),
	pipeAt("1MiB", 1<<20, 1.2, [5]float64{1, 0, 0, 0, 0}),
	{
		kind: ofPipes, run: side.Run{Way: side.Lone, Size: 64}, share: 1.5,
		rows: []row{
			{id: "pipe.lone.p50", figure: came, ours: penstock, peers: []peer{{system: system{name: "mangos"}, target: 1.5}, {system: system{name: "nats"}}}},
			{id: "pipe.request.p50", figure: call, ours: system{name: "penstock-request"}, peers: []peer{{name: "mangos", system: system{name: "mangos-request"}, target: 2.5}}},
		},
	},
	{
		kind: ofPipes, run: side.Run{Way: side.Paced, Size: 64, Rate: 100e3}, share: 2.5,
		rows: []row{
			{id: "pipe.open100k.p50", figure: half, ours: penstock, peers: []peer{{system: system{name: "rawtcp"}, target: 2}}},
			{id: "pipe.open100k.p999", figure: tail, ours: penstock, peers: []peer{{system: system{name: "nats"}}, {system: system{name: "rawtcp"}, target: 1.2}}},
		},
	},
	{
		kind: ofPipes, run: side.Run{Way: side.Flat, Size: 64}, place: side.Place{Groups: 16}, share: 1.2,
		rows: []row{{id: "pipe.groups16.64B", figure: perSecond, ours: penstock, peers: []peer{{system: system{name: "nats"}, target: 7}}}},
	},
	{
		kind: ofActors, run: side.Run{Way: side.Flat, Size: 64}, share: 1,
		rows: []row{
			{id: "actor.deliver.64B", figure: perSecond, ours: system{name: "actor"}, peers: []peer{{name: "pipe", system: penstock}}},
			{id: "actor.deliverbatch.64B", figure: perSecond, ours: system{name: "actor-batched"}, peers: []peer{{name: "pipe", system: penstock}}},
		},
	},
	{
		kind: ofActors, run: side.Run{Way: side.Flat, Size: 64}, share: 1,
		rows: []row{{id: "actor.tell", figure: perSecond, ours: system{name: "supervised"}, peers: []peer{{system: system{name: "protoactor"}}}}},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Flat, Size: 64, Later: true}, place: side.Place{Partitions: partitions}, share: 1.2,
		rows: []row{
			{id: "topic.put.64B", figure: perSecond, ours: topic, peers: []peer{
				{system: system{name: "jetstream", partitions: 1}, target: 22},
				{system: system{name: "jetstream-always", partitions: 1}},
				{system: system{name: "redis-everysec", partitions: 1}},
				{system: system{name: "redis-always", partitions: 1}},
				{system: system{name: "toy", partitions: systems.ToyPartitions}},
			}},
			{id: "topic.consume.64B", figure: readPerSecond, ours: topic, peers: []peer{{system: system{name: "jetstream", partitions: 1}, target: 30}}},
		},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Flat, Size: 1 << 10, Later: true}, place: side.Place{Partitions: partitions}, share: 1.2,
		rows: []row{{id: "topic.put.1KiB", figure: perSecond, ours: topic, peers: []peer{
			{system: system{name: "jetstream", partitions: 1}, target: 1.3},
			{system: system{name: "etcdlimit", partitions: 1}},
		}}},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Flat, Size: 16 << 10, Later: true}, place: side.Place{Partitions: partitions}, share: 1.2,
		rows: []row{{id: "topic.put.16KiB", figure: perSecond, ours: topic, peers: []peer{{system: system{name: "jetstream", partitions: 1}}}}},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Flat, Size: 64, Later: true}, place: side.Place{Partitions: partitions}, share: 1.2,
		rows: []row{{id: "topic.put.64part", figure: perSecond, ours: system{name: "penstock-inturn", partitions: 64}, peers: []peer{{name: "4part", system: topic, target: 0.8}}}},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Batch, Size: 64, Batch: 100, Later: true}, place: side.Place{Partitions: partitions}, share: 1.2,
		rows: []row{{id: "topic.putbatch100", figure: perSecond, ours: topic, peers: []peer{{system: system{name: "redis-always", partitions: 1}, target: 1}}}},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Lone, Size: 64}, place: side.Place{Partitions: partitions}, share: 1.5,
		rows: []row{
			{id: "topic.put.lone.p50", figure: call, ours: topic, peers: []peer{{system: system{name: "etcdput"}, target: 1.15}}},
			{id: "topic.e2e.p50", figure: came, ours: topic, peers: []peer{{system: system{name: "etcdput"}, figure: call, target: 3}}},
		},
	},
	{
		kind: ofTopics, run: side.Run{Way: side.Paced, Size: 64, Rate: 1000}, place: side.Place{Partitions: partitions}, share: 3,
		rows: []row{
			{id: "topic.e2e.open1k.p999", figure: tail, ours: topic, peers: []peer{{system: system{name: "jetstream", partitions: 1}, target: 1}}},
			{id: "topic.e2e.open1k.p50", figure: half, ours: topic, peers: []peer{{system: system{name: "redis-always", partitions: 1}, target: 1}}},
		},
	},
}

// of are the contests of a full use, or of a quick one.
func of(all []contest, full bool) []contest {
	return slices.DeleteFunc(slices.Clone(all), func(c contest) bool { return c.full && !full })
}

// chosen are the contests with the rows and peers whose ids begin with prefix.
func chosen(all []contest, prefix string) (out []contest) {
	for _, c := range all {
		rows := c.rows
		c.rows = nil
		for _, r := range rows {
			peers := r.peers
			r.peers = nil
			for _, p := range peers {
				if strings.HasPrefix(p.id(r), prefix) {
					r.peers = append(r.peers, p)
				}
			}
			if len(r.peers) > 0 {
				c.rows = append(c.rows, r)
			}
		}
		if len(c.rows) > 0 {
			out = append(out, c)
		}
	}
	return out
}

// systems are those that a contest needs, ours first.
func (c contest) systems() (out []system) {
	seen := map[system]bool{}
	add := func(s system) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for _, r := range c.rows {
		add(r.ours)
		for _, p := range r.peers {
			add(p.system)
		}
	}
	return out
}

// at is where a system of the contest meets its ends.
func (c contest) at(s system) side.Place {
	at := c.place
	if s.partitions > 0 {
		at.Partitions = s.partitions
	}
	if s.sized {
		at.Size = c.run.Size
	}
	return at
}
