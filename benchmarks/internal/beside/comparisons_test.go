package beside

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/internal/side"
	"github.com/penstock-io/penstock/benchmarks/internal/systems"
)

func TestMain(m *testing.M) {
	side.Main(withBroken())
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the ends, which are many
	goleak.VerifyTestMain(m)
}

// withBroken are the systems, and a connection that does something to message 3.
func withBroken() map[string]side.System {
	all := systems.All()
	for name, change := range map[string]func(body []byte) [][]byte{
		"loses":     func([]byte) [][]byte { return nil },
		"doubles":   func(b []byte) [][]byte { return [][]byte{b, b} },
		"damages":   func(b []byte) [][]byte { b[len(b)-1]++; return [][]byte{b} },
		"shortens":  func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} },
		"disorders": nil, // swaps it with message 4
	} {
		tcp := all["rawtcp"]
		send := tcp.Send
		tcp.Send = func(ctx context.Context, at side.Place) (side.Sender, error) {
			s, err := send(ctx, at)
			return &broken{Sender: s, change: change}, err
		}
		all[name] = tcp
	}
	return all
}

type broken struct {
	side.Sender
	change func([]byte) [][]byte
	n      int
	held   []byte
}

func (b *broken) Send(ctx context.Context, body []byte) error {
	out := [][]byte{body}
	switch b.n++; {
	case b.n == 4 && b.change == nil:
		b.held = slices.Clone(body)
		return nil
	case b.n == 5 && b.change == nil:
		out = append(out, b.held)
	case b.n == 4:
		out = b.change(slices.Clone(body))
	}
	for _, body := range out {
		if err := b.Sender.Send(ctx, body); err != nil {
			return err
		}
	}
	return nil
}

// A side that loses, doubles, disorders or damages messages fails its comparison, whichever
// way they are sent, and the others go on.
func TestWrongResultsFail(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	wrong := map[string]string{
		"loses": "message 4 came where 3 was due", "doubles": "message 3 came where 4 was due", "damages": "with other content",
		"shortens": "", "disorders": "message 4 came where 3 was due",
	}
	for way, figure := range map[side.Way]figure{side.Flat: perSecond, side.Paced: tail, side.Lone: came} {
		t.Run(string(way), func(t *testing.T) {
			r := row{id: "x", figure: figure, ours: system{name: "rawtcp"}, peers: []peer{{name: "itself", system: system{name: "rawtcp"}}}}
			for name := range wrong {
				r.peers = append(r.peers, peer{system: system{name: name}})
			}
			got := map[string]results.Comparison{}
			b := &bed{own: self, systems: withBroken(), log: t.Output()}
			err := run(ctx, Settings{Budget: time.Millisecond}, b, []contest{{run: side.Run{Way: way, Size: 64, Rate: 1000}, share: 1, rows: []row{r}}},
				func(c results.Comparison) { got[c.ID] = c })
			for name, want := range wrong {
				if err == nil || !strings.Contains(err.Error(), "x.vs."+name+": ") {
					t.Errorf("%s: the use returns %v", name, err)
				}
				if c := got["x.vs."+name]; !c.Failed || !strings.HasPrefix(c.Line(), "FAILED x.vs."+name+" ") || !strings.Contains(c.Error, want) {
					t.Errorf("%+v, want %q", c, want)
				}
			}
			if c := got["x.vs.itself"]; c.Failed || !strings.HasPrefix(c.Line(), "RATIO x.vs.itself 1.000 ") {
				t.Errorf("the other comparison: %+v", c)
			}
		})
	}
}

func TestMissingIsSkipped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines := map[string]string{}
	s := Settings{Only: "pipe.tcp.64B.vs.", Budget: time.Millisecond, Peers: t.TempDir()}
	if err := Run(ctx, s, func(c results.Comparison) { lines[c.ID] = c.Line() }); err != nil {
		t.Error(err)
	}
	for id, begin := range map[string]string{"mangos": "RATIO", "rawtcp": "RATIO", "nats": "SKIP", "zmq": "SKIP", "grpc": "SKIP"} {
		id = "pipe.tcp.64B.vs." + id
		if !strings.HasPrefix(lines[id], begin+" "+id+" ") || strings.Contains(lines[id], "\n") {
			t.Errorf("%s: %q", id, lines[id])
		}
	}
	for only, want := range map[string]string{"nothing": "begins with that", "pipe.tls.": "in a full one"} {
		if err := Run(ctx, Settings{Only: only}, nil); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), want) {
			t.Errorf("a quick use of %q returns %v", only, err)
		}
	}
}

// What scripts and pages refer to.
func TestIDsAreThere(t *testing.T) {
	want := []string{
		"pipe.groups16.64B.vs.nats", "pipe.lone.p50.vs.mangos", "pipe.open100k.p999.vs.nats", "pipe.request.p50.vs.mangos",
		"topic.put.64B.vs.jetstream", "topic.put.1KiB.vs.jetstream", "topic.put.16KiB.vs.jetstream", "topic.put.64B.vs.jetstream-always",
		"topic.put.64B.vs.toy", "topic.put.1KiB.vs.etcdlimit", "topic.put.64part.vs.4part", "topic.consume.64B.vs.jetstream",
		"topic.put.lone.p50.vs.etcdput", "topic.e2e.p50.vs.etcdput", "topic.e2e.open1k.p999.vs.jetstream", "actor.tell.vs.protoactor",
		"actor.deliver.64B.vs.pipe", "topic.put.64B.vs.redis-everysec", "topic.put.64B.vs.redis-always",
		"topic.e2e.open1k.p50.vs.redis-always", "topic.putbatch100.vs.redis-always",
		"pipe.tcp.16KiB.reuse.vs.mangos", "pipe.tcp.64KiB.reuse.vs.mangos",
	}
	for _, size := range []string{"64B", "1KiB", "16KiB", "64KiB", "1MiB"} {
		for _, p := range []string{"mangos", "nats", "zmq", "grpc", "rawtcp"} {
			want = append(want, "pipe.tcp."+size+".vs."+p)
		}
	}
	for _, size := range []string{"100B", "1KiB", "16KiB", "64KiB"} {
		for _, over := range []string{"tls", "ipc", "inproc", "ws", "wss"} {
			want = append(want, "pipe."+over+"."+size+".vs.tcp")
		}
		want = append(want, "pipe.tls."+size+".vs.rawtls", "raw.tls."+size+".vs.tcp", "pipe.inproc."+size+".vs.mangos")
	}
	there := map[string]int{}
	for _, c := range contests {
		for _, r := range c.rows {
			for _, p := range r.peers {
				there[p.id(r)]++
			}
		}
	}
	for _, id := range want {
		if there[id] == 0 {
			t.Errorf("%s is missing", id)
		}
	}
	for id, n := range there {
		if n > 1 {
			t.Errorf("%s is there %d times", id, n)
		}
		if got := chosen(contests, id); len(got) != 1 {
			t.Errorf("%s chooses %d contests", id, len(got))
		}
	}
}

// More is better for speeds, less for latencies; and what each system is, is told.
func TestComparisonsSayWhatTheyAre(t *testing.T) {
	used := map[string]bool{}
	for _, c := range contests {
		for _, s := range c.systems() {
			used[s.name] = true
			if PeerSettings[s.name] == "" {
				t.Errorf("the settings of %s are not told", s.name)
			}
		}
		for _, r := range c.rows {
			for _, p := range r.peers {
				got := r.compare(p, nil)
				if latency := strings.Contains(got.ID, ".p50.") || strings.Contains(got.ID, ".p999."); got.Less != latency || (got.Unit == "us") != latency {
					t.Errorf("%+v", got)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(PeerSettings)) {
		if !used[name] {
			t.Errorf("%s is in no comparison", name)
		}
	}
}

// The budget covers what the runs take, and each system runs at least three times.
func TestBudget(t *testing.T) {
	for _, s := range []Settings{{Budget: 100 * time.Second}, {Budget: 6 * time.Minute, Full: true}} {
		rounds := rounds
		if s.Full {
			rounds = more
		}
		contests := of(contests, s.Full)
		unit := unit(contests, s.Budget, rounds, s.Full)
		var sum time.Duration
		for _, c := range contests {
			each := time.Duration(c.share * float64(unit))
			if c.run.Later {
				each *= 2
			}
			sum += each * time.Duration(len(c.systems())*(rounds+1))
		}
		if sum > s.Budget || sum < s.Budget/4 || rounds < 3 {
			t.Errorf("%v: runs of %s in %d rounds take %s", s.Budget, unit, rounds, sum)
		}
	}
}

func TestRunKeepsEveryRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []results.Comparison
	s := Settings{Only: "topic.e2e.p50.vs.etcdput", Budget: 100 * time.Millisecond}
	if err := Run(ctx, s, func(c results.Comparison) { got = append(got, c) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || len(got[0].Ours) != rounds || len(got[0].Theirs) != rounds || got[0].Took.Ours.Count() < 10*rounds || got[0].Placement == "" {
		t.Errorf("%+v", got)
	}
}
